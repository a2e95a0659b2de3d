"""What is compiled, once for each kind of network, solver and nudging."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from ...diagnostics import parameters_by_name
from ...energies import Model
from ...learning import AbstractEstimator, contrast_grad, Outcome, Phase
from ...relaxation import (
    AbstractSolver,
    classify,
    Landscape,
    RESULTS,
    state_size,
)


class Reading(eqx.Module):
    """What is shown of a state.

    **Attributes:**

    - `energy`, `cost`, `residual`: F, C and the certificate.
    - `result`: whether it is an equilibrium, and if not, what it is.
    - `saturated`: for each leaf of the state, the share of its units that pass no
        error signal back.
    """

    energy: Scalar
    cost: Scalar
    residual: Scalar
    result: RESULTS
    saturated: Float[Array, " leaves"]


@eqx.filter_jit
def begin(landscape: Landscape, solver: AbstractSolver, state: PyTree[Array]) -> Any:
    """The solver's memory at the start of a phase."""
    return solver.init(landscape, state, None)


@eqx.filter_jit
def advance(
    landscape: Landscape,
    solver: AbstractSolver,
    state: PyTree[Array],
    memory: Any,
    y: Array,
) -> tuple[PyTree[Array], Any, Reading]:
    """One step of a solver, and what is shown of the state that it came to."""
    state, memory, _ = solver.step(landscape, state, memory)
    return state, memory, read(landscape, solver, state, y)


@eqx.filter_jit
def read(
    landscape: Landscape, solver: AbstractSolver, state: PyTree[Array], y: Array
) -> Reading:
    """What is shown of a state."""
    residual = landscape.residual(state)
    result = classify(residual, state_size(state), solver.certify, stopped_early=True)
    units = zip(landscape.leaf_units(), jax.tree.leaves(state), strict=True)
    saturated = [jnp.mean(jax.vmap(u.saturated)(jnp.real(s))) for u, s in units]
    return Reading(
        jnp.real(landscape.energy(state))[0],
        jnp.real(landscape.cost(state, y))[0],
        residual[0],
        jax.tree.map(lambda a: a[0], result),
        jnp.stack(saturated),
    )


@eqx.filter_jit
def update(
    phases: Sequence[Phase], exact: Model | None
) -> tuple[Model, dict[str, Scalar]]:
    """The contrast's gradient at states that may not have settled yet, and for each
    parameter its cosine to the exact gradient, if that is known; NaN where one of them
    is zero."""
    gradient = contrast_grad(phases)
    if exact is None:
        return gradient, {}
    pairs = zip(
        parameters_by_name(gradient).items(),
        parameters_by_name(exact).values(),
        strict=True,
    )
    return gradient, {name: _cosine(g, r) for (name, g), r in pairs}


@eqx.filter_jit
def descend(model: Model, gradient: Model, rate: Scalar) -> Model:
    """The model after a step against a gradient."""
    step = jax.tree.map(lambda g: -jnp.asarray(rate, g.dtype) * g, gradient)
    return eqx.apply_updates(model, step)


@eqx.filter_jit
def learn(
    method: AbstractEstimator,
    model: Model,
    x: PyTree[Array],
    y: Array,
    state0: PyTree[Array],
    key: PRNGKeyArray | None,
) -> tuple[Outcome, Model]:
    """What a method makes of one example, all phases settled."""
    return method.value_and_grad(model, x, y, state0=state0, key=key)


def _cosine(a: Array, b: Array) -> Scalar:
    # Divided one by one: the product of two small norms could vanish.
    a, b = a.ravel(), b.ravel()
    return jnp.dot(a / jnp.linalg.norm(a), b / jnp.linalg.norm(b))
