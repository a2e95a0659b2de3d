import abc
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray


class AbstractOrder(eqx.Module):
    """In which order an epoch goes through the examples: a function of key and epoch,
    so that a resumed run sees what an uninterrupted one would."""

    @abc.abstractmethod
    def __call__(self, key: PRNGKeyArray, epoch: int, size: int) -> Int[Array, " size"]:
        """The order of the `size` examples in this epoch, as their indices."""


class Shuffled(AbstractOrder):
    """A new random order every epoch."""

    def __call__(self, key, epoch, size):
        return _permutation(key, epoch, size)


# Compiled as one: its dozen operations one by one cost more than a small epoch.
@functools.partial(jax.jit, static_argnames="size")
def _permutation(key: Array, epoch: int | Array, size: int) -> Array:
    return jax.random.permutation(jax.random.fold_in(key, epoch), size)


class InOrder(AbstractOrder):
    """The order of the data, every epoch, as in the original code."""

    def __call__(self, key, epoch, size):
        return jnp.arange(size)


class GivenOrder(AbstractOrder):
    """An order of your own, the same in every epoch or one for each.

    **Arguments:**

    - `indices`: indices of all examples, `[size]` or `[epochs, size]`.
    """

    indices: Int[np.ndarray, "..."] = eqx.field(converter=np.asarray)

    def __check_init__(self):
        rows = np.atleast_2d(self.indices)
        whole = np.arange(rows.shape[-1])
        if rows.ndim != 2 or not all((np.sort(row) == whole).all() for row in rows):
            raise ValueError(
                "`indices` must hold every example's index once, `[size]` or "
                f"`[epochs, size]`, but has shape {self.indices.shape} and is no "
                "permutation of 0, 1, …, size − 1."
            )

    def __call__(self, key, epoch, size):
        rows = np.atleast_2d(self.indices)
        if rows.shape[1] != size or (len(rows) > 1 and epoch >= len(rows)):
            raise ValueError(
                f"`indices` has shape {self.indices.shape}, but epoch {epoch} of "
                f"{size} examples was asked for. Give one row for each epoch, or "
                "one in all."
            )
        return jnp.asarray(rows[epoch if len(rows) > 1 else 0])


@functools.partial(jax.jit, static_argnames="batch_size")
def in_batches(
    order: Int[Array, " size"], batch_size: int
) -> tuple[Int[Array, "batches batch"], Float[Array, "batches batch"]]:
    """Cuts an order into batches of one size.

    **Returns:**

    The indices and their weights. The last batch is filled up with an index past the
    end, of weight 0: reading it clips, writing to it does nothing.
    """
    size = order.shape[0]
    padding = -size % batch_size
    padded = jnp.concatenate([order, jnp.full(padding, size, order.dtype)])
    weight = (jnp.arange(size + padding) < size).astype(jnp.result_type(float))
    return padded.reshape(-1, batch_size), weight.reshape(-1, batch_size)
