"""The loop of a relaxation: every example steps until it is done."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ._landscape import Landscape
from ._scalars import per_example, state_size
from ._solver import AbstractLookahead, AbstractSolver
from ._zeros import without_zero_products


class Progress(eqx.Module):
    """How far every example has come; several phases may stand before the batch, or
    both at the end (see `columns`).

    **Attributes:**

    - `drive`: that of the state, for a solver that looks ahead; `None` for others.
    - `residual`: that of the state, where a solver that looks ahead has a tolerance.
    """

    state: PyTree[Array]
    memory: PyTree[Array]
    drive: PyTree[Array] | None
    residual: Float[Array, "..."] | None
    done: Bool[Array, "..."]
    num_steps: Int[Array, "..."]


class Start(eqx.Module):
    """Where a relaxation starts, and what is known of it.

    **Attributes:**

    - `drive`: that of the state, if it is known.
    - `resting`: whether the state is the resting one.
    """

    state: PyTree[Array]
    drive: PyTree[Array] | None = None
    resting: bool = eqx.field(default=False, static=True)


def begun(
    landscape: Landscape,
    solver: AbstractSolver,
    start: Start,
    num_steps: Int[Array, "..."],
    key: PRNGKeyArray | None,
) -> Progress:
    """Where a solver begins."""
    state, residual = start.state, None
    memory = solver.init(landscape, state, key)
    done = jnp.zeros(landscape.batch, bool)
    if not isinstance(solver, AbstractLookahead) or not solver.looks_ahead(landscape):
        return Progress(state, memory, None, None, done, num_steps)
    drive = start.drive
    if drive is None:
        drive = _first_drive(landscape, solver, start)
    if solver.stop is not None:
        residual = jnp.full(landscape.batch, jnp.inf, state_size(state).dtype)
    return Progress(state, memory, drive, residual, done, num_steps)


def _first_drive(
    landscape: Landscape, solver: AbstractLookahead, start: Start
) -> PyTree[Array]:
    nothing = jax.tree.map(jnp.zeros_like, start.state)
    if not start.resting:
        return solver.look(landscape, start.state, nothing)
    # At rest, states are zeros as a rule, and so are their products.
    return without_zero_products(
        lambda: solver.look(landscape, landscape.init(), nothing)
    )


def advanced(
    landscape: Landscape, solver: AbstractSolver, progress: Progress
) -> Progress:
    """Every example after one more step, or as it was, if it is done."""
    done, num_steps = progress.done, progress.num_steps
    state, memory, drive, error = _stepped(landscape, solver, progress)
    if solver.stop is None:
        return Progress(state, memory, drive, None, done, num_steps + 1)
    residual = None
    if error is None:
        error = landscape.residual(state, drive)
        residual = _freeze(done, progress.residual, error)
    state, memory, drive = _freeze(
        done, (progress.state, progress.memory, progress.drive), (state, memory, drive)
    )
    scale = solver.stop.atol + solver.stop.rtol * state_size(state)
    # An error that is NaN will never get small; the result reports it.
    settled = (error <= scale) | ~jnp.isfinite(error)
    num_steps = num_steps + (~done).astype(jnp.int32)
    return Progress(state, memory, drive, residual, done | settled, num_steps)


def _stepped(landscape: Landscape, solver: AbstractSolver, progress: Progress):
    """The new state and memory, its drive if the solver looks ahead, and else the error
    of the step."""
    state, memory, drive = progress.state, progress.memory, progress.drive
    if drive is None or not isinstance(solver, AbstractLookahead):
        state, memory, error = solver.step(landscape, state, memory)
        return state, memory, None, error
    state, memory, drive = solver.move(landscape, state, memory, drive)
    return state, memory, solver.look(landscape, state, drive), None


def final_residual(landscape: Landscape, progress: Progress) -> Float[Array, " batch"]:
    """The residual of every example's state after the last step."""
    if progress.residual is not None:
        return progress.residual
    return landscape.residual(progress.state, progress.drive)


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
