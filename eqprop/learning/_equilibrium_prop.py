import equinox as eqx
import jax

from ..relaxation import AbstractSolver, BlockCoordinate, Landscape, relax
from ._estimator import AbstractEstimator, Outcome
from ._nudging import AbstractNudging
from ._phase import batch_mean, contrast_grad, Phase


class EquilibriumProp(AbstractEstimator):
    """Equilibrium Propagation: settle, nudge, settle again, contrast.

    $$\\frac{dL}{dθ} = \\lim_{β \\to 0} \\frac1β
      \\bigl[∂_θF(β, s^β) - ∂_θF(0, s^0)\\bigr], \\qquad L(θ) = C(s^0, y)$$

    Nudged phases start at the free equilibrium. The gradient is as good as the
    equilibria: the outcome says for every example and phase whether it settled.

    **Arguments:**

    - `nudging`: which phases are contrasted ([`eqprop.OneSided`][],
        [`eqprop.Centered`][], …).
    - `solver`: how the free phase settles.
    - `nudged_solver`: how the other phases settle; by default `solver`.

    ??? cite "Scellier & Bengio 2017, theorem 1"
        arXiv:1602.05179.
    """

    nudging: AbstractNudging
    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    nudged_solver: AbstractSolver | None = None

    def free_solver(self):
        return self.solver

    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
        landscape = Landscape(model, x)
        landscape.check_targets(y)
        free = relax(landscape, self.solver, state0, key=keys[0], throw=False)
        settled, pending = self.nudging.phases(landscape, free.state, y, key=keys[1])
        solver = self.solver if self.nudged_solver is None else self.nudged_solver
        nudged = tuple(
            relax(p.landscape, solver, p.state, key=keys[2], throw=False)
            for p in pending
        )
        relaxed = tuple(
            Phase(p.landscape, e.state, p.weight)
            for p, e in zip(pending, nudged, strict=True)
        )
        gradient = contrast_grad(settled + relaxed, weight=weight)
        cost = batch_mean(landscape.cost(free.state, y), weight)
        return Outcome(cost, free, nudged), gradient
