import math

import jax.numpy as jnp

from ._unit import AbstractUnit


class Binary(AbstractUnit):
    """A stochastic binary unit: states 0 and 1, $G = 0$, $\\text{activate}(d) = 1$
    where $d > 0$ and else 0.

    At a temperature T it is 1 with probability $1/(1 + e^{-d/T})$, which
    [`eqprop.Gibbs`][] draws; `activate` is the limit T → 0, by which `BlockCoordinate`
    predicts. Its slope is zero everywhere: only sampling gives gradients
    ([`eqprop.StochasticEP`][]), and solvers that move in small steps refuse it.
    """

    @property
    def curvature(self) -> tuple[float, float]:
        return (math.inf, math.inf)

    @property
    def analytic(self) -> bool:
        return False

    def potential(self, s):
        return jnp.zeros((), s.dtype)

    def activate(self, drive):
        return (drive > 0).astype(drive.dtype)

    def project(self, s):
        return (s > 0.5).astype(s.dtype)

    def saturated(self, s):
        return jnp.ones(jnp.shape(s), bool)
