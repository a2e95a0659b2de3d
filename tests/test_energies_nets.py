"""Ready-made networks: shapes, and weights drawn as the literature draws them."""

import math
from itertools import pairwise

import equinox as eqx
import jax
import numpy as np
import pytest

import eqprop as ep


def weights(energy) -> list[np.ndarray]:
    terms = [edge.interaction for edge in energy.edges]
    return [np.asarray(t.weight) for t in terms if isinstance(t, ep.Dense)]


def biases(energy) -> list[np.ndarray]:
    terms = [edge.interaction for edge in energy.edges]
    return [np.asarray(t.bias) for t in terms if isinstance(t, ep.Bias)]


BUILDERS = [ep.nets.mlp, ep.nets.hopfield]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("sizes", [[4, 2], [6, 5, 4, 3]])
def test_a_net_is_a_chain_with_zero_biases(build, sizes):
    net = build(sizes, key=jax.random.key(0))
    names = [f"hidden{k}" for k in range(1, len(sizes) - 1)] + ["output"]
    assert [layer.name for layer in net.layers] == names
    assert [layer.shape for layer in net.layers] == [(n,) for n in sizes[1:]]
    dense = [e.layers for e in net.edges if isinstance(e.interaction, ep.Dense)]
    assert dense == list(pairwise(["input", *names]))
    assert [w.shape for w in weights(net)] == list(pairwise(sizes))
    assert [b.shape for b in biases(net)] == [(n,) for n in sizes[1:]]
    assert all(np.all(b == 0) for b in biases(net))
    assert net.output_layer == "output"


def test_default_units_are_hard_sigmoid_with_linear_outputs():
    net = ep.nets.mlp([4, 3, 3, 2], key=jax.random.key(0))
    assert net.units == (ep.HardSigmoid(), ep.HardSigmoid(), ep.Linear())
    net = ep.nets.mlp(
        [4, 3, 2], key=jax.random.key(0), unit=ep.Tanh(), output_unit=ep.Softmax()
    )
    assert net.units == (ep.Tanh(), ep.Softmax())


@pytest.mark.parametrize(
    "rho, unit",
    [(ep.HardSigmoid(), ep.HardSigmoid()), (ep.Tanh(), ep.Linear())],
)
def test_potentials_are_walled_in_only_for_the_clip(rho, unit):
    net = ep.nets.hopfield([4, 3, 2], key=jax.random.key(0), rho=rho)
    assert net.units == (unit, unit)
    assert net.rho == rho


INITS = [
    (ep.GlorotUniform(), math.sqrt(6 / (300 + 200)), math.sqrt(6 / (200 + 100))),
    (ep.FanInUniform(0.7), 0.7 / math.sqrt(300), 0.7 / math.sqrt(200)),
    (ep.FanInUniform(2.0), 2 / math.sqrt(300), 2 / math.sqrt(200)),
]


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize("init, first, second", INITS)
def test_weights_are_uniform_within_the_bound(build, init, first, second):
    net = build([300, 200, 100], key=jax.random.key(0), init=init)
    for weight, bound in zip(weights(net), (first, second), strict=True):
        n = weight.size
        assert np.max(np.abs(weight)) <= bound
        # The extreme of n uniform draws is within 10/n of the bound but for e^-10.
        assert np.max(np.abs(weight)) >= bound * (1 - 10 / n)
        # Five standard errors of the mean, and of the mean square of a uniform.
        assert abs(np.mean(weight)) <= 5 * bound / math.sqrt(3 * n)
        square = np.mean((weight / bound) ** 2)
        assert abs(square - 1 / 3) <= 5 * math.sqrt(4 / 45 / n)


def test_the_default_is_the_house_initialization():
    net = ep.nets.mlp([300, 200, 100], key=jax.random.key(0))
    same = ep.nets.mlp(
        [300, 200, 100], key=jax.random.key(0), init=ep.FanInUniform(gain=0.7)
    )
    assert eqx.tree_equal(net, same)


@pytest.mark.parametrize("build", BUILDERS)
def test_weights_are_a_function_of_the_key(build):
    one, same, other = (build([6, 6, 6], key=jax.random.key(k)) for k in (0, 0, 1))
    assert eqx.tree_equal(one, same)
    for a, b in zip(weights(one), weights(other), strict=True):
        assert np.all(a != b)
    # Layers draw from keys of their own.
    assert np.all(weights(one)[0] != weights(one)[1])
