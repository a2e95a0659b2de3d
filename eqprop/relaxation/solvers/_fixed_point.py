import equinox as eqx
import jax
from jaxtyping import Scalar

from .._scalars import as_scalar, per_example, require, require_steps
from .._solver import AbstractSolver, Tolerance
from ._misc import largest_change, require_continuous, require_potential


class FixedPoint(AbstractSolver):
    """The synchronous fixed-point iteration of all units' activations, damped.

    $$s \\leftarrow s + ε\\,(\\text{activate}(\\text{drive}) - s)$$

    On quadratic units without walls it is `Euler`; on sigmoid, tanh and softmax units
    it is the leaky integrator that `Euler` can't be. With ε = 1 it is the discrete
    dynamics of Ernoult et al. 2019, which can oscillate with period 2 where couplings
    are strong. Error: the residual of the state before the step. Reverse-differentiable
    without `stop`.

    **Arguments:**

    - `damping`: ε in (0, 1], the fraction of the way that is taken.
    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].

    ??? cite "Ernoult et al. 2019"
        Updates of equilibrium prop match gradients of backprop through time in an RNN
        with static input, arXiv:1905.13633. Theirs is without damping.
    """

    damping: Scalar = eqx.field(default=0.5, converter=as_scalar)
    max_steps: int = eqx.field(default=100, static=True)
    stop: Tolerance | None = None
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("FixedPoint", self.max_steps)
        fix = "0.5 takes half the way, 1 all of it."
        require("FixedPoint", "damping", self.damping, above=0, at_most=1, fix=fix)
        fix = "The default is 1e-3."
        require("FixedPoint", "certify", self.certify, above=0, fix=fix)

    def init(self, landscape, state, key):
        require_continuous("FixedPoint", landscape)
        require_potential("FixedPoint", landscape)
        return None

    def step(self, landscape, state, memory):
        goal = landscape.activate(landscape.drive(state))
        new = jax.tree.map(
            lambda s, g: s + per_example(self.damping, s) * (g - s), state, goal
        )
        return new, memory, largest_change(goal, state)
