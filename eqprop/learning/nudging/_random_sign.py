import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray, Scalar

from ...relaxation import as_scalar, require
from ._nudging import AbstractNudging, SMALL_BETA
from ._one_sided import two_phases


class RandomSign(AbstractNudging):
    """One-sided, with a sign drawn for each batch, as the original code does.

    [`eqprop.OneSided`][] at $σβ$, σ = ±1 with equal odds: the bias O(β) of one sign
    cancels the other's on average, leaving O(β²).

    **Arguments:**

    - `beta`: β > 0, dimensionless; changing it doesn't recompile.

    ??? cite "Scellier & Bengio 2017"
        arXiv:1602.05179, and its original code.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("RandomSign", "beta", self.beta, above=0, fix=SMALL_BETA)

    def sign(self, key: PRNGKeyArray) -> Scalar:
        """The sign ±1 that `key` stands for."""
        return jnp.where(jax.random.bernoulli(key), 1.0, -1.0)

    def phases(self, landscape, state, y, *, key=None):
        if key is None:
            raise ValueError(
                "`RandomSign` draws a sign for each batch and needs a `key`: "
                "`method.value_and_grad(model, x, y, key=jax.random.key(0))`. For "
                "signs of your own use `OneSided(beta=sign * beta)`."
            )
        return two_phases(landscape, state, y, self.beta * self.sign(key))
