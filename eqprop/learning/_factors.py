import jax
from jaxtyping import Array, Float, PyTree, Scalar

from ..relaxation import estimate_factors, fill_in, Landscape, no_factors, relax
from ._equilibrium_prop import EquilibriumProp
from ._estimator import AbstractEstimator
from ._initialized_ep import InitializedEP


def relaxation_factors(
    method: AbstractEstimator,
    landscape: Landscape,
    y: Float[Array, "batch ..."],
    state0: PyTree[Array] | None = None,
    *,
    batch: int | None = None,
) -> tuple[Scalar, ...]:
    """An estimate of ω for every solver of a method that leaves it open, in their
    order: as [`eqprop.tune`][], but of nudged phases with a tolerance in the landscape
    that they settle in.

    **Arguments:**

    - `landscape`, `y`: a free landscape of some hundred examples, their targets.
    - `state0`: where their free phase starts, by default at rest.
    - `batch`: how many examples wait for each other; by default a quarter of these.
    """
    if isinstance(method, InitializedEP):
        method = method.method
    if (
        not isinstance(method, EquilibriumProp)
        or method.nudged_solver is None
        or method.nudged_solver.stop is None
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
