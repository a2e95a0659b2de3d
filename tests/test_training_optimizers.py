"""One update of an optimizer, by hand; schedules as the formulas they are."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning
from helpers_training import chain


def steps_of(rates, model: ep.Model) -> list[np.ndarray]:
    """How far plain descent moves each parameter along a gradient of ones."""
    gradient = jax.tree.map(jnp.ones_like, eqx.filter(model, eqx.is_inexact_array))
    optimizer = ep.SGD(rates)
    update, _ = optimizer.update(
        gradient,
        optimizer.init(model),
        model,
        epoch=jnp.asarray(0.0),
        epochs=jnp.asarray(1.0),
    )
    assert jax.tree.structure(update) == jax.tree.structure(gradient)
    return [-np.asarray(a) for a in jax.tree.leaves(update)]


def lead_backwards() -> ep.Model:
    """Its only dense edge ends in the input."""
    layers = [ep.Layer("output", ep.Linear(), (3,))]
    dense = ep.Dense(0.1 * helpers_learning.normal(0, 3, 5))
    edges = [ep.Edge(("output", "input"), dense), ep.Edge(("output",), bias(3))]
    return ep.Model(ep.Network(layers, edges), ep.SquaredError())


def bias(size: int) -> ep.Bias:
    return ep.Bias(jnp.zeros(size))


A, B, OUT, READ = 0.3, 0.1, 0.02, 0.007
# In the order of the model's parameters: edges as they were given, then the cost.
CASES = {
    "chain": (chain, [A, OUT], [A, A, OUT, OUT]),
    "skips": (
        lambda: helpers_learning.skip().model,
        # input-a, a-b, b-output, input-output, a-output; the biases of a, b, output.
        [A, B, OUT],
        [A, B, OUT, OUT, OUT, A, B, OUT],
    ),
    "lateral": (
        lambda: helpers_learning.lateral().model,
        # input-hidden, hidden-output, hidden, output, the bias of hidden.
        [A, OUT],
        [A, OUT, A, OUT, A],
    ),
    "hopfield": (
        lambda: helpers_learning.hopfield(ep.Tanh()).model,
        [A, B, OUT],
        [A, A, B, B, OUT, OUT],
    ),
    "readout": (
        lambda: helpers_learning.readout(ep.CrossEntropy()).model,
        [A, OUT, READ],
        [A, A, OUT, OUT, READ, READ],
    ),
    "own energy": (lambda: helpers_learning.own_energy().model, A, [A, A]),
    "one rate": (chain, A, [A] * 4),
    "input last": (lead_backwards, [OUT], [OUT, OUT]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_learns_at_the_rate_of_the_layer_that_it_leads_into(name):
    make, rates, expected = CASES[name]
    steps = steps_of(rates, make())
    assert len(steps) == len(expected)
    for step, rate in zip(steps, expected, strict=True):
        np.testing.assert_array_equal(step, np.full(step.shape, rate))


def test_momentum_sums_the_past():
    model = chain()
    optimizer = ep.SGD(0.1, momentum=0.5)
    memory = optimizer.init(model)
    gradient = jax.tree.map(jnp.ones_like, model)
    now = {"epoch": jnp.asarray(0.0), "epochs": jnp.asarray(1.0)}
    for velocity in (1.0, 1.5, 1.75):
        update, memory = optimizer.update(gradient, memory, model, **now)
        for leaf in jax.tree.leaves(update):
            np.testing.assert_allclose(leaf, -0.1 * velocity, rtol=1e-15)


def test_adam_starts_with_steps_of_its_rate():
    # Whatever the gradient's size: m̂/√v̂ of a constant gradient is its sign.
    model = chain()
    optimizer = ep.Adam(0.01, eps=1e-30)
    memory = optimizer.init(model)
    gradient = jax.tree.map(lambda a: jnp.full_like(a, -1e-5), model)
    now = {"epoch": jnp.asarray(0.0), "epochs": jnp.asarray(1.0)}
    for _ in range(3):
        update, memory = optimizer.update(gradient, memory, model, **now)
        for leaf in jax.tree.leaves(update):
            np.testing.assert_allclose(leaf, 0.01, rtol=1e-12)


@pytest.mark.parametrize("epoch", [0.0, 0.25, 1.0, 2.5, 3.999])
def test_schedules_are_their_formulas(epoch):
    at = jnp.asarray(epoch), jnp.asarray(4.0)
    half = (1 + math.cos(math.pi * epoch / 4)) / 2
    assert float(ep.Constant()(*at)) == 1
    assert float(ep.Cosine()(*at)) == pytest.approx(half)
    assert float(ep.Cosine(0.2)(*at)) == pytest.approx(0.2 + 0.8 * half)
    assert float(ep.Exponential(0.9)(*at)) == pytest.approx(0.9 ** math.floor(epoch))


def test_a_schedule_scales_the_rates():
    model = chain()
    optimizer = ep.SGD([0.4, 0.1], schedule=ep.Exponential(0.5))
    gradient = jax.tree.map(jnp.ones_like, model)
    now = {"epoch": jnp.asarray(2.75), "epochs": jnp.asarray(4.0)}
    update, _ = optimizer.update(gradient, optimizer.init(model), model, **now)
    steps = [-float(leaf.reshape(-1)[0]) for leaf in jax.tree.leaves(update)]
    assert steps == [0.1, 0.1, 0.025, 0.025]
