"""Images moved by whole pixels: where they go, how often, and when."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import annotations_unchecked
from helpers_training import chain, euler, examples


def moved_by_hand(image: np.ndarray, down: int, right: int) -> np.ndarray:
    out = np.zeros_like(image)
    for i, j in np.ndindex(image.shape):
        if 0 <= i + down < image.shape[0] and 0 <= j + right < image.shape[1]:
            out[i + down, j + right] = image[i, j]
    return out


def offset_of(found: np.ndarray, image: np.ndarray, pixels: int) -> tuple[int, int]:
    """Which of the allowed offsets took `image` to `found`: exactly one."""
    span = range(-pixels, pixels + 1)
    [offset] = [
        pair
        for pair in itertools.product(span, span)
        if np.array_equal(found, moved_by_hand(image, *pair))
    ]
    return offset


@pytest.mark.parametrize("flat", [True, False])
def test_every_offset_comes_equally_often(flat):
    image = np.arange(1.0, 21.0).reshape(4, 5)
    count = 1800
    x = jnp.broadcast_to(
        image.reshape(-1) if flat else image, (count, *((20,) if flat else (4, 5)))
    )
    found = np.asarray(ep.data.Shift(1, (4, 5))(jax.random.key(0), x))
    assert found.shape == x.shape
    offsets = [offset_of(f.reshape(4, 5), image, 1) for f in found]
    seen = [offsets.count(pair) for pair in itertools.product((-1, 0, 1), repeat=2)]
    # Nine outcomes of probability 1/9: 200 each, standard deviation 13.3.
    assert max(abs(n - 200) for n in seen) < 4.5 * 13.4
    chi_square = sum((n - 200) ** 2 / 200 for n in seen)
    # Eight degrees of freedom: above 26 in one of a thousand draws.
    assert chi_square < 26


def test_two_pixels_reach_two_pixels():
    image = np.arange(1.0, 37.0).reshape(6, 6)
    x = jnp.broadcast_to(image, (300, 6, 6))
    found = np.asarray(ep.data.Shift(2, (6, 6))(jax.random.key(1), x))
    offsets = {offset_of(f, image, 2) for f in found}
    assert len(offsets) == 25


def test_the_key_decides():
    x = jax.random.uniform(jax.random.key(2), (30, 16))
    shift = ep.data.Shift(1, (4, 4))
    same, again, other = (shift(jax.random.key(k), x) for k in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert np.any(same != other)


class Marked(ep.data.AbstractAugmentation):
    """Adds what the first bits of its key are, to see when which key comes."""

    def __call__(self, key, x):
        return x + jax.random.uniform(key, (), x.dtype)


def fitted(data, augmentation, **options):
    method = ep.EquilibriumProp(ep.OneSided(0.3), euler(6), euler(3))
    return ep.fit(
        chain(),
        data,
        method,
        ep.SGD(0.1),
        batch_size=4,
        augmentation=augmentation,
        **options,
    )


def test_training_sees_varied_examples_and_evaluation_does_not():
    data = ep.data.Splits(examples(8), examples(8), None, "tiny")
    plain, varied = (fitted(data, a, epochs=1) for a in (None, Marked()))
    assert plain.metrics[0]["train_cost"] != varied.metrics[0]["train_cost"]
    # With a rate of 0 the model stays, and validation tells what it saw.
    method = ep.EquilibriumProp(ep.OneSided(0.3), euler(6), euler(3))
    still = ep.fit(
        chain(),
        data,
        method,
        ep.SGD(0.0),
        epochs=1,
        batch_size=4,
        augmentation=Marked(),
    )
    row = still.metrics[0]
    expected = ep.evaluate(chain(), data.validation, method.solver)["cost"]
    assert row["validation_cost"] == expected
    assert row["train_cost"] != pytest.approx(expected, rel=1e-6)


def test_every_batch_draws_anew():
    # A rate of 0 and one batch an epoch: costs differ by the draw alone.
    method = ep.EquilibriumProp(ep.OneSided(0.3), euler(6), euler(3))
    run = ep.fit(
        chain(),
        examples(4),
        method,
        ep.SGD(0.0),
        epochs=3,
        batch_size=4,
        augmentation=Marked(),
        order=ep.data.InOrder(),
    )
    costs = {row["train_cost"] for row in run.metrics}
    assert len(costs) == 3


def test_resumed_it_draws_the_same(tmp_path):
    data = examples(11)
    calls = iter(range(100))
    whole = fitted(data, Marked(), epochs=3)
    out = tmp_path / "run"
    fitted(data, Marked(), epochs=3, out=out, should_stop=lambda: next(calls) >= 4)
    resumed = fitted(data, Marked(), epochs=3, resume=out)
    for a, b in zip(
        jax.tree.leaves(resumed.model), jax.tree.leaves(whole.model), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "pixels, shape",
    [(0, (8, 8)), (1.0, (8, 8)), (True, (8, 8)), (1, (8,)), (1, (0, 8))],
)
def test_nonsense_is_refused(pixels, shape):
    with (
        annotations_unchecked(),
        pytest.raises(ValueError, match="`pixels` and `shape` of `Shift` must be"),
    ):
        ep.data.Shift(pixels, shape)


def test_images_of_another_shape_are_refused_before_anything_compiles():
    with pytest.raises(ValueError, match=r"`Shift` moves images of shape \(28, 28\)"):
        fitted(examples(8), ep.data.Shift(), epochs=1)
    with (
        annotations_unchecked(),
        pytest.raises(TypeError, match="`augmentation` is a str"),
    ):
        fitted(examples(8), "shift", epochs=1)


def test_a_recipe_names_it():
    table = ep.training.read_preset("digits")
    table["training"] = table["training"] | {
        "augmentation": {"type": "Shift", "pixels": 1, "shape": [8, 8]}
    }
    recipe = ep.training.build(table)
    assert recipe.training["augmentation"] == ep.data.Shift(1, (8, 8))
    assert ep.training.resolve(recipe.table) == recipe.table
