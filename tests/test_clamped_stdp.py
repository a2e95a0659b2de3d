"""One-way synapses with held outputs, and sweeps from layer to layer, against NumPy."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


SIZES = (5, 6, 4, 3)
RATES = (0.3, 0.2, 0.1)
FREE_SWEEPS = 2


def clip(s):
    return np.clip(s, 0.0, 1.0)


def layer(weights, biases, layers, k):
    """Layer k (the input is 0) at the minimum of the energy ½‖s‖² − b·s − s_k W s_{k+1}
    on the box, its neighbors fixed."""
    drive = layers[k - 1] @ weights[k - 1] + biases[k - 1]
    if k + 1 < len(layers):
        drive = drive + layers[k + 1] @ weights[k].T
    return clip(drive)


def fast_training(weights, biases, x, y, batches):
    """The fast variant of the original code, by hand: sweeps up, outputs held, one
    sweep down, presynaptic free activity times postsynaptic change."""
    particles = [np.zeros((len(x), len(b))) for b in biases]
    top = len(biases)
    for rows in batches:
        free = [x[rows], *(p[rows] for p in particles)]
        for _ in range(FREE_SWEEPS):
            for k in range(1, top + 1):
                free[k] = layer(weights, biases, free, k)
        for p, s in zip(particles, free[1:], strict=True):
            p[rows] = s
        held = [*free[:-1], y[rows]]
        for k in reversed(range(1, top)):
            held[k] = layer(weights, biases, held, k)
        for k, rate in enumerate(RATES):
            change = held[k + 1] - free[k + 1]
            weights[k] = weights[k] + rate * free[k].T @ change / len(rows)
            biases[k] = biases[k] + rate * change.mean(axis=0)
    return particles


def examples():
    rng = np.random.default_rng(0)
    return rng.random((12, SIZES[0])), np.eye(3)[rng.integers(0, 3, 12)]


def model() -> ep.Model:
    energy = ep.nets.mlp(
        SIZES,
        key=jax.random.key(1),
        output_unit=ep.HardSigmoid(),
        init=ep.FanInUniform(1.5),
    )
    return ep.Model(energy, ep.SquaredError())


METHOD = ep.ClampedSTDP(
    ep.BlockCoordinate(1.0, max_steps=FREE_SWEEPS, order=(0, 1, 2)),
    ep.BlockCoordinate(1.0, max_steps=1, order=(1, 0)),
)


def parameters(energy):
    leaves = [np.asarray(jax.tree.leaves(edge)[0]) for edge in energy.edges]
    return leaves[::2], leaves[1::2]


def test_the_fast_variant_of_the_original_is_trained_number_for_number():
    x, y = examples()
    weights, biases = parameters(model().energy)
    before = [w.copy() for w in weights]
    epochs, size = 3, 4
    rows = [np.arange(k, k + size) for k in range(0, len(x), size)] * epochs
    fast_training(weights, biases, x, y, rows)
    run = ep.fit(
        model(),
        ep.data.Dataset(jnp.asarray(x), jnp.asarray(y)),
        METHOD,
        ep.SGD(list(RATES)),
        epochs=epochs,
        batch_size=size,
        order=ep.data.InOrder(),
        persistent=True,
    )
    found = parameters(run.model.energy)
    for expected, got in zip((*weights, *biases), (*found[0], *found[1]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)
    for old, new in zip(before, weights, strict=True):
        assert np.abs(new - old).max() > 1e-3


def test_with_the_symmetric_rule_it_is_contrastive_hebbian_learning():
    case = h.CASES["two hidden layers"]()
    weight = jnp.asarray([1.0, 0.0, 2.0, 0.5])
    arguments = (case.model, case.x, case.y)
    two = ep.EquilibriumProp(ep.Clamped(), case.solver)
    one = ep.ClampedSTDP(case.solver, plasticity=ep.SymmetricSTDP())
    _, expected = h.estimate(two, *arguments, weight=weight)
    outcome, found = h.estimate(one, *arguments, weight=weight)
    np.testing.assert_allclose(h.flat(found), h.flat(expected), atol=1e-13)
    assert h.error(outcome.nudged[0].state[-1], case.y) == 0
    assert np.linalg.norm(h.flat(expected)) > 1e-2
    # The one-way rule leaves out the change of the presynaptic side.
    _, one_way = h.estimate(ep.ClampedSTDP(case.solver), *arguments, weight=weight)
    assert h.error(one_way, expected) > 1e-2


def test_it_is_no_gradient_of_what_comes_after_it():
    energy, x = model().energy, jnp.asarray(examples()[0])

    @eqx.filter_grad
    def gradient(energy):
        return jnp.sum(METHOD.equilibrium(energy, x, throw=False).state[-1])

    with pytest.raises(ValueError, match=r"`ClampedSTDP` holds the outputs"):
        gradient(energy)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_an_order_is_kept_within_a_sweep(order):
    x, _ = examples()
    net = model()
    weights, biases = parameters(net.energy)
    layers = [x, *(np.full((len(x), n), 0.4) for n in SIZES[1:])]
    start = tuple(jnp.asarray(s) for s in layers[1:])
    for k in order:
        layers[k + 1] = layer(weights, biases, layers, k + 1)
    solver = ep.BlockCoordinate(max_steps=1, order=order)
    found = ep.relax(ep.Landscape(net, jnp.asarray(x)), solver, start).state
    for got, expected in zip(found, layers[1:], strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)


def test_over_few_sweeps_the_order_matters_and_at_equilibrium_it_does_not():
    landscape = ep.Landscape(model(), jnp.asarray(examples()[0]))
    orders = [None, (0, 1, 2), (2, 1, 0)]

    def states(steps):
        solvers = [ep.BlockCoordinate(max_steps=steps, order=o) for o in orders]
        return [h.flat(ep.relax(landscape, s, throw=False).state) for s in solvers]

    for one, two in pairwise(states(1)):
        assert np.abs(one - two).max() > 1e-2
    for one, two in pairwise(states(300)):
        np.testing.assert_allclose(one, two, atol=1e-12)


@pytest.mark.parametrize("order", [(0, 1), (0, 1, 1), (0, 1, 2, 3), (0, 1, 2, 2)])
def test_an_order_names_each_leaf_once(order):
    landscape = ep.Landscape(model(), jnp.asarray(examples()[0]))
    with pytest.raises(ValueError, match=r"`order` .* each leaf .* \(0, 1, 2\)"):
        ep.relax(landscape, ep.BlockCoordinate(order=order))
