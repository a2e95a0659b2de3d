"""Orders are permutations, functions of key and epoch; batches are cut by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqprop.data import GivenOrder, in_batches, InOrder, Shuffled


KEY = jax.random.key(3)


def test_shuffled_is_a_permutation_each_epoch():
    orders = [np.asarray(Shuffled()(KEY, epoch, 50)) for epoch in range(4)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(50))
    # 50! orders: two alike are no accident.
    assert len({order.tobytes() for order in orders}) == 4


def test_shuffled_depends_on_key_and_epoch_alone():
    late = Shuffled()(KEY, 7, 50)
    for epoch in (0, 3):
        Shuffled()(KEY, epoch, 50)
    np.testing.assert_array_equal(Shuffled()(KEY, 7, 50), late)
    assert np.any(np.asarray(Shuffled()(jax.random.key(4), 7, 50)) != late)


def test_in_order_is_the_order_of_the_data():
    for epoch in (0, 5):
        np.testing.assert_array_equal(InOrder()(KEY, epoch, 6), np.arange(6))


def test_a_given_order_is_used_for_every_epoch_or_one_for_each():
    one = GivenOrder(np.array([2, 0, 1]))
    rows = GivenOrder(np.array([[2, 0, 1], [0, 1, 2]]))
    for epoch in (0, 1, 5):
        np.testing.assert_array_equal(one(KEY, epoch, 3), [2, 0, 1])
    np.testing.assert_array_equal(rows(KEY, 0, 3), [2, 0, 1])
    np.testing.assert_array_equal(rows(KEY, 1, 3), [0, 1, 2])
    np.testing.assert_array_equal(GivenOrder(np.array([[1, 0]]))(KEY, 4, 2), [1, 0])


@pytest.mark.parametrize(
    "indices",
    [
        [0, 1, 1],
        [1, 2, 3],
        [-1, 0, 1],
        [[0, 1], [0, 0]],
        [[[0, 1]]],
    ],
    ids=["twice", "from 1", "negative", "second epoch", "three axes"],
)
def test_what_is_no_permutation_is_refused(indices):
    with pytest.raises(ValueError, match=r"`indices`.*every example's index once"):
        GivenOrder(np.array(indices))


def test_a_given_order_of_another_size_or_too_few_epochs_is_refused():
    rows = GivenOrder(np.array([[2, 0, 1], [0, 1, 2]]))
    with pytest.raises(ValueError, match=r"shape \(2, 3\).*epoch 0 of 4 examples"):
        rows(KEY, 0, 4)
    with pytest.raises(ValueError, match=r"epoch 2 of 3 .*one row for each epoch"):
        rows(KEY, 2, 3)


SIZES = [(1, 1), (5, 5), (6, 4), (6, 2), (7, 3), (3, 8)]


@pytest.mark.parametrize("size, batch_size", SIZES)
def test_batches_hold_each_example_once_and_padding_weighs_nothing(size, batch_size):
    order = np.random.default_rng(size).permutation(size)
    indices, weight = in_batches(jnp.asarray(order), batch_size)
    count = -(-size // batch_size)
    assert indices.shape == weight.shape == (count, batch_size)
    np.testing.assert_array_equal(np.ravel(indices)[:size], order)
    np.testing.assert_array_equal(np.ravel(weight), np.arange(weight.size) < size)
    # Past the end: reading clips, writing drops.
    assert np.all(np.ravel(indices)[size:] == size)
