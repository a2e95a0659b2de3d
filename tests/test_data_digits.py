"""The bundled digits are the published ones, and their split is fixed and fair."""

import hashlib
import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import eqprop.data as data


TOOL = Path(__file__).resolve().parent.parent / "tools" / "make_digits.py"


def _bundled() -> dict[str, np.ndarray]:
    with files("eqprop.data").joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)


def test_digits_are_those_of_scikit_learn():
    pixels, labels = load_digits(return_X_y=True)
    bundled, splits = _bundled(), data.digits()
    for name in ("train", "validation", "test"):
        part = getattr(splits, name)
        np.testing.assert_array_equal(part.x, pixels[bundled[name]] / 16)
        np.testing.assert_array_equal(part.labels, labels[bundled[name]])
        assert part.y.shape == (len(part), 10)


def test_split_is_a_partition_of_the_announced_sizes():
    splits, bundled = data.digits(), _bundled()
    assert splits.validation is not None
    assert splits.test is not None
    assert splits.name == "digits"
    sizes = len(splits.train), len(splits.validation), len(splits.test)
    assert sizes == (1293, 144, 360)
    everything = np.concatenate([bundled[p] for p in ("train", "validation", "test")])
    np.testing.assert_array_equal(np.sort(everything), np.arange(1797))


def test_split_is_stratified_to_the_nearest_example():
    bundled = _bundled()
    labels = bundled["labels"]
    whole = np.bincount(labels)
    for name in ("train", "validation", "test"):
        part = np.bincount(labels[bundled[name]], minlength=10)
        ideal = whole * len(bundled[name]) / len(labels)
        # Two roundings, each by less than one: out of the whole and out of the rest.
        assert np.abs(part - ideal).max() < 2


def test_the_split_never_changes():
    # Every published number of this project rests on these positions.
    test = _bundled()["test"]
    assert test.dtype == np.uint16
    digest = hashlib.sha256(test.astype("<u2").tobytes()).hexdigest()
    assert digest == "719a75c2586dc7e4461de447e3d52376014fdcc8dbf550771586d42813f00169"


def test_the_tool_makes_the_bundled_file(tmp_path, monkeypatch):
    made = []
    for attempt in ("a.npz", "b.npz"):
        path = tmp_path / attempt
        monkeypatch.setattr("sys.argv", [str(TOOL), str(path)])
        runpy.run_path(str(TOOL), run_name="__main__")
        made.append(path.read_bytes())
    assert made[0] == made[1]
    # Not the bytes: another zlib packs the same arrays differently.
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        fresh = dict(arrays)
    bundled = _bundled()
    assert list(fresh) == list(bundled)
    for name, array in fresh.items():
        np.testing.assert_array_equal(array, bundled[name])
        assert array.dtype == bundled[name].dtype


def test_attribution_comes_along():
    text = files("eqprop.data").joinpath("digits.LICENSE.md").read_text("utf-8")
    for word in ("Alpaydin", "Kaynak", "CC BY 4.0", "10.24432/C50P49", "Changes made"):
        assert word in text
