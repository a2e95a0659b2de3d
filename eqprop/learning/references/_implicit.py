import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from ...energies import AbstractUnit, require_kind, Softmax
from ...relaxation import (
    AbstractSolver,
    as_scalar,
    BlockCoordinate,
    Equilibrium,
    Landscape,
    per_example,
    require,
    RESULTS,
    state_size,
    Tolerance,
)
from .._adjoint import scaled
from .._estimator import AbstractEstimator, require_solvers
from ._adjoint_gradient import (
    gradient_by_pull_back,
    pulled,
    require_second_derivative,
)
from ._linear import (
    AbstractLinearSolver,
    AdjointSystem,
    ConjugateGradient,
    DenseLU,
    GMRES,
)


_MOST_DENSE_UNITS = 512


def _settling() -> BlockCoordinate:
    # The formula holds at the equilibrium: what is missing to it is missing here too.
    return BlockCoordinate(max_steps=200, stop=Tolerance(1e-6))


class ImplicitDifferentiation(AbstractEstimator):
    """The gradient by the implicit function theorem: a reference, not a rule.

    $$\\frac{dL}{dθ} = ∂_θC - λ^\\top ∂²_{sθ}E, \\qquad J\\,λ = ∂_sC, \\quad
      J = ∂²E/∂s²$$

    on the units that are free and not saturated; the others don't move. λ is minus the
    response of the equilibrium to the nudge, $-ds^β/dβ$ at β = 0. No bias: exact at the
    equilibrium, and wrong in proportion to the free phase's residual. One relaxation
    and one linear solve, each example by itself. Needs the energy's second derivative,
    and a J that isn't singular (a minimum need it not be).

    The second phase of the outcome is that solve: its state is λ of the mean cost, its
    residual that of the linear system, relative to the right-hand side. Where it isn't
    solved, the result is `RESULTS.singular` and the gradient NaN.

    **Arguments:**

    - `solver`: how the free phase settles.
    - `linear_solver`: how λ is solved for: [`eqprop.DenseLU`][], [`eqprop.GMRES`][] or
        [`eqprop.ConjugateGradient`][]. By default dense for up to 512 units, GMRES
        above.
    - `certify`: the relative residual up to which λ counts as solved for.

    **Raises:**

    - `ValueError`: when used, the energy has no second derivative.
    - `ImportError`: when used, the linear solver needs lineax, which isn't installed.

    ??? cite "Scellier & Bengio 2017, theorem 1; Scellier & Bengio 2019"
        arXiv:1602.05179; Equivalence of equilibrium propagation and recurrent
        backpropagation, arXiv:1711.08416.
    """

    solver: AbstractSolver = eqx.field(default_factory=_settling)
    linear_solver: AbstractLinearSolver | None = None
    certify: Scalar = eqx.field(default=1e-4, converter=as_scalar)

    def __check_init__(self):
        require_solvers(self)
        require_kind(
            "linear_solver",
            self.linear_solver,
            AbstractLinearSolver | None,
            "Pass `ep.DenseLU()`, `ep.GMRES()` or `ep.ConjugateGradient()`.",
            owner="ImplicitDifferentiation",
        )
        fix = "The default is 1e-4."
        require("ImplicitDifferentiation", "certify", self.certify, above=0, fix=fix)

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        return gradient_by_pull_back(self, model, x, y, weight, state0, key)

    @eqx.filter_jit
    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        require_second_derivative("ImplicitDifferentiation", landscape)
        adjoint = self._adjoint(landscape, free.state, cotangent)
        bars = pulled(lambda at: at.drive(free.state), landscape, adjoint.state)
        return (adjoint,), *bars

    def _adjoint(self, landscape, state, cotangent) -> Equilibrium:
        solver = _chosen(self.linear_solver, landscape, state)
        unit_cotangent, scale = scaled(cotangent)

        def of_example(x, state, cotangent):
            at = Landscape(landscape.model, jax.tree.map(lambda a: a[None], x))
            return _solve(at, state, cotangent, solver)

        found, residual, num_steps = jax.vmap(of_example)(
            landscape.x, state, unit_cotangent
        )
        converged = residual <= self.certify
        known = jnp.isfinite(state_size(state)) & jnp.isfinite(scale)
        result = _outcomes(residual, known, self.certify)
        # An unsolved system's numbers look like any others.
        factor = jnp.where(converged, scale, jnp.nan)
        adjoint = jax.tree.map(lambda a: per_example(factor, a) * a, found)
        return Equilibrium(adjoint, residual, converged, num_steps, result)


def _chosen(
    linear_solver: AbstractLinearSolver | None,
    landscape: Landscape,
    state: PyTree[Array],
) -> AbstractLinearSolver:
    if linear_solver is None:
        units = sum(s[0].size for s in jax.tree.leaves(state))
        return DenseLU() if units <= _MOST_DENSE_UNITS else GMRES()
    if isinstance(linear_solver, ConjugateGradient):
        for unit in landscape.leaf_units():
            if isinstance(unit, Softmax):
                raise ValueError(
                    f"`linear_solver` is `ConjugateGradient`, which needs units that "
                    f"act one by one, but `units` holds `{unit}`. Pass "
                    "`linear_solver=ep.GMRES()`."
                )
    return linear_solver


def _solve(
    at: Landscape,
    state: PyTree[Array],
    cotangent: PyTree[Array],
    solver: AbstractLinearSolver,
) -> tuple[PyTree[Array], Float[Array, ""], Int[Array, ""]]:
    """λ of one example, the relative residual of its system, and the steps taken."""
    c, unravel = ravel_pytree(cotangent)
    slope, feedback = _linearized(at, state)
    system = AdjointSystem(
        lambda v: ravel_pytree(slope(unravel(v)))[0],
        lambda v: ravel_pytree(feedback(unravel(v)))[0],
        c,
    )
    # Saturated outputs can make a small right-hand side of any cotangent.
    size = jnp.max(jnp.abs(system.target()))
    size = jnp.where(size == 0, 1, size)
    system = AdjointSystem(system.slope, system.feedback, c / size)
    found, num_steps = solver.solve(system)
    # Nothing comes of nothing, whatever the curvature.
    found = jnp.where(jnp.all(system.target() == 0), 0, found)
    residual = jnp.max(jnp.abs(system.product(found) - system.target()))
    # Of a nearly singular system it may vanish by luck; it isn't known any better.
    noise = jnp.finfo(c.dtype).eps * jnp.max(jnp.abs(found))
    residual = jnp.maximum(residual, noise)
    return unravel(size * found), residual, num_steps.astype(jnp.int32)


def _linearized(at: Landscape, state: PyTree[Array]):
    """Products with A' and Hᵀ, at the state of the one example of a landscape."""
    leaves, treedef = jax.tree.flatten(state)
    units = at.leaf_units()

    def drive(state):
        batched = at.drive(jax.tree.map(lambda s: s[None], state))
        return jax.tree.map(lambda d: d[0], batched)

    drives, pull = jax.vjp(drive, state)
    goals = [
        jax.vjp(lambda d, u=u, s=s: _goal(u, s, d), d)[1]
        for u, s, d in zip(units, leaves, jax.tree.leaves(drives), strict=True)
    ]

    def slope(v):
        parts = zip(goals, jax.tree.leaves(v), strict=True)
        return jax.tree.unflatten(treedef, [goal(part)[0] for goal, part in parts])

    def feedback(v):
        (back,) = pull(v)
        parts = zip(units, jax.tree.leaves(back), jax.tree.leaves(v), strict=True)
        kept = [b if u.curvature[0] > 0 else b + part for u, b, part in parts]
        return jax.tree.unflatten(treedef, kept)

    return slope, feedback


def _goal(unit: AbstractUnit, state: Array, drive: Array) -> Array:
    """Where a unit's drive would take it; the equilibrium is where it is."""
    if unit.curvature[0] > 0:
        return unit.activate(drive)
    return unit.project(state + drive)


def _outcomes(
    residual: Float[Array, " batch"], known: Bool[Array, " batch"], certify: Scalar
) -> RESULTS:
    def one(residual, known):
        failure = RESULTS.where(known, RESULTS.singular, RESULTS.nonfinite)
        return RESULTS.where(residual <= certify, RESULTS.converged, failure)

    return jax.vmap(one)(residual, known)
