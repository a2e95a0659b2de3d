"""Examples that count more than others, and an optimizer's memory from run to run."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.training import evaluate
from helpers_training import (
    arrays,
    bits,
    chain,
    descend,
    euler,
    examples,
    relative_distance,
)


METHOD = ep.EquilibriumProp(ep.Centered(0.3), euler(8), euler(4))
RATES = [0.3, 0.1]
WEIGHT = np.array([0, 2, 1, 0, 3, 1, 4, 1, 1, 2, 0], float)


def weighted(data: ep.data.Dataset, weight: np.ndarray) -> ep.data.Dataset:
    return ep.data.Dataset(data.x, data.y, jnp.asarray(weight, float))


def train(data: ep.data.Dataset | ep.data.Splits, **options) -> ep.training.Run:
    defaults = {"epochs": 2, "batch_size": 4, "order": ep.data.InOrder()}
    return ep.fit(chain(), data, METHOD, ep.SGD(RATES), **(defaults | options))


def test_a_weight_is_how_often_an_example_is_given():
    data = examples(len(WEIGHT))
    rows = np.repeat(np.arange(len(WEIGHT)), WEIGHT.astype(int))
    one = train(weighted(data, WEIGHT), batch_size=len(data))
    two = train(data[rows], batch_size=len(rows))
    # Sums in another order, over two steps.
    assert relative_distance(one.model, two.model) < 1e-12
    for name in ("train_cost", "train_error", "converged", "residual"):
        assert one.metrics[-1][name] == pytest.approx(two.metrics[-1][name], rel=1e-12)


def test_only_the_proportions_of_weights_count():
    # By a power of two, so that nothing is rounded.
    data = examples(len(WEIGHT))
    one, two = (train(weighted(data, c * WEIGHT)) for c in (1.0, 8.0))
    assert bits(one.model) == bits(two.model)


def test_examples_of_weight_0_are_as_if_not_there():
    data = examples(len(WEIGHT))
    kept = np.flatnonzero(WEIGHT)
    one = train(weighted(data, WEIGHT))
    two = train(weighted(data[kept], WEIGHT[kept]))
    assert bits(one.model) == bits(two.model)


def test_a_batch_of_light_examples_moves_less():
    # 𝔼 of the steps of an epoch must be ∇ Σ w C / Σ w: batch means alone would let a
    # batch of weights 0.01 move as far as one of weights 1.
    data = examples(8)
    weight = np.array([1, 1, 1, 1, 0.01, 0.02, 0.03, 0.04])
    got = train(weighted(data, weight), epochs=1).model
    model, scaled = chain(), weight / weight.mean()
    rates = [RATES[0], RATES[0], RATES[1], RATES[1]]
    for rows in (np.arange(4), np.arange(4, 8)):
        total = None
        for row in rows:
            _, one = METHOD.value_and_grad(
                model, data.x[row : row + 1], data.y[row : row + 1]
            )
            part = jax.tree.map(lambda g, w=scaled[row]: w * g / 4, one)
            total = (
                part if total is None else jax.tree.map(lambda a, b: a + b, total, part)
            )
        model = descend(model, total, rates)
    assert relative_distance(got, model) < 1e-12


def test_persistent_states_of_the_right_examples_are_kept():
    data = examples(len(WEIGHT))
    kept = np.flatnonzero(WEIGHT)
    one = train(weighted(data, WEIGHT), persistent=True, epochs=3)
    two = train(weighted(data[kept], WEIGHT[kept]), persistent=True, epochs=3)
    assert bits(one.model) == bits(two.model)


def test_an_evaluation_is_a_weighted_mean():
    data, model, solver = examples(len(WEIGHT)), chain(), euler(60)
    costs, errors = zip(
        *(
            (found["cost"], found["error"])
            for k in range(len(data))
            for found in [evaluate(model, data[[k]], solver)]
        ),
        strict=True,
    )
    found = evaluate(model, weighted(data, WEIGHT), solver)
    assert found["cost"] == pytest.approx(np.average(costs, weights=WEIGHT), rel=1e-12)
    assert found["error"] == pytest.approx(np.average(errors, weights=WEIGHT))


def test_a_part_of_the_data_keeps_its_weights():
    part = weighted(examples(len(WEIGHT)), WEIGHT)[[4, 1]]
    assert arrays(part)[2].tolist() == [3, 2]


@pytest.mark.parametrize(
    "weight, message",
    [
        (np.ones(3), r"`data.train.weight` has shape \(3,\), but there are 11"),
        (-WEIGHT, "of at least 0, not all 0, but goes from -4"),
        (0 * WEIGHT, "not all 0, but goes from 0"),
        (WEIGHT * np.nan, "must hold finite numbers"),
    ],
)
def test_weights_that_are_none_are_refused(weight, message):
    data = examples(11)
    broken = eqx.tree_at(
        lambda d: d.weight, weighted(data, WEIGHT), jnp.asarray(weight)
    )
    with pytest.raises(ValueError, match=message):
        train(broken)


def test_with_its_memory_training_goes_on_as_if_never_ended():
    data = examples(12)
    options = {"batch_size": 4, "order": ep.data.InOrder()}
    whole = ep.fit(chain(), data, METHOD, ep.Adam(), epochs=2, **options)
    first = ep.fit(chain(), data, METHOD, ep.Adam(), epochs=1, **options)
    again = [first.model, data, METHOD, ep.Adam()]
    second = ep.fit(*again, epochs=1, memory=first.memory, **options)
    assert bits(second.model) == bits(whole.model)
    assert bits(second.memory) == bits(whole.memory)
    anew = ep.fit(*again, epochs=1, **options)
    assert bits(anew.model) != bits(whole.model)


def test_the_memory_of_another_optimizer_is_refused():
    data = examples(12)
    memory = ep.fit(chain(), data, METHOD, ep.Adam(), epochs=1, batch_size=4).memory
    with pytest.raises(ValueError, match="`memory` is not that of this optimizer"):
        train(data, memory=memory)
