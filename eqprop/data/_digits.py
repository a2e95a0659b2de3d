"""Handwritten digits that come with the package, for the first minute with it."""

from importlib.resources import files

import numpy as np

from ._dataset import dataset
from ._splits import Splits


def digits() -> Splits:
    """The 1797 handwritten digits of 8 × 8 pixels that come with eqprop.

    The test part of the UCI *Optical Recognition of Handwritten Digits* (Alpaydin and
    Kaynak 1998, CC BY 4.0), also shipped with scikit-learn. A pixel counts the dark
    points in a cell of 4 × 4, from 0 to 16; here `x = count / 16`, row by row. The
    split is stratified by class and fixed: 1293 examples for training, 144 for
    validation, 360 for the test. No seed changes it.

    **Returns:**

    The splits, with `x` of the shape `[n, 64]` and ten classes.

    ??? cite "Alpaydin & Kaynak 1998"
        Optical Recognition of Handwritten Digits, UCI Machine Learning Repository,
        doi:10.24432/C50P49.
    """
    with files("eqprop.data").joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            pixels, labels = arrays["pixels"], arrays["labels"]
            chosen = [arrays[part] for part in ("train", "validation", "test")]
    x = pixels / np.float32(16)
    train, validation, test = (
        dataset(x[index], labels[index], classes=10, name="digits") for index in chosen
    )
    return Splits(train, validation, test, name="digits")
