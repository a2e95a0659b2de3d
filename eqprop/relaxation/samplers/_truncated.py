import math

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr, ndtri
from jaxtyping import Array, Float


def truncated_normal(
    uniform: Float[Array, "..."],
    mean: Float[Array, "..."],
    spread: Float[Array, "..."],
    low: float,
    high: float,
) -> Float[Array, "..."]:
    """The quantile function of a normal distribution between two walls.

    Increasing in `uniform`, in (0, 1), and exact in the tails, where the cumulative
    distribution itself rounds to 0 or 1 and would leave atoms on the walls.
    """
    a, b = (low - mean) / spread, (high - mean) / spread
    # Mirrored so that the probabilities at hand are small, hence precise.
    mirrored = a + b > 0
    a, b = jnp.where(mirrored, -b, a), jnp.where(mirrored, -a, b)
    below, above = jnp.log1p(-uniform), jnp.log(uniform)
    from_a = log_ndtr(a) + jnp.where(mirrored, above, below)
    log_p = jnp.logaddexp(from_a, log_ndtr(b) + jnp.where(mirrored, below, above))
    z = jnp.clip(_log_quantile(log_p), a, b)
    s = mean + spread * jnp.where(mirrored, -z, z)
    return jnp.clip(s, low, high)


def _log_quantile(log_p: Float[Array, "..."]) -> Float[Array, "..."]:
    """The z at which the standard normal's cumulative distribution is $e^{log\\_p}$."""
    far = log_p < -10
    # Of the two tails the smaller probability is the precise one.
    lower = log_p < -0.5
    small = jnp.where(lower, jnp.exp(jnp.maximum(log_p, -10.0)), -jnp.expm1(log_p))
    near = ndtri(small) * jnp.where(lower, 1, -1)
    goal = jnp.where(far, log_p, -10.0)

    # log Φ is concave and starts below its goal: the steps never pass it.
    def newton(_, z):
        value = log_ndtr(z)
        slope = jnp.exp(-0.5 * z * z - 0.5 * math.log(2 * math.pi) - value)
        return z + (goal - value) / slope

    z = jax.lax.fori_loop(0, 6, newton, -jnp.sqrt(-2 * goal))
    return jnp.where(far, z, near)
