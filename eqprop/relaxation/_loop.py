"""The loop of a relaxation: every example steps until it is done."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._landscape import Landscape
from ._scalars import per_example, state_size
from ._solver import AbstractLookahead, AbstractSolver


class Progress(eqx.Module):
    """How far every example has come; several phases may stand before the batch, or
    both at the end (see `columns`).

    **Attributes:**

    - `drive`: what a solver that looks ahead has seen; `None` for others.
    - `residual`: that of the state, where a solver that looks ahead has a tolerance.
    """

    state: PyTree[Array]
    memory: PyTree[Array]
    drive: PyTree[Array] | None
    residual: Float[Array, "..."] | None
    done: Bool[Array, "..."]
    num_steps: Int[Array, "..."]


def begun(
    landscape: Landscape,
    solver: AbstractSolver,
    state: PyTree[Array],
    num_steps: Int[Array, " batch"],
    key: PRNGKeyArray | None,
) -> Progress:
    """Where a solver begins."""
    memory = solver.init(landscape, state, key)
    drive = residual = None
    if isinstance(solver, AbstractLookahead) and solver.looks_ahead(landscape):
        drive = jax.tree.map(jnp.zeros_like, state)
        if solver.stop is not None:
            drive = solver.look(landscape, state, drive)
            residual = jnp.full(landscape.batch, jnp.inf, state_size(state).dtype)
    done = jnp.zeros(landscape.batch, bool)
    return Progress(state, memory, drive, residual, done, num_steps)


def advanced(
    landscape: Landscape, solver: AbstractSolver, progress: Progress
) -> Progress:
    """Every example after one more step, or as it was, if it is done."""
    done, num_steps = progress.done, progress.num_steps
    if solver.stop is None:
        state, memory, drive = _stepped(landscape, solver, progress)
        return Progress(state, memory, drive, None, done, num_steps + 1)
    state, memory, drive, error = _stepped_and_measured(landscape, solver, progress)
    state = _freeze(done, progress.state, state)
    memory = _freeze(done, progress.memory, memory)
    residual = None if drive is None else _freeze(done, progress.residual, error)
    scale = solver.stop.atol + solver.stop.rtol * state_size(state)
    # An error that is NaN will never get small; the result reports it.
    settled = (error <= scale) | ~jnp.isfinite(error)
    num_steps = num_steps + (~done).astype(jnp.int32)
    return Progress(state, memory, drive, residual, done | settled, num_steps)


def _stepped(landscape: Landscape, solver: AbstractSolver, progress: Progress):
    """The new state and memory, and the drives that the step met."""
    state, memory, drive = progress.state, progress.memory, progress.drive
    if drive is None or not isinstance(solver, AbstractLookahead):
        return *solver.step(landscape, state, memory)[:2], None
    drive = solver.look(landscape, state, drive)
    return solver.move(landscape, state, memory, drive)


def _stepped_and_measured(
    landscape: Landscape, solver: AbstractSolver, progress: Progress
):
    """The new state and memory, its drives, and its error, of those that are done too.
    The look that measures one state is the next step's."""
    state, memory, drive = progress.state, progress.memory, progress.drive
    if drive is None or not isinstance(solver, AbstractLookahead):
        state, memory, error = solver.step(landscape, state, memory)
        return state, memory, None, error
    state, memory, drive = solver.move(landscape, state, memory, drive)
    drive = solver.look(landscape, state, drive)
    return state, memory, drive, landscape.residual(state, drive)


def final_residual(
    landscape: Landscape, solver: AbstractSolver, progress: Progress
) -> Float[Array, " batch"]:
    """The residual of every example's state after the last step."""
    if progress.residual is not None:
        return progress.residual
    drive = progress.drive
    if drive is not None and isinstance(solver, AbstractLookahead):
        drive = solver.look(landscape, progress.state, drive)
    return landscape.residual(progress.state, drive)


def _freeze(done: Array, old: PyTree[Array], new: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda a, b: jnp.where(per_example(done, a), a, b), old, new)


def run(
    solver: AbstractSolver, step: Callable[[Progress], Progress], progress: Progress
) -> Progress:
    """All steps of a solver, or those until all examples are done."""
    if solver.stop is None:
        return jax.lax.fori_loop(0, solver.max_steps, lambda _, p: step(p), progress)

    def unfinished(carry):
        count, progress = carry
        return (count < solver.max_steps) & ~jnp.all(progress.done)

    def body(carry):
        count, progress = carry
        return count + 1, step(progress)

    start = (jnp.zeros((), jnp.int32), progress)
    return jax.lax.while_loop(unfinished, body, start)[1]
