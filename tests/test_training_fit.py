"""`fit` is a plain training loop: the same weights as loops written out by hand."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eqprop as ep
import helpers_learning
from helpers_training import (
    bits,
    chain,
    ChainByHand,
    descend,
    euler,
    examples,
    fit_by_hand,
    keys,
    relative_distance,
    splits,
    without_seconds,
)
from oracles import original


CENTERED = ep.EquilibriumProp(ep.Centered(0.2), euler(8), euler(4))
# Batches that come out even: the hand-written loop would compile the odd one anew.
COUNT, BATCH, EPOCHS = 20, 5, 3
# 12 updates whose gradients agree to float64 round-off, divided by β = 0.2 or so.
CLOSE = 1e-11


def momentum_and_cosine():
    """Rates by layer, momentum, and a cosine that ends at 0.1."""
    velocity = [0.0]

    def update(model, gradient, step, epoch):
        factor = 0.1 + 0.9 * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2
        velocity[0] = jax.tree.map(
            lambda v, g: 0.6 * v + g,
            velocity[0] or jax.tree.map(jnp.zeros_like, gradient),
            gradient,
        )
        low, high = 0.3 * factor, 0.05 * factor
        return descend(model, velocity[0], [low, low, high, high, 0.0])

    return ep.SGD([0.3, 0.05], momentum=0.6, schedule=ep.Cosine(0.1)), update


def sgd_and_exponential():
    def update(model, gradient, step, epoch):
        return descend(model, gradient, [0.2 * 0.5 ** math.floor(epoch)] * 5)

    return ep.SGD(0.2, schedule=ep.Exponential(0.5)), update


def adam():
    """Kingma & Ba 2015, algorithm 1."""
    moments = []

    def update(model, gradient, step, epoch):
        if not moments:
            moments[:] = [jax.tree.map(jnp.zeros_like, gradient)] * 2
        m = jax.tree.map(lambda m, g: 0.8 * m + 0.2 * g, moments[0], gradient)
        v = jax.tree.map(lambda v, g: 0.9 * v + 0.1 * g * g, moments[1], gradient)
        moments[:] = [m, v]
        t = step + 1
        direction = jax.tree.map(
            lambda m, v: (m / (1 - 0.8**t)) / (jnp.sqrt(v / (1 - 0.9**t)) + 1e-6), m, v
        )
        return descend(model, direction, [0.03, 0.03, 0.01, 0.01, 0.0])

    return ep.Adam([0.03, 0.01], b1=0.8, b2=0.9, eps=1e-6), update


@pytest.mark.parametrize(
    "pair", [momentum_and_cosine, sgd_and_exponential, adam], ids=lambda f: f.__name__
)
def test_fit_is_the_loop_written_by_hand(pair):
    optimizer, update = pair()
    model, data = chain(), examples(COUNT)
    run = ep.fit(model, data, CENTERED, optimizer, epochs=EPOCHS, batch_size=BATCH)
    by_hand = fit_by_hand(
        model, data, CENTERED, update, epochs=EPOCHS, batch_size=BATCH
    )
    assert relative_distance(run.model, by_hand) < CLOSE
    assert relative_distance(run.model, model) > 1e-2
    assert (run.stopped, run.path, len(run.metrics)) == ("finished", None, EPOCHS)


def test_an_optax_optimizer_is_taken_as_it_is():
    model, data = chain(), examples(COUNT)
    decay = optax.add_decayed_weights(0.1)
    optimizer = optax.chain(decay, optax.sgd(0.2, momentum=0.5))
    params = eqx.filter(model, eqx.is_inexact_array)
    memory = [optimizer.init(params)]

    def update(model, gradient, step, epoch):
        params = eqx.filter(model, eqx.is_inexact_array)
        change, memory[0] = optimizer.update(gradient, memory[0], params)
        return eqx.apply_updates(model, change)

    run = ep.fit(model, data, CENTERED, optimizer, epochs=2, batch_size=BATCH)
    by_hand = fit_by_hand(model, data, CENTERED, update, epochs=2, batch_size=BATCH)
    assert relative_distance(run.model, by_hand) < CLOSE


def test_a_readout_trains_by_back_propagation_through_time():
    weight = 0.5 * helpers_learning.normal(8, 3, 3)
    head = ep.Readout(ep.CrossEntropy(), weight, jnp.zeros(3))
    model, data = chain(cost=head), examples(COUNT)
    method, optimizer = ep.BackpropThroughTime(euler(4)), ep.SGD([0.3, 0.1, 0.02])
    run = ep.fit(model, data, method, optimizer, epochs=2, batch_size=BATCH)

    def update(model, gradient, step, epoch):
        return descend(model, gradient, [0.3, 0.3, 0.1, 0.1, 0.02])

    by_hand = fit_by_hand(model, data, method, update, epochs=2, batch_size=BATCH)
    assert relative_distance(run.model, by_hand) < CLOSE
    assert relative_distance(run.model.cost, model.cost) > 1e-4
    for row in run.metrics:
        # No nudged phases.
        assert (row["nudged_converged"], row["nudged_residual"]) == (None, None)


def test_an_energy_of_ones_own_trains():
    case, data = helpers_learning.own_energy(), examples(COUNT)
    method = ep.EquilibriumProp(ep.Centered(0.2), euler(4))
    optimizer = ep.SGD(0.2)
    run = ep.fit(case.model, data, method, optimizer, epochs=2, batch_size=BATCH)

    def update(model, gradient, step, epoch):
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.2 * g, gradient))

    by_hand = fit_by_hand(case.model, data, method, update, epochs=2, batch_size=BATCH)
    assert relative_distance(run.model, by_hand) < CLOSE
    names = set(run.metrics[0]["weight_change"])
    assert names == {"energy.params.w", "energy.params.v"}
    assert without_seconds(run)[1]["train_cost"] < without_seconds(run)[0]["train_cost"]


def test_fit_trains_as_the_original_code():
    count, epochs, beta, alphas = 23, 3, 0.4, (0.3, 0.1)
    model, data = chain(unit=ep.HardSigmoid()), examples(count)
    nudging = ep.RandomSign(2 * beta)
    run = ep.fit(
        model,
        data,
        ep.EquilibriumProp(nudging, euler(5), euler(4)),
        ep.SGD([2 * a for a in alphas]),
        epochs=epochs,
        batch_size=BATCH,
        seed=3,
        order=ep.data.InOrder(),
        persistent=True,
    )
    per_epoch = [np.arange(count)[k : k + BATCH] for k in range(0, count, BATCH)]
    order = per_epoch * epochs
    drawn = [
        jax.random.split(ep.training.batch_key(keys(3)[1], step), 3)[1]
        for step in range(len(order))
    ]
    signs = [int(nudging.sign(key)) for key in drawn]
    assert set(signs) == {-1, 1}
    start = ChainByHand.of(model)
    net = original.OriginalNet([start.w, start.v], [start.b, start.c])
    original.train(
        net,
        np.asarray(data.x),
        np.asarray(data.y),
        order,
        signs,
        beta=beta,
        rates=alphas,
        free_steps=5,
        nudged_steps=4,
    )
    ours = ChainByHand.of(run.model)
    theirs = [net.weights[0], net.biases[0], net.weights[1], net.biases[1]]
    assert relative_distance([ours.w, ours.b, ours.v, ours.c], theirs) < CLOSE
    assert relative_distance([ours.w, ours.v], [start.w, start.v]) > 1e-2


def test_a_bare_data_set_is_one_without_validation():
    model, data = chain(), examples(COUNT)
    optimizer = ep.SGD(0.2, schedule=ep.Exponential(0.5))
    bare = ep.fit(model, data, CENTERED, optimizer, epochs=2, batch_size=BATCH)
    both = ep.fit(model, splits(COUNT), CENTERED, optimizer, epochs=2, batch_size=BATCH)
    assert bits(bare.model) == bits(both.model)
    assert not any("validation" in name for name in bare.metrics[0])
    kept = [
        {k: v for k, v in row.items() if not k.startswith("validation")}
        for row in without_seconds(both)
    ]
    assert kept == without_seconds(bare)
    assert bare.best_epoch == np.argmin([row["train_error"] for row in bare.metrics])


def test_float32_weights_and_data_train_in_float64_mode():
    model, data = chain(), examples(COUNT)
    optimizer = ep.SGD(0.2, schedule=ep.Exponential(0.5))
    wide = ep.fit(model, data, CENTERED, optimizer, epochs=2, batch_size=BATCH)
    model, data = jax.tree.map(lambda a: a.astype("float32"), (model, data))
    run = ep.fit(model, data, CENTERED, optimizer, epochs=2, batch_size=BATCH)
    assert {str(a.dtype) for a in jax.tree.leaves(run.model)} == {"float32"}
    # 8 updates at 6e-8 each, over β.
    assert relative_distance(run.model, wide.model) < 1e-5
