"""The checks behind `dataset`: on the host, with messages that name the culprit."""

from typing import Any

import jax.numpy as jnp
import numpy as np


# A larger label than this, with fewer examples than classes, is an identifier.
_MOST_INFERRED_CLASSES = 1000


def check_pixels(x: Any, name: str) -> np.ndarray:
    """Returns `x` as a NumPy array of real numbers in [0, 1], or of `uint8`."""
    pixels = _array(x, "x", name)
    if not _is_real(pixels):
        raise ValueError(
            f"`x` of {name} has the dtype {pixels.dtype}, but the inputs are real "
            "numbers in [0, 1]. Convert it first, e.g. `x.astype(np.float32)`."
        )
    if pixels.ndim < 2:
        raise ValueError(
            f"`x` of {name} has the shape {pixels.shape}, but it needs a row per "
            "example. Write `x[None, :]` for a single example and `x[:, None]` for "
            "examples of one number each."
        )
    if pixels.size == 0:
        raise ValueError(
            f"`x` of {name} is empty: its shape is {pixels.shape}. There is nothing to "
            "learn from; check the path or the filter it came from."
        )
    _check_range(pixels, name)
    return pixels


def check_labels(labels: Any, n: int | None, name: str) -> np.ndarray:
    """Returns `labels` as an array of `n` integers, or of `n` rows not yet checked."""
    given = _array(labels, "labels", name)
    if given.ndim not in (1, 2):
        raise ValueError(
            f"`labels` of {name} has the shape {given.shape}, but it needs one integer "
            "or one one-hot row per example."
        )
    if n is not None and len(given) != n:
        raise ValueError(
            f"`x` of {name} has {n} examples and `labels` has {len(given)}. They must "
            "go together one to one; check that both come from the same file."
        )
    if given.ndim == 1 and given.dtype.kind not in "iu":
        raise ValueError(
            f"`labels` of {name} has the dtype {given.dtype}, but classes are numbered "
            "with integers from 0. Write `labels.astype(int)` if they are whole "
            "numbers, or `np.unique(labels, return_inverse=True)[1]` if they are names."
        )
    return given


def check_class_count(labels: np.ndarray, classes: int | None, name: str) -> int:
    """Returns the number of classes, once every label is known to be below it."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if classes is None:
        classes = high + 1
        if classes > max(len(labels), _MOST_INFERRED_CLASSES):
            raise ValueError(
                f"`labels` of {name} go up to {high} with {len(labels)} examples, so "
                "they hardly number classes. Renumber them with "
                "`np.unique(labels, return_inverse=True)[1]`, or pass `classes=`."
            )
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 1:
        raise ValueError(
            f"`classes` is {classes!r}, but it counts the classes: pass an integer of "
            "at least 1, e.g. `classes=10`."
        )
    if low < 0 or high >= classes:
        if low < 0:
            fix = f"Number the classes from 0, e.g. `labels - ({low})`."
        else:
            fix = f"Number the classes from 0, or pass `classes={high + 1}`."
        raise ValueError(
            f"`labels` of {name} go from {low} to {high}, outside [0, {classes}). {fix}"
        )
    return classes


def check_one_hot(rows: np.ndarray, classes: int | None, name: str) -> None:
    """Raises unless each row has `classes` columns: a single one, zeros elsewhere."""
    if classes is not None and rows.shape[1] != classes:
        raise ValueError(
            f"`labels` of {name} has {rows.shape[1]} columns, but `classes` is "
            f"{classes}. One-hot rows have a column per class."
        )
    if not _is_real(rows):
        raise ValueError(
            f"`labels` of {name} has the dtype {rows.dtype}, but one-hot rows are made "
            "of the numbers 0 and 1."
        )
    ones, zeros = (rows == 1).sum(axis=1), (rows == 0).sum(axis=1)
    wrong = np.flatnonzero((ones != 1) | (ones + zeros != rows.shape[1]))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(
            f"`labels` of {name} has {wrong.size} rows that aren't one-hot, the first "
            f"for example {row}: {rows[row]}. A row holds a single 1 and zeros "
            "elsewhere; pass the integers themselves, e.g. `labels.ravel()` or "
            "`scores.argmax(axis=1)`."
        )


def _is_real(array: np.ndarray) -> bool:
    # `jnp.floating` rather than the kind "f": NumPy files bfloat16 under "V".
    return array.dtype.kind in "iub" or jnp.issubdtype(array.dtype, jnp.floating)


def _array(value: Any, argument: str, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"`{argument}` of {name} can't be read as one array ({error}). Give every "
            "example the same shape, e.g. with `np.stack`."
        ) from error


def _check_range(pixels: np.ndarray, name: str) -> None:
    low, high = pixels.min().item(), pixels.max().item()
    if pixels.dtype == np.uint8:
        if high == 1:
            raise ValueError(
                f"`x` of {name} is uint8, read as pixels from 0 to 255, but its "
                "largest value is 1. Write `x.astype(np.float32)` if it is already in "
                "[0, 1]."
            )
        return
    # A NaN anywhere makes both extremes NaN, which compares false.
    if 0 <= low and high <= 1:
        return
    finite = np.isfinite(pixels)
    if not finite.all():
        bad = np.argwhere(~finite)
        kind = "NaN" if np.isnan(pixels[tuple(bad[0])]) else "infinite"
        raise ValueError(
            f"`x` of {name} holds {len(bad)} values that are NaN or infinite; the "
            f"first is {kind}, in example {bad[0][0]}. Every input must be a number in "
            "[0, 1]: drop those examples, or replace the values with `np.nan_to_num`."
        )
    raise ValueError(
        f"`x` of {name} goes from {low!r} to {high!r}, outside [0, 1]. "
        f"{_scaling_advice(low, high)}"
    )


def _scaling_advice(low: int | float, high: int | float) -> str:
    if low >= 0 and high <= 255:
        return "Write `x / 255` if these are pixels from 0 to 255."
    return "Write `(x - x.min()) / (x.max() - x.min())`, or `np.clip(x, 0, 1)`."
