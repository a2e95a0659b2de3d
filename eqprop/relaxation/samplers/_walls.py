"""The walls of a unit's feasible interval, and reflection at them."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...energies import AbstractUnit


def walls(unit: AbstractUnit) -> tuple[float, float]:
    """The ends of the feasible interval, which may be infinite."""
    with jax.ensure_compile_time_eval():
        low = unit.project(jnp.asarray(-jnp.inf))
        high = unit.project(jnp.asarray(jnp.inf))
    return float(low), float(high)


def reflect(s: Array, low: float, high: float) -> Array:
    """s folded into [low, high], as often as it takes."""
    if math.isinf(low) and math.isinf(high):
        return s
    if math.isinf(high):
        return low + jnp.abs(s - low)
    if math.isinf(low):
        return high - jnp.abs(high - s)
    width = high - low
    folded = jnp.mod(s - low, 2 * width)
    # Round-off must not leave it a hair outside.
    inside = low + jnp.minimum(folded, 2 * width - folded)
    return jnp.clip(inside, low, high)
