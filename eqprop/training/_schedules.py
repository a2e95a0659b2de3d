import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Scalar

from ..relaxation import as_scalar, require, show_numbers


class AbstractSchedule(eqx.Module):
    """How the learning rate changes during training: a factor on it."""

    __repr__ = show_numbers

    @abc.abstractmethod
    def __call__(self, epoch: Scalar, epochs: Scalar) -> Scalar | float:
        """The factor.

        **Arguments:**

        - `epoch`: epochs done so far, with their fraction.
        - `epochs`: epochs in all.
        """


class Constant(AbstractSchedule):
    """No change."""

    def __call__(self, epoch, epochs):
        return 1.0


class Cosine(AbstractSchedule):
    """Half a cosine, from 1 down to `final`.

    **Arguments:**

    - `final`: the last factor, at least 0.

    ??? cite "Loshchilov & Hutter 2017"
        SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983. Here
        without restarts.
    """

    final: Scalar = eqx.field(default=0.0, converter=as_scalar)

    def __check_init__(self):
        require("Cosine", "final", self.final, at_least=0, fix="0 ends at rest.")

    def __call__(self, epoch, epochs):
        swing = 0.5 * (1 + jnp.cos(jnp.pi * epoch / epochs))
        return self.final + (1 - self.final) * swing


class Exponential(AbstractSchedule):
    """Times `factor` after every epoch.

    **Arguments:**

    - `factor`: positive.
    """

    factor: Scalar = eqx.field(default=0.99, converter=as_scalar)

    def __check_init__(self):
        require("Exponential", "factor", self.factor, above=0, fix="Try 0.99.")

    def __call__(self, epoch, epochs):
        return self.factor ** jnp.floor(epoch)
