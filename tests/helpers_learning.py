"""Models small enough to settle to round-off, and ways to compare gradients."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import eqprop as ep
from eqprop.energies import units_of_leaves


class Case(NamedTuple):
    """A model with a batch, and a solver that settles it to round-off."""

    model: ep.Model
    solver: ep.AbstractSolver
    x: jax.Array
    y: jax.Array


SWEEPS = ep.BlockCoordinate(max_steps=150, certify=1e-12)
EULER = ep.Euler(step_size=0.5, max_steps=500, certify=1e-12)
DAMPED = ep.FixedPoint(damping=0.5, max_steps=300, certify=1e-12)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(seed), shape)


def with_biases(energy: Any, seed: int, mean: float, spread: float) -> Any:
    """Random biases: zero ones leave half of the hard-sigmoid units at 0."""
    leaves, treedef = jax.tree.flatten(energy)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    drawn = [
        mean + spread * jax.random.normal(k, a.shape) if a.ndim == 1 else a
        for k, a in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(treedef, drawn)


def batch(inputs: int, targets: int, count: int = 4) -> tuple[jax.Array, jax.Array]:
    x = jax.random.uniform(jax.random.key(11), (count, inputs))
    y = jax.nn.one_hot(jnp.arange(count) % targets, targets)
    return x, y


def mlp(sizes, unit=None, output=None, solver=SWEEPS, cost=None, seed=4) -> Case:
    energy = ep.nets.mlp(
        sizes,
        key=jax.random.key(seed),
        unit=unit or ep.HardSigmoid(),
        output_unit=output or ep.Linear(),
    )
    energy = with_biases(energy, seed + 1, 0.3, 0.3)
    x, y = batch(sizes[0], sizes[-1])
    return Case(ep.Model(energy, cost or ep.SquaredError()), solver, x, y)


def skip(seed=1) -> Case:
    """input → a → b → output, with skips input → output and a → output."""
    sizes = {"input": 5, "a": 6, "b": 5, "output": 3}
    pairs = [("input", "a"), ("a", "b"), ("b", "output")]
    pairs += [("input", "output"), ("a", "output")]
    layers = [
        ep.Layer("a", ep.HardSigmoid(), (6,)),
        ep.Layer("b", ep.HardSigmoid(), (5,)),
        ep.Layer("output", ep.Linear(), (3,)),
    ]
    edges = [
        ep.Edge(pair, ep.Dense(0.25 * normal(k, *(sizes[name] for name in pair))))
        for k, pair in enumerate(pairs)
    ]
    edges += [ep.Edge((v.name,), ep.Bias(jnp.zeros(v.shape))) for v in layers]
    energy = with_biases(ep.Network(layers, edges), seed, 0.4, 0.4)
    return Case(ep.Model(energy, ep.SquaredError()), SWEEPS, *batch(5, 3))


def lateral() -> Case:
    """A hidden layer and an output layer, each coupled to itself."""
    layers = [
        ep.Layer("hidden", ep.HardSigmoid(), (6,)),
        ep.Layer("output", ep.Linear(), (3,)),
    ]
    edges = [
        ep.Edge(("input", "hidden"), ep.Dense(0.3 * normal(0, 5, 6))),
        ep.Edge(("hidden", "output"), ep.Dense(0.3 * normal(1, 6, 3))),
        ep.Edge(("hidden",), ep.Lateral(0.15 * normal(2, 6, 6))),
        ep.Edge(("output",), ep.Lateral(0.15 * normal(3, 3, 3))),
        ep.Edge(("hidden",), ep.Bias(jnp.linspace(-0.3, 0.9, 6))),
    ]
    model = ep.Model(ep.Network(layers, edges), ep.SquaredError())
    return Case(model, EULER, *batch(5, 3))


def hopfield(rho, sizes=(5, 6, 4, 3)) -> Case:
    energy = ep.nets.hopfield(sizes, key=jax.random.key(2), rho=rho)
    energy = with_biases(energy, 3, 0.4, 0.2)
    model = ep.Model(energy, ep.SquaredError())
    return Case(model, EULER, *batch(sizes[0], sizes[-1]))


def readout(cost, seed=1) -> Case:
    """The cost reads the last layer through trained weights, outside the dynamics."""
    case = mlp([5, 6, 4], output=ep.HardSigmoid(), solver=EULER, seed=seed)
    head = ep.Readout(cost, 0.5 * normal(8, 4, 3), 0.1 * normal(9, 3))
    return Case(ep.Model(case.model.energy, head), EULER, case.x, batch(5, 3)[1])


def tanh_energy(params, state, x):
    """The design's example of an energy of one's own."""
    h, o = state
    field = jnp.tanh(h) @ (x @ params["w"]) + jnp.tanh(h) @ params["v"] @ o
    return 0.5 * (h @ h + o @ o) - field


def own_energy() -> Case:
    params = {"w": 0.6 * normal(4, 5, 6), "v": 0.4 * normal(5, 6, 3)}
    energy = ep.FunctionEnergy(
        tanh_energy,
        params,
        init=lambda x: (jnp.zeros(6), jnp.zeros(3)),
        output=lambda state: state[1],
    )
    return Case(ep.Model(energy, ep.SquaredError()), EULER, *batch(5, 3))


CASES: dict[str, Callable[[], Case]] = {
    "one hidden layer": lambda: mlp([5, 6, 3]),
    "two hidden layers": lambda: mlp([5, 6, 5, 3]),
    "three hidden layers": lambda: mlp([5, 6, 6, 5, 3]),
    "skips": skip,
    "lateral": lateral,
    "sigmoid units": lambda: mlp([5, 6, 3], ep.Sigmoid(4.0, 0.5), solver=DAMPED),
    "tanh units": lambda: mlp([5, 6, 3], ep.Tanh(), solver=DAMPED),
    "logits": lambda: mlp([5, 6, 3], cost=ep.CrossEntropy()),
    "hopfield, clip": lambda: hopfield(ep.HardSigmoid()),
    "hopfield, sigmoid": lambda: hopfield(ep.Sigmoid(4.0, 0.5)),
    "hopfield, tanh": lambda: hopfield(ep.Tanh()),
    "readout of squared error": lambda: readout(ep.SquaredError()),
    "readout of logits": lambda: readout(ep.CrossEntropy()),
    "own energy": own_energy,
}


@eqx.filter_jit
def estimate(method, model, x, y, **options) -> tuple[ep.Outcome, ep.Model]:
    return method.value_and_grad(model, x, y, **options)


def gradient(method, case: Case, **options) -> ep.Model:
    return estimate(method, case.model, case.x, case.y, **options)[1]


def run(nudging, case: Case, **options) -> tuple[ep.Outcome, ep.Model]:
    """Equilibrium Propagation, with every phase settled to round-off."""
    method = ep.EquilibriumProp(nudging, case.solver)
    outcome, grad = estimate(method, case.model, case.x, case.y, **options)
    for phase in (outcome.free, *outcome.nudged):
        assert bool(jnp.all(phase.converged))
    return outcome, grad


def nudged(nudging, case: Case, **options) -> ep.Model:
    """The gradient by `nudging`."""
    return run(nudging, case, **options)[1]


def exact(case: Case) -> ep.Model:
    """The gradient of the cost at equilibrium, by the unrolled reference."""
    return gradient(ep.BackpropThroughTime(case.solver), case)


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree)])


def error(a: Any, b: Any) -> float:
    """The distance of two pytrees, relative to the second."""
    return float(np.linalg.norm(flat(a) - flat(b)) / np.linalg.norm(flat(b)))


def slope(betas, errors) -> float:
    return float(np.polyfit(np.log(betas), np.log(errors), 1)[0])


def settled(case: Case, beta: float | None = None) -> tuple[ep.Landscape, Any]:
    """The landscape under a nudge, and its equilibrium."""
    landscape = ep.Landscape(case.model, case.x)
    free = ep.relax(landscape, case.solver)
    if beta is None:
        return landscape, free.state
    landscape = landscape.nudge(case.y, beta)
    equilibrium = ep.relax(landscape, case.solver, free.state)
    assert bool(jnp.all(equilibrium.converged))
    return landscape, equilibrium.state


def walls(case: Case, state) -> np.ndarray:
    """-1, 0 or 1 for every unit: at its lower wall, inside, at its upper wall."""
    marks = []
    units = units_of_leaves(case.model.energy.units, state)
    for unit, s in zip(units, jax.tree.leaves(state), strict=True):
        if isinstance(unit, ep.HardSigmoid):
            marks.append(np.where(s <= 0, -1, np.where(s >= 1, 1, 0)).ravel())
        else:
            marks.append(np.zeros(s.size, int))
    return np.concatenate(marks)
