"""The examples that training visits, batch by batch."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..data import Dataset, in_batches


class Examples:
    """The examples of positive weight, cut into batches of one size.

    The weights are scaled to a mean of 1, so that they say nothing about how far a
    step goes.
    """

    def __init__(self, data: Dataset, batch_size: int):
        self.batch_size, self.weight = batch_size, None
        self.visited = len(data)
        if data.weight is not None:
            weight = np.asarray(data.weight, np.float64)
            rows = np.flatnonzero(weight)
            self.visited = len(rows)
            # Past the end as in `in_batches`: of the data and not of those visited,
            # since persistent states are written back by these indices.
            self.rows = jnp.asarray([*rows, len(data)])
            mean = np.sum(weight) / self.visited
            self.weight = jnp.asarray(weight / mean, jnp.result_type(float))

    def in_batches(
        self, order: Int[Array, " visited"]
    ) -> tuple[
        Int[Array, "batches batch"],
        Float[Array, "batches batch"],
        Float[Array, " batches"] | None,
    ]:
        """The indices of every batch, their weights, and the mean weight of each
        batch; `None` for the last where all examples count the same."""
        indices, present = in_batches(order, self.batch_size)
        if self.weight is None:
            return indices, present, None
        return _weighted(self.rows, self.weight, indices, present)


@jax.jit
def _weighted(
    rows: Array, weight: Array, indices: Array, present: Array
) -> tuple[Array, Array, Array]:
    indices = rows[indices]
    weights = present * weight.at[indices].get(mode="clip")
    return indices, weights, jnp.sum(weights, axis=1) / jnp.sum(present, axis=1)
