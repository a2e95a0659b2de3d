"""Examples and their targets as two arrays, checked before anything is compiled."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Integer

from ._validate import check_class_count, check_labels, check_one_hot, check_pixels


class Dataset(eqx.Module):
    """Examples and one-hot targets, on the device, with one leading axis in common.

    Build one with [`eqprop.data.dataset`][], which checks the values; this class only
    holds them.

    **Arguments:**

    - `x`: inputs in [0, 1], one example per row.
    - `y`: targets, one-hot.
    - `weight`: how much each example counts, at least 0 and only in proportion to the
        others; `None` if all count the same.
    """

    x: Float[Array, "n *shape"]
    y: Float[Array, "n classes"]
    weight: Float[Array, " n"] | None = None

    @property
    def labels(self) -> Int[Array, " n"]:
        """The class of each example: the position of the one in its target."""
        return jnp.argmax(self.y, axis=-1)

    def __len__(self) -> int:
        return self.x.shape[0]

    def __getitem__(
        self, index: slice | Sequence[int] | np.ndarray | jax.Array
    ) -> "Dataset":
        """The chosen examples, in the order asked for.

        **Arguments:**

        - `index`: a slice, an array of positions (negative ones count from the end),
            or a mask with one boolean per example.

        **Raises:**

        - `TypeError`: `index` is a single position or isn't made of integers.
        - `IndexError`: a position doesn't exist, or the mask has another length.
            Inside `jit` positions can't be checked.
        """
        if not isinstance(index, slice):
            index = _positions(index, len(self))
        weight = None if self.weight is None else self.weight[index]
        return Dataset(self.x[index], self.y[index], weight)


def dataset(
    x: jax.Array | np.ndarray | Sequence[Any],
    labels: jax.Array | np.ndarray | Sequence[Any],
    *,
    classes: int | None = None,
    name: str = "data",
) -> Dataset:
    """Checks your arrays and makes them a [`eqprop.data.Dataset`][].

    **Arguments:**

    - `x`: one example per row, real numbers in [0, 1]. `uint8` is taken for pixels and
        divided by 255.
    - `labels`: integers in [0, `classes`), one per example, or one-hot rows.
    - `classes`: how many classes there are; by default one more than the largest
        label. Give it when a class may be absent.
    - `name`: what error messages call this data.

    **Returns:**

    The data set, in float32 (float64 if JAX's x64 mode is on).

    **Raises:**

    - `ValueError`: `x` isn't numeric, is empty, holds NaN or infinite values or values
        outside [0, 1]; `labels` are of another length, not integers, outside
        [0, `classes`) or not one-hot.
    """
    pixels = check_pixels(x, name)
    given = check_labels(labels, len(pixels), name)
    if given.ndim == 2:
        check_one_hot(given, classes, name)
        y = jnp.asarray(given, dtype=float)
    else:
        y = one_hot(given, check_class_count(given, classes, name))
    return Dataset(_unit_interval(pixels), y)


def one_hot(
    labels: jax.Array | np.ndarray | Sequence[int], classes: int
) -> Float[Array, "n classes"]:
    """Turns class numbers into rows: `y[i, k]` is 1 if `labels[i] == k`, else 0.

    **Arguments:**

    - `labels`: integers in [0, `classes`), one per example.
    - `classes`: the number of columns.

    **Returns:**

    The targets, in float32 (float64 if JAX's x64 mode is on).

    **Raises:**

    - `ValueError`: a label isn't an integer in [0, `classes`).
    """
    given = check_labels(labels, None, "data")
    if given.ndim != 1:
        raise ValueError(
            f"`labels` has the shape {given.shape}, but `one_hot` needs one integer "
            "per example. Pass `labels.ravel()`, or keep the rows if they are one-hot."
        )
    classes = check_class_count(given, classes, "data")
    columns = np.arange(classes)
    return jnp.asarray(given[:, None] == columns[None, :], dtype=float)


def _unit_interval(pixels: np.ndarray) -> Float[Array, "n *shape"]:
    dtype = jnp.result_type(float)
    if pixels.dtype == np.uint8:
        # Divided in the final precision at once: MNIST in float64 is 0.4 GB a copy.
        return jnp.asarray(np.divide(pixels, 255, dtype=dtype))
    return jnp.asarray(pixels, dtype=dtype)


def _positions(index: Any, n: int) -> Integer[Array, " m"]:
    if isinstance(index, Tracer):
        return index
    given = np.asarray(index)
    if given.ndim != 1:
        raise TypeError(
            f"A `Dataset` is indexed by a slice or a one-dimensional array, but "
            f"{index!r} came. For the single example i write `data[i : i + 1]`."
        )
    if given.size == 0:
        given = given.astype(np.int64)
    if given.dtype == np.bool_:
        if len(given) != n:
            raise IndexError(
                f"The mask has {len(given)} entries for {n} examples. "
                "Give it one boolean per example."
            )
        given = np.flatnonzero(given)
    elif given.dtype.kind not in "iu":
        raise TypeError(
            f"A `Dataset` is indexed by integers or booleans, but {given.dtype} came. "
            "Write `data[index.astype(int)]` if they are positions."
        )
    given = given.astype(np.int64)
    # JAX itself would clamp a position out of range and return another example.
    outside = given[(given < -n) | (given >= n)]
    if outside.size:
        raise IndexError(
            f"Example {outside[0]} doesn't exist: the data has {n} examples, "
            f"numbered 0 to {n - 1}."
        )
    return jnp.asarray(given)
