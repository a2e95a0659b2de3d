from typing import Any, TypeVar

import jax
from jaxtyping import Array, Float, PyTree

from ..relaxation import (
    estimate_factors,
    Factor,
    fill_in,
    Landscape,
    no_factors,
    relax,
)
from ._equilibrium_prop import EquilibriumProp
from ._initialized_ep import InitializedEP


_Part = TypeVar("_Part")


def tune(
    part: _Part,
    landscape: Landscape,
    state0: PyTree[Array] | None = None,
    *,
    y: Float[Array, "batch ..."] | None = None,
) -> _Part:
    """A solver or a method, its open relaxation factors estimated.

    Fills in every [`eqprop.BlockCoordinate`][] whose `relaxation` is `None`, for the
    examples of the landscape: some that stay the same, so that no example's result
    depends on its batch-mates. Twelve are tried: ω = 1, 1.05, …, 1.2, 1.3, …, 1.9.

    With a fixed number of sweeps 256 of the examples settle with each, ω falling over
    all sweeps, and the one is taken that leaves the fewest uncertified, counted
    smoothly: the mean of $r^8 / (r^8 + \\text{certify}^8)$, r the residual. With a
    tolerance the slowest decides how long a batch takes: those that should be slowest,
    a sixteenth of the examples but at least 32, settle with an ω that stays and, from
    1.3 on, with one that falls over 20 sweeps at a time, and the one is taken with
    which a random quarter of all needs the fewest sweeps in the mean, until its slowest
    is settled.

    It costs 12 times the sweeps of 256 examples; with a tolerance some 60 sweeps of
    all, and of the slowest 19 times at most 48. As training goes on the best ω moves:
    [`eqprop.fit`][] asks again, four times in the first epoch and once in every other,
    with its own batch in the place of a quarter. Filling in another number never
    recompiles.

    **Arguments:**

    - `part`: a solver, or a method that holds some.
    - `landscape`: a free landscape of some hundred examples.
    - `state0`: where to start settling them, by default at rest.
    - `y`: their targets. With them a nudged phase's solver is estimated where it
        starts and settles; without, as if its phase were free and from `state0`.

    **Returns:**

    The part with numbers in the place of `None`; the same where nothing was open.

    **Raises:**

    - `ValueError`: exact block sweeps don't suit the landscape.
    """
    return fill_in(part, relaxation_factors(part, landscape, y, state0))


def relaxation_factors(
    part: Any,
    landscape: Landscape,
    y: Float[Array, "batch ..."] | None,
    state0: PyTree[Array] | None = None,
    *,
    batch: int | None = None,
) -> tuple[Factor, ...]:
    """What [`eqprop.tune`][] fills in, in the order of the solvers.

    **Arguments:**

    - `landscape`, `state0`, `y`: as there.
    - `batch`: how many examples wait for each other; by default a quarter of these.
    """
    method = part.method if isinstance(part, InitializedEP) else part
    if (
        y is None
        or not isinstance(method, EquilibriumProp)
        or method.nudged_solver is None
        or not no_factors(method.nudged_solver)
    ):
        return estimate_factors(method, landscape, state0, batch=batch)
    factors = estimate_factors(method.solver, landscape, state0, batch=batch)
    settling = fill_in(method.solver, factors)
    free = relax(landscape, settling, state0, throw=False)
    # A nudge stiffens the outputs, and its phase starts near where it ends.
    _, pending = method.nudging.phases(landscape, free.state, y, key=jax.random.key(0))
    nudged, solver = pending[-1].landscape, method.nudged_solver
    return factors + estimate_factors(solver, nudged, free.state, batch=batch)
