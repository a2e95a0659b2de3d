"""Folders of IDX files are found, split as in the paper, and checked."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

import eqprop.data as data


def _idx(array: np.ndarray) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 2, 3))
LABELS = np.arange(12) % 4
TEST_IMAGES = RNG.integers(0, 256, (5, 2, 3))
TEST_LABELS = np.array([4, 0, 1, 2, 3])


def _write(folder: Path, *, joint: str = "-", zipped: bool = True, **changed) -> Path:
    arrays = {
        "train_images": IMAGES,
        "train_labels": LABELS,
        "t10k_images": TEST_IMAGES,
        "t10k_labels": TEST_LABELS,
    } | changed
    folder.mkdir(parents=True, exist_ok=True)
    for key, array in arrays.items():
        kind = "idx3" if key.endswith("images") else "idx1"
        name = f"{key.replace('_', '-')}{joint}{kind}-ubyte"
        content = _idx(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("EQPROP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "eqprop"


@pytest.mark.parametrize("joint", "-.")
@pytest.mark.parametrize("zipped", [True, False])
def test_the_last_training_examples_validate(tmp_path, joint, zipped):
    folder = _write(tmp_path / "mine", joint=joint, zipped=zipped)
    splits = data.idx_folder(folder, validation=3)
    rows = IMAGES.reshape(12, 6) / 255
    assert splits.validation is not None
    assert splits.test is not None
    assert splits.name == "mine"
    np.testing.assert_array_equal(splits.train.x, rows[:9])
    np.testing.assert_array_equal(splits.validation.x, rows[9:])
    np.testing.assert_array_equal(splits.test.x, TEST_IMAGES.reshape(5, 6) / 255)
    np.testing.assert_array_equal(splits.train.labels, LABELS[:9])
    np.testing.assert_array_equal(splits.validation.labels, LABELS[9:])
    np.testing.assert_array_equal(splits.test.labels, TEST_LABELS)
    # Class 4 occurs in the test file only, and still all parts have its column.
    assert splits.train.y.shape[1] == splits.test.y.shape[1] == 5


def test_no_validation_leaves_all_for_training(tmp_path):
    splits = data.idx_folder(_write(tmp_path), validation=0, classes=7, name="all")
    assert splits.validation is None
    assert len(splits.train) == 12
    assert splits.train.y.shape == (12, 7)
    assert splits.name == "all"


@pytest.mark.parametrize("validation", [-1, 12, 10_000])
def test_validation_must_leave_examples(tmp_path, validation):
    with pytest.raises(ValueError, match=rf"`validation` is {validation}.*\[0, 12\)"):
        data.idx_folder(_write(tmp_path), validation=validation)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"train_labels": LABELS[:-1]}, r"train-images holds 12.*train-labels 11"),
        ({"t10k_images": TEST_IMAGES[1:]}, r"t10k-images holds 4.*t10k-labels 5"),
        ({"t10k_images": np.ones((5, 3, 3))}, r"shape \(2, 3\), the test.*\(3, 3\)"),
        ({"train_images": LABELS, "train_labels": IMAGES}, r"interchanged"),
        ({"train_images": IMAGES[:0], "train_labels": LABELS[:0]}, r"is empty"),
        ({"t10k_labels": TEST_LABELS + 6}, r"\(test\) go from 6 to 10.*\[0, 10\)"),
    ],
)
def test_files_that_do_not_belong_together(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        data.idx_folder(_write(tmp_path, **changed), validation=3, classes=10)


def test_missing_files_are_listed(tmp_path):
    folder = _write(tmp_path)
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    (folder / "t10k-images-idx3-ubyte.gz").unlink()
    message = "lacks train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz"
    with pytest.raises(FileNotFoundError, match=message):
        data.idx_folder(folder)
    with pytest.raises(FileNotFoundError, match="nowhere, which doesn't exist"):
        data.idx_folder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match="file, which isn't a folder"):
        data.idx_folder(tmp_path / "file")


def test_a_damaged_file_is_named(tmp_path):
    folder = _write(tmp_path, zipped=False)
    path = folder / "t10k-labels-idx1-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte is truncated"):
        data.idx_folder(folder, validation=3)


def _marked(folder: Path, mark: int) -> Path:
    """Data that says where it was read: its first pixel is `mark`."""
    images = IMAGES.copy()
    images[0, 0, 0] = mark
    return _write(folder, train_images=images)


def _mark(splits: data.Splits) -> int:
    return round(float(splits.train.x[0, 0]) * 255)


def test_places_in_their_order(tmp_path, monkeypatch, no_cache):
    shared, given = tmp_path / "shared", tmp_path / "given"
    _marked(no_cache / "mnist", 1)
    assert _mark(data.mnist(validation=3)) == 1
    monkeypatch.setenv("EQPROP_DATA", str(shared))
    assert _mark(data.mnist(validation=3)) == 1
    _marked(shared, 2)
    assert _mark(data.mnist(validation=3)) == 2
    _marked(shared / "mnist", 3)
    assert _mark(data.mnist(validation=3)) == 3
    _marked(given, 4)
    assert _mark(data.mnist(given, validation=3)) == 4
    _marked(given / "mnist", 5)
    assert _mark(data.mnist(given, validation=3)) == 5


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_data_that_is_nowhere_names_the_places(tmp_path, monkeypatch, no_cache, name):
    read = getattr(data, name)
    monkeypatch.setenv("EQPROP_DATA", str(tmp_path / "shared"))
    message = (
        f"(?s)files of {name} aren't.*shared/{name}.*shared.*eqprop/{name}.*"
        f"`eqprop data fetch {name}`.*`--data-dir`.*EQPROP_DATA"
    )
    with pytest.raises(FileNotFoundError, match=message):
        read()
    # A folder that was asked for is not replaced by another in silence.
    _write(no_cache / name)
    with pytest.raises(FileNotFoundError, match=f"(?s)given/{name}.*given"):
        read(tmp_path / "given")
    assert read(validation=3).name == name


def test_mnist_does_not_pass_for_kmnist(tmp_path, monkeypatch, no_cache):
    monkeypatch.setenv("EQPROP_DATA", str(_write(tmp_path / "mnist")))
    assert data.mnist(validation=3).train.y.shape == (9, 10)
    with pytest.raises(FileNotFoundError, match="files of kmnist aren't"):
        data.kmnist(validation=3)


def test_real_mnist(mnist_folder):
    splits = data.mnist(mnist_folder)
    assert splits.validation is not None
    assert splits.test is not None
    parts = splits.train, splits.validation, splits.test
    assert [part.x.shape for part in parts] == [
        (n, 784) for n in (50_000, 10_000, 10_000)
    ]
    assert splits.train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.test.labels[:4].tolist() == [7, 2, 1, 0]
    # The mean pixel of the 60,000 that the literature normalizes with.
    mean = (5 * splits.train.x.mean() + splits.validation.x.mean()) / 6
    assert abs(float(mean) - 0.1307) < 5e-5
