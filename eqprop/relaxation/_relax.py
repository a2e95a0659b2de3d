from collections.abc import Callable
from types import NoneType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ..energies import require_kind
from ._coarse import stages
from ._continuation import as_complex
from ._equilibrium import certified, Equilibrium, require_settled
from ._landscape import Landscape
from ._loop import advanced, begun, final_residual, Progress, run, Start
from ._phases import own_parts, settled_as_columns
from ._solver import AbstractSolver


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
    return settled(landscape, solver, state0, key=key, observe=observe)[0]


@eqx.filter_jit
def settled(
    landscape: Landscape,
    solver: AbstractSolver,
    state0: PyTree[Array] | None = None,
    *,
    key: PRNGKeyArray | None = None,
    observe: Callable[[Landscape, PyTree[Array]], Any] | None = None,
    drive0: PyTree[Array] | None = None,
) -> tuple[Equilibrium, PyTree[Array] | None]:
    """What [`eqprop.relax`][] does, without `throw`; and the drive of the last state,
    if the solver knows it.

    **Arguments:**

    - `drive0`: that of the first state, if it is known.
    """
    start = Start(starting_state(landscape, state0), drive0, resting=state0 is None)
    if observe is None:
        parts = own_parts(landscape), start
        alone = jax.tree.map(lambda a: a[None], parts)
        found = settled_as_columns(landscape, alone[0], solver, alone[1], key)
        if found is not None:
            return jax.tree.map(lambda a: a[0], found)
    num_steps = jnp.zeros(landscape.batch, jnp.int32)
    seen, residual = [], None
    for k, (stage, own_key) in enumerate(stages(solver, key)):
        progress = begun(landscape, stage, start, num_steps, own_key)
        progress, observations = _settle(landscape, stage, progress, observe)
        start, num_steps = Start(progress.state, progress.drive), progress.num_steps
        residual = final_residual(landscape, progress)
        # Where a stage starts is where the one before it ended.
        first = min(k, 1)
        seen.append(jax.tree.map(lambda a, first=first: a[first:], observations))
    observations = jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen)
    found = certified(landscape, solver, start.state, num_steps, residual, observations)
    return found, start.drive


def _settle(landscape, solver, progress: Progress, observe):
    def step(progress):
        return advanced(landscape, solver, progress)

    if observe is None:
        return run(solver, step, progress), None

    def body(progress, _):
        progress = step(progress)
        return progress, observe(landscape, progress.state)

    first = observe(landscape, progress.state)
    progress, later = jax.lax.scan(body, progress, length=solver.max_steps)
    observations = jax.tree.map(
        lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b]), first, later
    )
    return progress, observations


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
