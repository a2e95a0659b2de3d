from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from ._landscape import Landscape
from ._scalars import state_size
from ._solver import AbstractSolver


class RESULTS(eqx.Enumeration):
    """How a relaxation ended; the values are the messages."""

    converged = ""
    steps_completed = (
        "The solver took all its steps, but the residual is above `certify`: the state "
        "is no equilibrium. Raise `max_steps`, or pass `stop=ep.Tolerance(...)`."
    )
    max_steps_reached = (
        "The residual is above `certify`: the tolerance was not reached within "
        "`max_steps`, or is no smaller than `certify`. Raise `max_steps`, or pass a "
        "tolerance of a tenth of `certify`."
    )
    max_time_reached = (
        "The state is still moving at `max_time`, and the residual is above `certify`. "
        "Raise `max_time`."
    )
    singular = (
        "The linear system of the adjoint was not solved: the curvature ∂²E/∂s² at the "
        "equilibrium is singular (the energy has a flat direction), or the linear "
        "solver did not get there. Give every unit a potential, or add `0.01 * s @ s` "
        "to the energy; to rule the solver out, pass `linear_solver=ep.DenseLU()`."
    )
    diverged = (
        "The state grew without bound: the energy has no minimum, or the step size is "
        "too large. Bound the units (`ep.HardSigmoid()`), or lower the step size."
    )
    nonfinite = (
        "The state became NaN or infinite. Look for NaN in the parameters or the "
        "input; for an energy without a minimum (give every unit a potential, or bound "
        "it by `ep.HardSigmoid()`); for a step size that is too large; under a nudge, "
        "for a β with 1 + β·curvature ≤ 0, which leaves no minimum (`SquaredError`: "
        "β ≤ −1): use a smaller |β|."
    )


# In order of badness, the worst last.
_SEVERITY = (
    RESULTS.converged,
    RESULTS.steps_completed,
    RESULTS.max_steps_reached,
    RESULTS.max_time_reached,
    RESULTS.singular,
    RESULTS.diverged,
    RESULTS.nonfinite,
)


class RelaxationError(RuntimeError):
    """Raised by [`eqprop.relax`][] when an example did not settle."""


class Equilibrium(eqx.Module):
    """What a relaxation came to, with its certificate.

    **Attributes:**

    - `state`: the last state.
    - `residual`: how far each example is from equilibrium
        ([`eqprop.Landscape.residual`][]).
    - `converged`: whether that is at most the solver's `certify`, whatever stopped it.
    - `num_steps`: steps that each example took.
    - `result`: for each example, a [`eqprop.RESULTS`][].
    - `observations`: what `observe` returned, stacked over steps, the initial state
        first; `None` without `observe`.
    """

    state: PyTree[Array]
    residual: Float[Array, " batch"]
    converged: Bool[Array, " batch"]
    num_steps: Int[Array, " batch"]
    result: RESULTS
    observations: PyTree[Array] = None

    def worst(self) -> RESULTS:
        """The worst result of any example."""
        worst = RESULTS.converged
        for member in _SEVERITY:
            worst = RESULTS.where(jnp.any(self.result == member), member, worst)
        return worst


def classify(
    residual: Float[Array, " batch"],
    size: Float[Array, " batch"],
    certify: Scalar,
    *,
    stopped_early: bool,
) -> RESULTS:
    """The result of each example.

    **Arguments:**

    - `size`: the largest absolute entry of the state. Units live near 1; past 10⁶
        the example counts as diverged.
    - `stopped_early`: whether the solver had a tolerance to stop by.
    """
    unfinished = RESULTS.max_steps_reached if stopped_early else RESULTS.steps_completed

    def one(residual, size):
        result = RESULTS.where(size > 1e6, RESULTS.diverged, unfinished)
        result = RESULTS.where(residual <= certify, RESULTS.converged, result)
        finite = jnp.isfinite(residual) & jnp.isfinite(size)
        return RESULTS.where(finite, result, RESULTS.nonfinite)

    return jax.vmap(one)(residual, size)


def certified(
    landscape: Landscape,
    solver: AbstractSolver,
    state: PyTree[Array],
    num_steps: Int[Array, " batch"],
    residual: Float[Array, " batch"] | None = None,
    observations: PyTree[Array] = None,
) -> Equilibrium:
    """The equilibrium that a solver came to: its residual measured, unless it is known,
    and its result told."""
    if residual is None:
        residual = landscape.residual(state)
    result = classify(
        residual,
        state_size(state),
        solver.certify,
        stopped_early=solver.stop is not None,
    )
    converged = residual <= solver.certify
    return Equilibrium(state, residual, converged, num_steps, result, observations)


def require_settled(equilibrium: Equilibrium, value: Any) -> Any:
    """Raises if an example didn't settle: at once, or at run time inside a `jit`.
    Otherwise returns `value`, which inside a `jit` is what raises when it is used.

    A solver without tolerance promised no more than its steps: then only divergence
    and non-finite values raise.
    """
    result = equilibrium.result
    fine = (result == RESULTS.converged) | (result == RESULTS.steps_completed)
    if isinstance(fine, Tracer):
        # Tied to every array: an unused one is compiled away, error and all.
        arrays, rest = eqx.partition(value, eqx.is_array)
        return eqx.combine(equilibrium.worst().error_if(arrays, jnp.any(~fine)), rest)
    failed = np.flatnonzero(~np.asarray(fine))
    if failed.size:
        residual = np.asarray(equilibrium.residual)[failed]
        raise RelaxationError(
            f"{failed.size} of {fine.size} examples did not reach equilibrium (the "
            f"first is example {failed[0]}; largest residual {np.max(residual):.3g}). "
            f"{RESULTS[equilibrium.worst()]} "
            "To look at the state as it is, pass `throw=False`."
        )
    return value
