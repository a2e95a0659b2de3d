import equinox as eqx
import jax
import jax.numpy as jnp

from ..energies import require_kind
from ..relaxation import (
    AbstractSolver,
    BlockCoordinate,
    Landscape,
    relax_together,
    settled,
)
from ._adjoint import scaled_overlap
from ._estimator import AbstractEstimator, Outcome, require_solvers
from ._phase import batch_mean, contrast, contrast_grad, Phase
from .nudging import AbstractNudging


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

    def __check_init__(self):
        order = "`ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate())`"
        fix = f"The nudging comes before the solver: {order}."
        require_kind(
            "nudging",
            self.nudging,
            AbstractNudging,
            "Pass `ep.Centered(0.2)`.",
            owner="EquilibriumProp",
            instead={AbstractSolver: fix},
        )
        require_solvers(self, instead={AbstractNudging: fix})

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
        landscape = Landscape(model, x)
        landscape.check_targets(y)
        free, drive = settled(landscape, self.solver, state0, key=keys[0])
        phases, nudged = self._nudged(landscape, free, drive, y, *keys[1:])
        gradient = contrast_grad(phases, weight=weight)
        cost = batch_mean(landscape.cost(free.state, y), weight)
        return Outcome(cost, free, nudged), gradient

    @eqx.filter_jit
    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        keys = [None] * 2 if key is None else list(jax.random.split(key, 2))
        whole, target, scale = scaled_overlap(landscape, cotangent)
        phases, nudged = self._nudged(whole, free, None, target, *keys)
        # The contrast takes a mean with weights near 1; the scale comes back after.
        largest = jnp.max(scale)
        weight = scale / jnp.where(largest == 0, 1, largest)

        @eqx.filter_grad
        def total(parts):
            return contrast(phases, weight=weight, model=parts[0], x=parts[1])

        factor = largest * jnp.sum(weight)
        bars = jax.tree.map(lambda g: factor * g, total((whole.model, whole.x)))
        return nudged, bars[0].energy.energy, bars[1]

    def _nudged(self, landscape, free, drive, y, nudging_key, solver_key):
        """All phases of the contrast, settled, and how those after the free one did."""
        known, pending = self.nudging.phases(landscape, free.state, y, key=nudging_key)
        solver = self.solver if self.nudged_solver is None else self.nudged_solver
        nudged = relax_together(
            [p.landscape for p in pending],
            solver,
            [p.state for p in pending],
            key=solver_key,
            drives=[_first_drive(p, free.state, drive) for p in pending],
        )
        relaxed = tuple(
            Phase(p.landscape, e.state, p.weight)
            for p, e in zip(pending, nudged, strict=True)
        )
        return known + relaxed, nudged


def _first_drive(phase, free_state, free_drive):
    """The drive of a phase where it starts, if that is a free state whose drive is
    known."""
    if free_drive is None or phase.state is not free_state or phase.landscape.held:
        return None
    return phase.landscape.nudged_drive(phase.state, free_drive)
