"""The same training steps by the library, as a user would write them."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ...energies import (
    Edge,
    FunctionEnergy,
    HardSigmoid,
    INPUT,
    Layer,
    Linear,
    Model,
    Network,
    SquaredError,
    Unconstrained,
)
from ...energies.interactions import Bias, Dense
from ...learning import AbstractEstimator, Centered, EquilibriumProp, OneSided
from ...relaxation import BlockCoordinate, Euler, Landscape
from ._cases import Case


def by_library(
    case: Case, model: Model, method: AbstractEstimator, *, batches: int, rate: float
) -> tuple[Callable[..., Any], Any]:
    """A loop of training steps by gradient descent.

    **Arguments:**

    - `batches`: the number of steps.
    - `rate`: the learning rate.

    **Returns:**

    `run(arrays, x, y, states)`, to be compiled, and its `arrays`: the parameters and
    the method's numbers. It returns the new parameters, and the free states if they
    persist.
    """

    def descend(grads, memory, model):
        return jax.tree.map(lambda g: -rate * g, grads), memory

    loop = training_loop(case, model, method, batches=batches, update=descend)

    def run(arrays, x, y, states):
        params, numbers = arrays
        params, _, states = loop(params, (), states, numbers, x, y)
        return params, states

    return run, (
        eqx.filter(model, eqx.is_inexact_array),
        eqx.filter(method, eqx.is_array),
    )


def training_loop(
    case: Case,
    model: Model,
    method: AbstractEstimator,
    *,
    batches: int,
    update: Callable[..., Any],
) -> Callable[..., Any]:
    """A loop of training steps by any optimizer: `loop(params, memory, states, numbers,
    x, y)`, which returns the first three as they have become.

    **Arguments:**

    - `batches`: the number of steps.
    - `update`: `update(grads, memory, model)`, to updates and memory.
    """
    fixed = eqx.filter(model, eqx.is_inexact_array, inverse=True)
    rest = eqx.filter(method, eqx.is_array, inverse=True)

    def loop(params, memory, states, numbers, x, y):
        method = eqx.combine(numbers, rest)

        def body(k, carry):
            params, memory, states = carry
            xb, yb, *start = (
                jax.lax.dynamic_slice_in_dim(a, k * case.batch, case.batch)
                for a in (x, y, *states)
            )
            model, state0 = eqx.combine(params, fixed), tuple(start) or None
            outcome, grads = method.value_and_grad(model, xb, yb, state0=state0)
            if case.persistent:
                states = tuple(
                    jax.lax.dynamic_update_slice_in_dim(s, new, k * case.batch, 0)
                    for s, new in zip(states, outcome.free.state, strict=True)
                )
            updates, memory = update(grads, memory, model)
            return eqx.apply_updates(params, updates), memory, states

        return jax.lax.fori_loop(0, batches, body, (params, memory, states))

    return loop


def make_model(case: Case, params: Sequence[jax.Array]) -> Model:
    """The case's network, with weights by edge and then biases by layer."""
    weights, biases = params[: len(case.edges)], params[len(case.edges) :]
    units = [
        HardSigmoid() if case.clipped(k) else Linear()
        for k in range(1, len(case.sizes))
    ]
    if case.energy != "network":
        return Model(_function_energy(case, weights, biases, units), SquaredError())
    names = [INPUT, *(f"hidden{k}" for k in range(1, len(units))), "output"]
    layers = [
        Layer(name, unit, (size,))
        for name, unit, size in zip(names[1:], units, case.sizes[1:], strict=True)
    ]
    edges = [
        Edge((names[a], names[b]), Dense(w))
        for (a, b), w in zip(case.edges, weights, strict=True)
    ]
    edges += [Edge((name,), Bias(b)) for name, b in zip(names[1:], biases, strict=True)]
    return Model(Network(tuple(layers), tuple(edges)), SquaredError())


def _function_energy(case: Case, weights, biases, units) -> FunctionEnergy:
    """The energy as its user would write it: for one example, with nothing declared."""
    layers, curved = range(1, len(case.sizes)), case.energy == "tanh"

    def energy(params, state, x):
        weights, biases = params
        rates = [x] + [
            jnp.tanh(s) if case.curved(k) else s
            for k, s in zip(layers, state, strict=True)
        ]
        total = jnp.zeros((), x.dtype)
        if curved:
            total = total + sum(0.5 * s @ s for s in state)
        for (a, b), w in zip(case.edges, weights, strict=True):
            total = total - (rates[a] @ w) @ rates[b]
        for k, b in zip(layers, biases, strict=True):
            total = total - b @ rates[k]
        return total

    return FunctionEnergy(
        energy,
        (tuple(weights), tuple(biases)),
        init=lambda x: tuple(jnp.zeros(n, x.dtype) for n in case.sizes[1:]),
        output=lambda state: state[-1],
        units=Unconstrained() if curved else tuple(units),
    )


def make_method(case: Case) -> EquilibriumProp:
    """The case's estimator."""
    if case.solver == "euler":
        free, nudged = (
            Euler(step_size=case.factor, max_steps=steps)
            for steps in (case.free_steps, case.nudged_steps)
        )
    else:
        free, nudged = (
            BlockCoordinate(relaxation=case.factor, max_steps=steps)
            for steps in (case.free_steps, case.nudged_steps)
        )
    nudging = Centered(case.beta) if case.centered else OneSided(case.beta)
    return EquilibriumProp(nudging, free, nudged)


def make_arrays(case: Case, batches: int) -> tuple[Any, ...]:
    """Random parameters, inputs, one-hot targets, and the free states if they persist.

    They are drawn uniformly, ±0.7/√fan-in and in [0, 1]; what they are doesn't matter
    for the time that a step takes.
    """
    keys = jax.random.split(jax.random.key(0), len(case.edges) + 1)
    weights = [
        jax.random.uniform(
            key,
            (case.sizes[a], case.sizes[b]),
            minval=-0.7 * case.sizes[a] ** -0.5,
            maxval=0.7 * case.sizes[a] ** -0.5,
        )
        for (a, b), key in zip(case.edges, keys[1:], strict=True)
    ]
    examples = batches * case.batch
    x = jax.random.uniform(keys[0], (examples, case.sizes[0]))
    y = jax.nn.one_hot(jnp.arange(examples) % case.sizes[-1], case.sizes[-1])
    biases = [jnp.zeros(n, x.dtype) for n in case.sizes[1:]]
    states = ()
    if case.persistent:
        states = tuple(jnp.zeros((examples, n), x.dtype) for n in case.sizes[1:])
    return (*weights, *biases), x, y.astype(x.dtype), states


def sweep_groups(case: Case, model: Model, x: Any, y: Any) -> tuple[Any, Any]:
    """Which layers move at once in a sweep, free and nudged: the algorithm's order,
    which the others follow."""
    if case.solver == "euler":
        return (), ()
    landscape = Landscape(model, x[: case.batch])
    return landscape.blocks(), landscape.nudge(y[: case.batch], case.beta).blocks()
