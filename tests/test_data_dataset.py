"""Arrays become a data set, or an error that says what is wrong with them."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop.data as data


X = np.linspace(0, 1, 12).reshape(4, 3)
LABELS = np.array([2, 0, 1, 2])


def test_uint8_pixels_are_divided_by_255():
    made = data.dataset(np.array([[0, 51, 255]], np.uint8), [0])
    np.testing.assert_array_equal(made.x, [[0.0, 0.2, 1.0]])


def test_values_and_order_are_kept():
    made = data.dataset(X, LABELS)
    np.testing.assert_array_equal(made.x, X)
    np.testing.assert_array_equal(made.labels, LABELS)
    np.testing.assert_array_equal(made.y, np.eye(3)[LABELS])
    assert len(made) == 4


@pytest.mark.parametrize("x64", [False, True])
def test_precision_is_that_of_jax(x64):
    with jax.enable_x64(x64):
        for x in (X, X.astype(np.float32), (255 * X).astype(np.uint8)):
            made = data.dataset(x, LABELS)
            assert made.x.dtype == made.y.dtype == (np.float64 if x64 else np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, jnp.bfloat16])
def test_narrow_floats_are_widened_without_change(dtype):
    x = X.astype(dtype)
    np.testing.assert_array_equal(data.dataset(x, LABELS).x, x.astype(np.float64))


def test_one_hot_rows_and_labels_make_the_same():
    rows = np.eye(3, dtype=np.int64)[LABELS]
    assert eqx.tree_equal(data.dataset(X, rows), data.dataset(X, LABELS))
    assert eqx.tree_equal(data.dataset(X, rows == 1), data.dataset(X, LABELS))


def test_absent_classes_keep_their_column():
    assert data.dataset(X, LABELS, classes=5).y.shape == (4, 5)
    np.testing.assert_array_equal(data.one_hot([1, 3], 4), np.eye(4)[[1, 3]])


@pytest.mark.parametrize(
    "x, message",
    [
        ([["a"] * 3] * 4, r"`x` of mine has the dtype <U1.*real numbers"),
        (X + 0j, r"`x` of mine has the dtype complex128"),
        ([[None]] * 4, r"`x` of mine has the dtype object"),
        ([[1.0], [0.5, 0.5]], r"`x` of mine can't be read as one array.*np\.stack"),
        (X[:, 0], r"has the shape \(4,\).*row per example"),
        (np.zeros((0, 3)), r"`x` of mine is empty: its shape is \(0, 3\)"),
        (np.zeros((4, 0)), r"`x` of mine is empty"),
        (np.where(X == 0, np.nan, X), r"holds 1 values.*first is NaN, in example 0"),
        (np.where(X > 0.9, -np.inf, X), r"first is infinite, in example 3"),
        (255 * X, r"goes from 0\.0 to 255\.0, outside \[0, 1\].*`x / 255`"),
        (np.arange(12).reshape(4, 3), r"goes from 0 to 11, outside.*`x / 255`"),
        (X - 0.5, r"goes from -0\.5 to 0\.5, outside \[0, 1\].*np\.clip"),
        ((X > 0).astype(np.uint8), r"is uint8.*largest value is 1"),
    ],
)
def test_bad_inputs_are_named(x, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        data.dataset(x, LABELS, name="mine")


@pytest.mark.parametrize(
    "labels, classes, message",
    [
        ([0, 1], None, r"has 4 examples and `labels` has 2"),
        ([0.0, 1.0, 2.0, 1.0], None, r"dtype float64.*`labels\.astype\(int\)`"),
        (["a", "b", "a", "c"], None, r"dtype <U1.*return_inverse"),
        ([True, False, True, True], None, r"dtype bool"),
        ([0, 1, 2, 3], 3, r"go from 0 to 3, outside \[0, 3\).*`classes=4`"),
        ([1, 2, 3, -1], None, r"go from -1 to 3, outside \[0, 4\).*labels - \(-1\)"),
        ([0, 1, 2, 10**12], None, r"go up to 1000000000000 with 4 examples"),
        ([0, 1, 2, 1], 0, r"`classes` is 0"),
        (np.eye(4)[:, :3], None, r"1 rows that aren't one-hot.*example 3"),
        (np.eye(4) * 0.5, None, r"4 rows that aren't one-hot.*example 0"),
        (np.eye(4) + np.eye(4)[::-1], None, r"aren't one-hot"),
        (LABELS[:, None], None, r"aren't one-hot.*labels\.ravel\(\)"),
        (np.eye(4), 3, r"has 4 columns, but `classes` is 3"),
        (np.zeros((4, 1, 1)), None, r"has the shape \(4, 1, 1\)"),
        (np.full((4, 2), "a"), None, r"dtype <U1.*numbers 0 and 1"),
    ],
)
def test_bad_labels_are_named(labels, classes, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        data.dataset(X, labels, classes=classes)


def test_one_hot_takes_one_axis_only():
    with pytest.raises(ValueError, match=r"`labels` has the shape \(4, 3\)"):
        data.one_hot(np.eye(3, dtype=int)[LABELS], 3)
    with pytest.raises(ValueError, match=r"go from 0 to 2, outside \[0, 2\)"):
        data.one_hot(LABELS, 2)


@pytest.mark.parametrize(
    "index",
    [
        slice(1, 3),
        slice(None, None, -1),
        np.array([3, 0, 3]),
        [-1, 1],
        np.array([True, False, False, True]),
        np.array([2], np.uint16),
        [],
    ],
)
def test_indexing_is_that_of_numpy(index):
    chosen = data.dataset(X, LABELS)[index]
    plain = np.asarray(index, int) if isinstance(index, list) else index
    np.testing.assert_array_equal(chosen.x, X[plain])
    np.testing.assert_array_equal(chosen.labels, LABELS[plain])


def test_small_index_types_reach_all_examples():
    made = data.dataset(np.linspace(0, 1, 300)[:, None], np.zeros(300, int))
    index = np.array([250, 3], np.uint8)
    np.testing.assert_array_equal(made[index].x, np.asarray(made.x)[index])


def test_indexing_works_inside_jit():
    made = data.dataset(X, LABELS)
    chosen = eqx.filter_jit(lambda made, i: made[i])(made, jnp.array([2, 0]))
    assert eqx.tree_equal(chosen, made[[2, 0]])


@pytest.mark.parametrize(
    "index, error, message",
    [
        ([0, 4], IndexError, r"Example 4 doesn't exist.*4 examples"),
        ([-5], IndexError, r"Example -5 doesn't exist"),
        (np.array([True, False]), IndexError, r"2 entries for 4 examples"),
        (np.array(1), TypeError, r"data\[i : i \+ 1\]"),
        (np.array([0.0, 1.0]), TypeError, r"float64 came.*astype\(int\)"),
    ],
)
def test_bad_positions_raise_instead_of_clamping(index, error, message):
    with pytest.raises(error, match=message):
        data.dataset(X, LABELS)[index]
