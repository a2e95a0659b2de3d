import equinox as eqx
import jax

from ...relaxation import AbstractSolver, BlockCoordinate, Landscape, relax
from .._estimator import AbstractEstimator, Outcome, require_solvers
from .._phase import batch_mean
from ..nudging import Clamped
from ._plasticity import AbstractPlasticity, require_plasticity
from ._rate import RateSTDP


class ClampedSTDP(AbstractEstimator):
    """Contrastive Hebbian learning by one-way synapses: the activity before the outputs
    are held at the target, times the change that this brings.

    $$ΔW_{ij} \\propto ρ(u_i^0)\\,\\bigl[ρ(u_j^∞) - ρ(u_j^0)\\bigr]$$

    [`eqprop.Clamped`][] with a rule of plasticity applied once, to the whole way from
    the free state $u^0$ to the clamped one $u^∞$, in the place of the contrast. With
    [`eqprop.SymmetricSTDP`][] it is that contrast; with [`eqprop.RateSTDP`][], the
    default, a synapse lacks the part where its presynaptic unit moves, and the update
    is the gradient of no function. No β and no cost come in: a cost only says what the
    outputs are compared with. One relaxation more than prediction. Needs an output
    that can be held, and an energy that suits the rule.

    **Arguments:**

    - `solver`: how the free phase settles.
    - `nudged_solver`: how the clamped phase settles; by default `solver`.
    - `plasticity`: what the synapses do.

    ??? cite "Scellier & Bengio 2017, eq. 12"
        arXiv:1602.05179; the fast variant of their code, model2.py, where both phases
        are sweeps from layer to layer: `BlockCoordinate(order=…)`.
    """

    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    nudged_solver: AbstractSolver | None = None
    plasticity: AbstractPlasticity = eqx.field(default_factory=RateSTDP)

    def __check_init__(self):
        require_solvers(self)
        require_plasticity(self)

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        keys = [None] * 2 if key is None else list(jax.random.split(key))
        landscape = Landscape(model, x)
        landscape.check_targets(y)
        free = relax(landscape, self.solver, state0, key=keys[0], throw=False)
        _, (pending,) = Clamped().phases(landscape, free.state, y)
        solver = self.solver if self.nudged_solver is None else self.nudged_solver
        clamped = relax(
            pending.landscape, solver, pending.state, key=keys[1], throw=False
        )
        # Seen in the free landscape: in the other the free outputs would be held too.
        change = self.plasticity.change(
            landscape, free.state, clamped.state, weight=weight
        )
        cost = batch_mean(landscape.cost(free.state, y), weight)
        return Outcome(cost, free, (clamped,)), change

    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        raise ValueError(
            "`ClampedSTDP` holds the outputs at a target and estimates no gradient: "
            "`equilibrium` can't be differentiated by it. Use "
            "`ep.EquilibriumProp(ep.Centered(beta=0.2))`."
        )
