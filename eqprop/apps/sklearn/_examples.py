"""Arrays from scikit-learn as a data set to train on, in shapes that others share."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from ...data import Dataset


# A shape is compiled for seconds, and data this small are trained on in less: they are
# filled up with examples of weight 0, so that those of near sizes share their programs.
_FEW_ROWS, _SMALL_ROWS, _SMALL_WIDTH = 256, 4096, 64


def padded_rows(count: int) -> int:
    """How many rows `count` examples are filled up to."""
    if count > _SMALL_ROWS:
        return count
    return max(_FEW_ROWS, _power_of_two(count))


def padded_width(features: int) -> int:
    """How many inputs `features` features are filled up to, with zeros."""
    return max(8, _power_of_two(features)) if features <= _SMALL_WIDTH else features


def padded_inputs(x: NDArray[Any], rows: int = 0) -> Float[Array, "rows width"]:
    """Inputs of full width, and with zeros below if there are fewer than `rows`."""
    fill = (0, max(0, rows - len(x))), (0, padded_width(x.shape[1]) - x.shape[1])
    return jnp.asarray(np.pad(x, fill), float)


def as_dataset(
    x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], *, batch_size: int
) -> Dataset:
    """The examples, filled up.

    Where one batch holds all examples, equal ones become one of their joint weight and
    all are sorted: then a weight of 2, and an example that is given twice, mean the
    same to the last bit, in whatever order. (Over several batches the same holds up to
    how the examples fall into batches.)
    """
    if len(x) <= batch_size:
        x, y, weight = _merged(x, y, weight)
    rows = padded_rows(len(x))
    below = rows - len(x)
    return Dataset(
        padded_inputs(x, rows),
        jnp.asarray(np.pad(y, ((0, below), (0, 0))), float),
        jnp.asarray(np.pad(weight, (0, below)), float),
    )


def _merged(
    x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    kept = weight > 0
    both = np.concatenate([x, y], axis=1)[kept]
    both, which = np.unique(both, axis=0, return_inverse=True)
    width = x.shape[1]
    total = np.bincount(which.reshape(-1), weight[kept], minlength=len(both))
    return both[:, :width], both[:, width:], total


def _power_of_two(count: int) -> int:
    return 1 << (count - 1).bit_length()
