"""The loop of a relaxation: every example steps until it is done."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree

from ._landscape import Landscape
from ._scalars import per_example, state_size
from ._solver import AbstractSolver


class Progress(eqx.Module):
    """How far every example has come; several phases may stand before the batch, or
    both at the end (see `columns`)."""

    state: PyTree[Array]
    memory: PyTree[Array]
    done: Bool[Array, "..."]
    num_steps: Int[Array, "..."]


def begun(
    state: PyTree[Array], memory: PyTree[Array], num_steps: Int[Array, "..."]
) -> Progress:
    """Where a solver begins."""
    return Progress(state, memory, jnp.zeros(num_steps.shape, bool), num_steps)


def advanced(
    landscape: Landscape, solver: AbstractSolver, progress: Progress
) -> Progress:
    """Every example after one more step, or as it was, if it is done."""
    state, memory, error = solver.step(landscape, progress.state, progress.memory)
    if solver.stop is None:
        return Progress(state, memory, progress.done, progress.num_steps + 1)
    done = progress.done
    state = _freeze(done, progress.state, state)
    memory = _freeze(done, progress.memory, memory)
    scale = solver.stop.atol + solver.stop.rtol * state_size(state)
    # An error that is NaN will never get small; the result reports it.
    settled = (error <= scale) | ~jnp.isfinite(error)
    num_steps = progress.num_steps + (~done).astype(jnp.int32)
    return Progress(state, memory, done | settled, num_steps)


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
