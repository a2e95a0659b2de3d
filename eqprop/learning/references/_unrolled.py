import equinox as eqx

from ...relaxation import AbstractSolver, BlockCoordinate, Landscape, relax
from .._estimator import AbstractEstimator, Outcome
from .._phase import batch_mean


class BackpropThroughTime(AbstractEstimator):
    """Back-propagation through the unrolled relaxation: a reference, not a rule.

    The exact gradient of the cost after `max_steps` steps of the solver from
    `state0`; at an equilibrium that no longer depends on the start, the exact gradient
    of the cost at equilibrium. Memory grows with the number of steps.

    **Arguments:**

    - `solver`: how the free phase settles; must have `stop=None`.

    **Raises:**

    - `ValueError`: a solver that stops early, whose loop has no reverse derivative.
    """

    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)

    def __check_init__(self):
        if self.solver.stop is not None:
            raise ValueError(
                "`solver` of `BackpropThroughTime` stops early (`stop` is "
                f"{self.solver.stop}), and a loop of unknown length has no reverse "
                "derivative. Pass `stop=None` and enough `max_steps`."
            )

    def free_solver(self):
        return self.solver

    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        @eqx.filter_value_and_grad(has_aux=True)
        def loss(model):
            landscape = Landscape(model, x)
            landscape.check_targets(y)
            free = relax(landscape, self.solver, state0, key=key, throw=False)
            return batch_mean(landscape.cost(free.state, y), weight), free

        (cost, free), gradient = loss(model)
        return Outcome(cost, free), gradient

    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        def settled(parts):
            scape = Landscape(*parts)
            return relax(scape, self.solver, state0, key=key, throw=False).state

        _, pull = eqx.filter_vjp(settled, (landscape.model, landscape.x))
        (bars,) = pull(cotangent)
        return (), *bars
