"""Phases of one model and input, settled with all their examples as columns."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ._coarse import stages
from ._equilibrium import certified, Equilibrium
from ._landscape import Landscape
from ._loop import advanced, begun, final_residual, Progress, run, Start
from ._solver import AbstractSolver
from .columns import as_lanes, Columns, from_lanes, pays


# What phases of one model and input have each for itself: y, β, held parts.
Own = tuple[Array | None, Array | None, dict[int, Array]]


def own_parts(landscape: Landscape) -> Own:
    """What a landscape has besides its model and input."""
    return landscape.y, landscape.beta, landscape.held


def settled_as_columns(
    shared: Landscape,
    own: Own,
    solver: AbstractSolver,
    start: Start,
    key: PRNGKeyArray | None,
) -> tuple[Equilibrium, PyTree[Array] | None] | None:
    """The equilibria of several phases, `[phases, batch]`, and the drives of their
    states, if the solver knows them; `None` where columns are no gain, or the solver's
    step can't be taken by them.

    **Arguments:**

    - `shared`: holds the model and the input.
    - `own`: [`own_parts`][] of every phase, stacked.
    - `start`: where they start, stacked.
    """
    phases = jax.tree.leaves(start)[0].shape[0]
    if not pays(phases, shared.batch, shared.model):
        return None
    num_steps = jnp.zeros((phases, shared.batch), jnp.int32)
    stage, progress = solver, None
    for stage, own_key in stages(solver, key):

        def begin(own, start, num_steps, stage=stage, own_key=own_key):
            return begun(_with(shared, own), stage, start, num_steps, own_key)

        progress = jax.vmap(begin)(own, start, num_steps)
        progress = _settled(shared, own, stage, progress)
        if progress is None:
            return None
        start, num_steps = Start(progress.state, progress.drive), progress.num_steps

    def finished(own, progress):
        landscape = _with(shared, own)
        residual = final_residual(landscape, progress)
        state, num_steps = progress.state, progress.num_steps
        return certified(landscape, solver, state, num_steps, residual)

    return jax.vmap(finished)(own, progress), start.drive


def _with(shared: Landscape, own: Own) -> Landscape:
    return Landscape(shared.model, shared.x, *own)


def _settled(
    shared: Landscape, own: Own, solver: AbstractSolver, progress: Progress
) -> Progress | None:
    known, static = eqx.partition((shared.model, solver), eqx.is_array)
    y, beta, held = own
    still = (_lanes(shared.x, phases=False), _lanes(y), _lanes(beta), _lanes(held))

    def step(known, still, progress):
        model, solver = eqx.combine(known, static)
        return advanced(Landscape(model, *still), solver, progress)

    start = _lanes(progress)
    columns = Columns(step, known, still, start)
    if not columns.suitable():
        return None
    return jax.tree.map(from_lanes, run(solver, columns.prepared(known, still), start))


def _lanes(tree: PyTree[Array], phases: bool = True) -> PyTree[Array]:
    # One β for all examples of a phase has no axis for them.
    return jax.tree.map(
        lambda a: as_lanes(a, phases=phases, examples=a.ndim > phases), tree
    )
