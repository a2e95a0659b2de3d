"""A folder of four IDX files, as MNIST and its relatives come."""

import os
from pathlib import Path

import numpy as np

from ._dataset import Dataset, dataset
from ._idx import read_idx
from ._splits import Splits


_STEMS = ("train-images", "train-labels", "t10k-images", "t10k-labels")


def idx_folder(
    folder: str | os.PathLike[str],
    *,
    validation: int = 10_000,
    classes: int | None = None,
    name: str | None = None,
) -> Splits:
    """Reads the four IDX files of an MNIST-like data set.

    They are called `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
    `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or with a dot for the second
    hyphen (`train-images.idx3-ubyte`), each with or without `.gz`. The files' order is
    kept.

    **Arguments:**

    - `folder`: where the files are.
    - `validation`: how many examples at the end of the training files are held out
        for validation; with 0 all are for training and `Splits.validation` is `None`.
    - `classes`: how many classes there are; by default one more than the largest
        label of all.
    - `name`: what the data is called; by default like the folder.

    **Returns:**

    The splits, every example flattened to one row in [0, 1].

    **Raises:**

    - `FileNotFoundError`: the folder or one of the files doesn't exist.
    - `ValueError`: a file can't be read, images and labels differ in number, or
        `validation` leaves no training example.
    """
    folder = Path(folder).expanduser()
    name = folder.resolve().name if name is None else name
    images, labels, test_images, test_labels = map(read_idx, _find(folder))
    _check_pair(images, labels, "train", folder)
    _check_pair(test_images, test_labels, "t10k", folder)
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            f"The training images in {folder} have the shape {images.shape[1:]}, the "
            f"test images {test_images.shape[1:]}. A model takes one shape; check that "
            "the files belong together."
        )
    count = len(images)
    if not isinstance(validation, int) or not 0 <= validation < count:
        raise ValueError(
            f"`validation` is {validation!r}, but it is how many of the {count} "
            f"examples of the training files in {folder} are held out, so it lies in "
            f"[0, {count}). Pass e.g. `validation={count // 6}`, or 0 for none."
        )
    if classes is None and labels.dtype.kind in "iu" and test_labels.dtype.kind in "iu":
        classes = max(int(labels.max()), int(test_labels.max())) + 1

    def part(images: np.ndarray, labels: np.ndarray, role: str) -> Dataset:
        rows = images.reshape(len(images), -1)
        return dataset(rows, labels, classes=classes, name=f"{name} ({role})")

    split = count - validation
    return Splits(
        train=part(images[:split], labels[:split], "training"),
        validation=part(images[split:], labels[split:], "validation")
        if validation
        else None,
        test=part(test_images, test_labels, "test"),
        name=name,
    )


def has_idx_files(folder: Path) -> bool:
    """Whether at least one of the four files is there."""
    return any(file.is_file() for stem in _STEMS for file in _spellings(folder, stem))


def _find(folder: Path) -> list[Path]:
    if not folder.is_dir():
        fault = "isn't a folder" if folder.exists() else "doesn't exist"
        raise FileNotFoundError(
            f"`folder` is {folder}, which {fault}. Pass the folder that holds "
            f"{_spellings(folder, _STEMS[0])[0].name} and its three companions, or get "
            "MNIST with `eqprop data fetch mnist`."
        )
    found, missing = [], []
    for stem in _STEMS:
        spellings = _spellings(folder, stem)
        there = [file for file in spellings if file.is_file()]
        found += there[:1]
        missing += [] if there else [spellings[0].name]
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks {', '.join(missing)} (unpacked, without `.gz`, would do "
            "as well). Copy them there, or get MNIST with `eqprop data fetch mnist`."
        )
    return found


def _spellings(folder: Path, stem: str) -> list[Path]:
    kind = "idx3-ubyte" if stem.endswith("images") else "idx1-ubyte"
    return [
        folder / f"{stem}{joint}{kind}{ending}"
        for joint in "-."
        for ending in (".gz", "")
    ]


def _check_pair(
    images: np.ndarray, labels: np.ndarray, stem: str, folder: Path
) -> None:
    if images.ndim < 2 or labels.ndim != 1:
        raise ValueError(
            f"In {folder}, {stem}-images has the shape {images.shape} and "
            f"{stem}-labels {labels.shape}, but images have at least two axes and "
            "labels one. Check that the files aren't interchanged."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"In {folder}, {stem}-images holds {len(images)} examples and "
            f"{stem}-labels {len(labels)}. Copy or download both again, from the same "
            "place."
        )
    if images.size == 0:
        raise ValueError(
            f"In {folder}, {stem}-images is empty: its shape is {images.shape}. Copy "
            "or download it again."
        )
