"""Lanes: the phases and examples that a step is taken for, along the last two axes."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array


LANES = 2


def as_lanes(values: Array, *, phases: bool, examples: bool) -> Array:
    """An array with its leading axes, those of phases and of examples that it has,
    moved to the end, and axes of one for those that it hasn't. In front stays a batch
    axis of one, where it had examples."""
    for present in (phases, examples):
        values = jnp.moveaxis(values, 0, -1) if present else values[..., None]
    return values[None] if examples else values


def from_lanes(values: Array) -> Array:
    """Back to `[phases, examples, ...]`."""
    return jnp.moveaxis(values[0], (-2, -1), (0, 1))


def with_lanes(value: Any, ndim: int) -> Array:
    """A value that has no lanes, as one with lanes of one, and of so many own axes."""
    value = jnp.asarray(value)
    own = (1,) * (ndim - value.ndim) + value.shape
    return value.reshape(*own, *(1,) * LANES)
