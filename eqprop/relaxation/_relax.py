from collections.abc import Callable
from types import NoneType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from ..energies import require_kind
from ._coarse import stages
from ._continuation import as_complex
from ._equilibrium import classify, Equilibrium, require_settled
from ._landscape import Landscape
from ._scalars import per_example, state_size
from ._solver import AbstractSolver


class _Progress(eqx.Module):
    state: PyTree[Array]
    memory: PyTree[Any]
    done: Bool[Array, " batch"]
    num_steps: Array


def relax(
    landscape: Landscape,
    solver: AbstractSolver,
    state0: PyTree[Array] | None = None,
    *,
    key: PRNGKeyArray | None = None,
    observe: Callable[[Landscape, PyTree[Array]], Any] | None = None,
    throw: bool = True,
) -> Equilibrium:
    """Lets the state of every example settle: one phase.

    Each example stops by itself and is then left alone, so that its result doesn't
    depend on its batch-mates. The final residual is always measured.

    **Arguments:**

    - `landscape`: what to settle in.
    - `solver`: how.
    - `state0`: where to start, with a batch axis; by default at rest.
    - `key`: a JAX random key, for solvers that sample.
    - `observe`: `observe(landscape, state)` is called before the first and after every
        step; its results come back stacked in `Equilibrium.observations`, with
        `max_steps + 1` entries (stopped examples repeat their last). Costs memory in
        proportion, and all `max_steps` steps are taken.
    - `throw`: whether to raise when an example did not settle.

    **Returns:**

    An [`eqprop.Equilibrium`][].

    **Raises:**

    - `RelaxationError`: with `throw`, an example diverged, turned non-finite, or missed
        a solver's tolerance and `certify`. (Inside a `jit`, Equinox's run-time error.)
    - `ValueError`: the solver can't work on this landscape, or `state0` doesn't fit.
    """
    _require_kinds(landscape, solver, observe)
    equilibrium = _relax(landscape, solver, state0, key, observe)
    if throw:
        return require_settled(equilibrium, equilibrium)
    return equilibrium


def _require_kinds(landscape: Any, solver: Any, observe: Any) -> None:
    for name, value, kind, fix in (
        ("landscape", landscape, Landscape, "Pass `ep.Landscape(model, x)`."),
        ("solver", solver, AbstractSolver, "Pass one such as `ep.BlockCoordinate()`."),
        (
            "observe",
            observe,
            (Callable, NoneType),
            "Pass `lambda landscape, state: ...`.",
        ),
    ):
        require_kind(name, value, kind, fix, owner="relax")


@eqx.filter_jit
def _relax(landscape, solver, state0, key, observe) -> Equilibrium:
    state = starting_state(landscape, state0)
    num_steps = jnp.zeros(landscape.batch, jnp.int32)
    seen = []
    for k, stage in enumerate(stages(solver)):
        own_key = key if key is None or k == 0 else jax.random.fold_in(key, k)
        progress = _Progress(
            state,
            stage.init(landscape, state, own_key),
            jnp.zeros(landscape.batch, bool),
            num_steps,
        )
        progress, observations = _settle(landscape, stage, progress, observe)
        state, num_steps = progress.state, progress.num_steps
        # Where a stage starts is where the one before it ended.
        first = min(k, 1)
        seen.append(jax.tree.map(lambda a, first=first: a[first:], observations))
    observations = jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen)
    return certified(landscape, solver, state, num_steps, observations)


def _settle(landscape, solver, progress: _Progress, observe):
    if observe is not None:
        return _observed_loop(landscape, solver, progress, observe)
    if solver.stop is not None:
        return _stopping_loop(landscape, solver, progress), None
    return jax.lax.fori_loop(
        0, solver.max_steps, lambda _, p: _step(landscape, solver, p), progress
    ), None


def starting_state(landscape: Landscape, state0: PyTree[Array] | None) -> PyTree[Array]:
    """Where a relaxation starts: at rest, or at a `state0` that fits the landscape."""
    if state0 is None:
        return landscape.init()
    if landscape.complex:
        state0 = as_complex(state0)
    expected = jax.eval_shape(landscape.init)
    given = jax.tree.map(jnp.shape, state0)
    if given != jax.tree.map(jnp.shape, expected):
        raise ValueError(
            f"`state0` has structure and shapes {given}, but this landscape's states "
            f"have {jax.tree.map(jnp.shape, expected)}. Start from an earlier "
            "`Equilibrium.state`, or leave it out to start at rest."
        )
    types = [s.dtype for s in jax.tree.leaves(state0)]
    wanted = [s.dtype for s in jax.tree.leaves(expected)]
    if types != wanted:
        raise ValueError(
            f"`state0` has types {[str(t) for t in types]}, but this landscape's "
            f"states have {[str(t) for t in wanted]}."
        )
    return landscape.hold(state0)


def _step(
    landscape: Landscape, solver: AbstractSolver, progress: _Progress
) -> _Progress:
    state, memory, error = solver.step(landscape, progress.state, progress.memory)
    if solver.stop is None:
        return _Progress(state, memory, progress.done, progress.num_steps + 1)
    done = progress.done
    state = _freeze(done, progress.state, state)
    memory = _freeze(done, progress.memory, memory)
    scale = solver.stop.atol + solver.stop.rtol * state_size(state)
    # An error that is NaN will never get small; the result reports it.
    settled = (error <= scale) | ~jnp.isfinite(error)
    num_steps = progress.num_steps + (~done).astype(jnp.int32)
    return _Progress(state, memory, done | settled, num_steps)


def _freeze(done: Array, old: PyTree[Array], new: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda a, b: jnp.where(per_example(done, a), a, b), old, new)


def _stopping_loop(landscape, solver, progress: _Progress) -> _Progress:
    def unfinished(carry):
        count, progress = carry
        return (count < solver.max_steps) & ~jnp.all(progress.done)

    def body(carry):
        count, progress = carry
        return count + 1, _step(landscape, solver, progress)

    start = (jnp.zeros((), jnp.int32), progress)
    return jax.lax.while_loop(unfinished, body, start)[1]


def _observed_loop(landscape, solver, progress: _Progress, observe):
    def body(progress, _):
        progress = _step(landscape, solver, progress)
        return progress, observe(landscape, progress.state)

    first = observe(landscape, progress.state)
    progress, later = jax.lax.scan(body, progress, length=solver.max_steps)
    observations = jax.tree.map(
        lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, later
    )
    return progress, observations


def certified(
    landscape: Landscape,
    solver: AbstractSolver,
    state: PyTree[Array],
    num_steps: Int[Array, " batch"],
    observations: PyTree[Array] = None,
) -> Equilibrium:
    """The equilibrium that a solver came to: its residual measured, its result told."""
    residual = landscape.residual(state)
    result = classify(
        residual,
        state_size(state),
        solver.certify,
        stopped_early=solver.stop is not None,
    )
    converged = residual <= solver.certify
    return Equilibrium(state, residual, converged, num_steps, result, observations)
