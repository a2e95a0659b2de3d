import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractInitializer(eqx.Module):
    """How the weights of a dense coupling are drawn."""

    @abc.abstractmethod
    def bound(self, fan_in: int, fan_out: int) -> float:
        """The weights are uniform between minus and plus this."""

    def __call__(
        self, key: PRNGKeyArray, fan_in: int, fan_out: int
    ) -> Float[Array, "fan_in fan_out"]:
        """Draws a weight matrix, in JAX's default floating-point type."""
        limit = self.bound(fan_in, fan_out)
        return jax.random.uniform(
            key, (fan_in, fan_out), jnp.result_type(float), -limit, limit
        )


class GlorotUniform(AbstractInitializer):
    """Uniform ±√(6/(fan_in + fan_out)), as in the original code of Equilibrium
    Propagation.

    ??? cite "Glorot & Bengio 2010"
        Understanding the difficulty of training deep feedforward neural networks,
        AISTATS.
    """

    def bound(self, fan_in, fan_out):
        return math.sqrt(6 / (fan_in + fan_out))


class FanInUniform(AbstractInitializer):
    """Uniform ±gain/√fan_in, as in later work on Hopfield networks.

    **Arguments:**

    - `gain`: positive, dimensionless.

    ??? cite "Scellier et al. 2023"
        Energy-based learning algorithms for analog computing: a comparative study,
        arXiv:2312.15103: in its code.
    """

    gain: float = eqx.field(default=0.7, static=True, converter=float)

    def __check_init__(self):
        if not 0 < self.gain < math.inf:
            raise ValueError(f"`gain` must be a positive number, but is {self.gain}.")

    def bound(self, fan_in, fan_out):
        return self.gain / math.sqrt(fan_in)
