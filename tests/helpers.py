"""Networks on named graphs, and the same energies written out in NumPy."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np

import eqprop as ep


class UnitCase(NamedTuple):
    """A unit, its feasible interval, and its potential and activation in NumPy."""

    unit: ep.AbstractUnit
    low: float
    high: float
    potential: Callable[[np.ndarray], np.ndarray]
    activate: Callable[[np.ndarray], np.ndarray]


def half_square(s):
    return 0.5 * s * s


def negative_entropy(s):
    safe = np.where(s > 0, s, 1.0)
    return safe * np.log(safe)


def logistic(a, c):
    return lambda d: 1 / (1 + np.exp(-a * (d - c)))


def logistic_potential(a, c):
    def potential(s):
        return (negative_entropy(s) + negative_entropy(1 - s)) / a + c * s

    return potential


def tanh_potential(s):
    # s·artanh(s) + ½ln(1 − s²), which is ln 2 at both walls.
    inside = np.abs(s) < 1
    t = np.where(inside, s, 0.0)
    return np.where(inside, t * np.arctanh(t) + 0.5 * np.log(1 - t * t), math.log(2.0))


def softmax(d):
    e = np.exp(d - np.max(d))
    return e / np.sum(e)


INF = math.inf
SEPARABLE = {
    "linear": UnitCase(ep.Linear(), -INF, INF, half_square, lambda d: d),
    "hard_sigmoid": UnitCase(
        ep.HardSigmoid(), 0.0, 1.0, half_square, lambda d: np.clip(d, 0, 1)
    ),
    "relu": UnitCase(ep.ReLU(), 0.0, INF, half_square, lambda d: np.maximum(d, 0)),
    "clipped_relu": UnitCase(
        ep.ClippedReLU(2.0), 0.0, 2.0, half_square, lambda d: np.clip(d, 0, 2)
    ),
    "sigmoid": UnitCase(
        ep.Sigmoid(), 0.0, 1.0, logistic_potential(1, 0), logistic(1, 0)
    ),
    "steep_sigmoid": UnitCase(
        ep.Sigmoid(4.0, 0.5), 0.0, 1.0, logistic_potential(4, 0.5), logistic(4, 0.5)
    ),
    "tanh": UnitCase(ep.Tanh(), -1.0, 1.0, tanh_potential, np.tanh),
}
UNITS = SEPARABLE | {
    "softmax": UnitCase(ep.Softmax(), 0.0, 1.0, negative_entropy, softmax)
}
QUADRATIC = ("linear", "hard_sigmoid", "relu", "clipped_relu")
CURVED = tuple(name for name in UNITS if name not in QUADRATIC)
# A unit for each layer of a network, in order: all kinds in few compilations.
MIXES = {"quadratic": QUADRATIC, "curved": CURVED}

SIZES = {"input": (5,), "h": (4,), "k": (2, 2), "l": (3,), "output": (3,)}
# Coupled layers; a single name is a lateral coupling.
GRAPHS = {
    "chain": ["input h", "h k", "k output"],
    "skip": ["input h", "h k", "k output", "input output", "h output"],
    "lateral": ["input h", "h", "h output", "output"],
    "cycle": ["input h", "h k", "k l", "l h", "output k"],
}
AFFINE_GRAPHS = tuple(name for name in GRAPHS if name != "lateral")


def layers_of(graph: str) -> list[str]:
    """Names of a graph's layers, the output last."""
    used = {name for edge in GRAPHS[graph] for name in edge.split()}
    return [name for name in SIZES if name in used and name != "input"]


def couplings(graph: str, *, scale: float, seed: int = 0) -> tuple[ep.Edge, ...]:
    """Random weights, uniform ±scale/√fan_in, and biases on all layers."""
    rng = np.random.default_rng(seed)
    edges = []
    for names in (edge.split() for edge in GRAPHS[graph]):
        sizes = [math.prod(SIZES[name]) for name in names]
        weight = rng.uniform(-scale, scale, (sizes[0], sizes[-1])) / math.sqrt(sizes[0])
        term = ep.Dense if len(names) == 2 else ep.Lateral
        edges.append(ep.Edge(tuple(names), term(jnp.asarray(weight))))
    for name in layers_of(graph):
        bias = jnp.asarray(rng.uniform(-0.5, 0.5, SIZES[name]))
        edges.append(ep.Edge((name,), ep.Bias(bias)))
    return tuple(edges)


def cases_of(graph: str, units: Sequence[str]) -> list[UnitCase]:
    """The unit of each layer: the last of `units` is the output's."""
    names = layers_of(graph)
    return [UNITS[units[k % len(units)]] for k in range(-len(names), 0)]


def network(
    graph: str = "chain",
    units: Sequence[str] = ("hard_sigmoid",),
    *,
    scale: float = 0.4,
    seed: int = 0,
) -> ep.Network:
    """A network on a named graph, with units as [`cases_of`][] deals them out."""
    layers = [
        ep.Layer(name, case.unit, SIZES[name])
        for name, case in zip(layers_of(graph), cases_of(graph, units), strict=True)
    ]
    return ep.Network(layers, couplings(graph, scale=scale, seed=seed))


def full_matrix(
    graph: str, edges: tuple[ep.Edge, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """W (symmetric, zero diagonal) and b over all units u = {x, layers in order}."""
    names = ["input", *layers_of(graph)]
    stops = np.cumsum([0, *(math.prod(SIZES[name]) for name in names)])
    span = {n: slice(*ends) for n, ends in zip(names, pairwise(stops), strict=True)}
    matrix, bias = np.zeros((stops[-1], stops[-1])), np.zeros(stops[-1])
    for edge in edges:
        term = edge.interaction
        if isinstance(term, ep.Bias):
            bias[span[edge.layers[0]]] += np.asarray(term.bias).reshape(-1)
        elif isinstance(term, ep.Lateral):
            upper = np.triu(np.asarray(term.weight), 1)
            matrix[span[edge.layers[0]], span[edge.layers[0]]] += upper + upper.T
        elif isinstance(term, ep.Dense):
            a, b = (span[name] for name in edge.layers)
            matrix[a, b] += np.asarray(term.weight)
            matrix[b, a] += np.asarray(term.weight).T
    return matrix, bias


def flat(state, x=None) -> np.ndarray:
    """All units of every example in one row, the input first if it is given."""
    parts = [] if x is None else [x]
    parts += jax.tree.leaves(state)
    return np.concatenate([np.asarray(a).reshape(len(a), -1) for a in parts], axis=1)


def inputs(batch: int = 3, seed: int = 1) -> jax.Array:
    return jnp.asarray(
        np.random.default_rng(seed).uniform(size=(batch, *SIZES["input"]))
    )


def targets(batch: int = 3, seed: int = 2) -> jax.Array:
    """One-hot rows."""
    size = SIZES["output"][0]
    labels = np.random.default_rng(seed).integers(0, size, batch)
    return jnp.asarray(np.eye(size)[labels])


def strongly_coupled() -> ep.Landscape:
    """Four curved units in a ring, with weights eight times the usual: over-relaxed by
    1.9 one of six examples swings for ever."""
    units = ("sigmoid", "tanh", "softmax", "steep_sigmoid")
    return ep.Landscape(network("cycle", units, scale=8.0), inputs(6))


def times_traced(landscape: ep.Landscape, solvers: Sequence[ep.AbstractSolver]) -> int:
    """How often one compiled relaxation is traced for these solvers, one by one."""
    traced = []

    @eqx.filter_jit
    def settle(solver):
        traced.append(solver)
        return ep.relax(landscape, solver, throw=False).residual

    for solver in solvers:
        settle(solver)
    return len(traced)


def random_state(landscape: ep.Landscape, seed: int = 3, *, spread: float = 1.5):
    """A feasible state, with some units at their walls."""
    rng = np.random.default_rng(seed)
    rest = landscape.init()
    drawn = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(0.3, spread, s.shape), s.dtype), rest
    )
    return landscape.project(drawn)


def settled_by_hand(
    graph: str,
    units: Sequence[str],
    edges: tuple[ep.Edge, ...],
    x: np.ndarray,
    *,
    y: np.ndarray | None = None,
    beta: float = 0.0,
) -> np.ndarray:
    """The equilibrium under ½‖o − y‖², by iterating s ← activate(drive) in NumPy."""
    matrix, bias = full_matrix(graph, edges)
    nx, no = x.shape[1], math.prod(SIZES["output"])
    sizes = [math.prod(SIZES[name]) for name in layers_of(graph)]
    cases = cases_of(graph, units)
    stops = nx + np.cumsum([0, *sizes])
    rows = []
    for k in range(len(x)):
        u = np.concatenate([x[k], np.zeros(len(bias) - nx)])
        for _ in range(300):
            drive = matrix @ u + bias
            if y is not None:
                drive[-no:] += beta * (y[k] - u[-no:])
            spans = zip(cases, pairwise(stops), strict=True)
            new = [case.activate(drive[a:b]) for case, (a, b) in spans]
            u = np.concatenate([x[k], *new])
        rows.append(u[nx:])
    return np.stack(rows)


def well(curvature) -> ep.FunctionEnergy:
    """½c(s − x)²: an Euler step shrinks s − x by 1 − εc, exactly."""
    return ep.FunctionEnergy(
        lambda c, state, x: 0.5 * jnp.sum(c * (state - x) ** 2),
        jnp.asarray(curvature),
        init=jnp.zeros_like,
        output=lambda state: state,
    )


@contextlib.contextmanager
def annotations_unchecked() -> Iterator[None]:
    """As users run: wrong types reach our own checks, not those of the test run."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
