"""Energies against equation 1 of the paper, written out with one full matrix."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eqprop as ep
from helpers import (
    cases_of,
    couplings,
    flat,
    full_matrix,
    GRAPHS,
    inputs,
    layers_of,
    MIXES,
    network,
    random_state,
    SIZES,
    UNITS,
)


X = inputs()[0]
RHOS = {
    "clip": (ep.HardSigmoid(), lambda u: np.clip(u, 0, 1)),
    "sigmoid": (ep.Sigmoid(), lambda u: 1 / (1 + np.exp(-u))),
    "tanh": (ep.Tanh(), np.tanh),
    "function": (jnp.sin, np.sin),
}


def hopfield(graph: str, rho, unit: ep.AbstractUnit | None = None) -> ep.Hopfield:
    unit = ep.Linear() if unit is None else unit
    layers = [ep.Layer(name, unit, SIZES[name]) for name in layers_of(graph)]
    return ep.Hopfield(layers, couplings(graph, scale=1.0), rho)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("rho, by_hand", RHOS.values(), ids=RHOS)
def test_hopfield_is_equation_one_with_a_symmetric_matrix(graph, rho, by_hand):
    energy = hopfield(graph, rho)
    landscape = ep.Landscape(energy, inputs())
    state = random_state(landscape)
    matrix, bias = full_matrix(graph, energy.edges)
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 0)
    u = flat(state, landscape.x)
    r = by_hand(u)
    expected = 0.5 * np.sum(u**2, 1) - 0.5 * np.sum((r @ matrix) * r, 1) - r @ bias
    # Sums of a few dozen terms of order one.
    np.testing.assert_allclose(landscape.energy(state), expected, atol=1e-13)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("units", MIXES.values(), ids=MIXES)
def test_network_is_its_potentials_minus_the_couplings(graph, units):
    energy = network(graph, units, scale=1.0)
    landscape = ep.Landscape(energy, inputs())
    state = random_state(landscape)
    matrix, bias = full_matrix(graph, energy.edges)
    u = flat(state, landscape.x)
    # The input's own quadratic form is no part of this energy: it has no edges.
    expected = -0.5 * np.sum((u @ matrix) * u, 1) - u @ bias
    for case, s in zip(cases_of(graph, units), state, strict=True):
        expected += np.sum(case.potential(flat(s)), 1)
    np.testing.assert_allclose(landscape.energy(state), expected, atol=1e-13)


@pytest.mark.parametrize("graph", GRAPHS)
def test_network_equals_hopfield_for_the_clip(graph):
    net = network(graph, scale=1.0)
    membrane = ep.Hopfield(net.layers, net.edges, ep.HardSigmoid())
    landscape = ep.Landscape(net, inputs())
    state = random_state(landscape)
    difference = ep.Landscape(membrane, inputs()).energy(state) - landscape.energy(
        state
    )
    # Hopfield counts the clamped input's ½x², a constant.
    constant = 0.5 * np.sum(np.asarray(inputs()) ** 2, 1)
    np.testing.assert_allclose(difference, constant, atol=1e-14)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("rho", [rho for rho, _ in RHOS.values()], ids=RHOS)
def test_hopfield_force_is_the_leaky_integrator(graph, rho):
    # Inside (0, 1), where also the clip has a slope.
    energy = hopfield(graph, rho)
    landscape = ep.Landscape(energy, inputs())
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda s: jnp.asarray(rng.uniform(0.1, 0.9, s.shape)), landscape.init()
    )
    matrix, bias = full_matrix(graph, energy.edges)
    u = flat(state, landscape.x)
    rate = jax.vmap(jax.vmap(jax.value_and_grad(energy.rate)))
    r, slope = (np.asarray(a) for a in rate(jnp.asarray(u)))
    expected = (slope * (r @ matrix + bias) - u)[:, SIZES["input"][0] :]
    found = flat(landscape.force(state))
    np.testing.assert_allclose(found, expected, atol=1e-13)


def test_the_clip_is_open_at_its_corners():
    energy = ep.nets.hopfield([2, 1], key=jax.random.key(0))
    landscape = ep.Landscape(energy, jnp.asarray([[0.5, 1.0]]))
    drive = landscape.x @ energy.edges[0].interaction.weight
    # At rest u = 0, where the force must still be ρ′(0)·drive with ρ′(0) = 1.
    (force,) = landscape.force(landscape.init())
    np.testing.assert_allclose(force, drive, rtol=1e-14)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("units", MIXES.values(), ids=MIXES)
def test_force_is_minus_the_finite_difference_of_the_energy(graph, units):
    energy = network(graph, units)
    rng = np.random.default_rng(0)
    state, unravel = ravel_pytree(
        tuple(jnp.asarray(rng.uniform(0.2, 0.8, s.shape)) for s in energy.init(X))
    )
    h = 1e-5
    # One example for each unit moved up, and one for each moved down.
    moved = (
        np.asarray(state)
        + np.concatenate([np.eye(state.size), -np.eye(state.size)]) * h
    )
    x = jnp.broadcast_to(X, (len(moved), *X.shape))
    up, down = np.split(
        np.asarray(ep.Landscape(energy, x).energy(jax.vmap(unravel)(moved))), 2
    )
    one = jax.tree.map(lambda s: s[None], unravel(state))
    force = flat(ep.Landscape(energy, X[None]).force(one))[0]
    # Truncation h²·F‴/6 is below 1e-8 on [.2, .8], and round-off eps/h is 1e-11.
    np.testing.assert_allclose(force, -(up - down) / (2 * h), atol=1e-8)


def test_dense_lateral_and_bias_are_their_formulas():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3)), rng.normal(size=4)
    w, v = rng.normal(size=(6, 4)), rng.normal(size=(6, 6))
    dense = -sum(a.reshape(-1)[i] * w[i, j] * b[j] for i in range(6) for j in range(4))
    found = ep.Dense(jnp.asarray(w))(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(found, dense, rtol=1e-13)
    s = a.reshape(-1)
    lateral = -sum(v[i, j] * s[i] * s[j] for i in range(6) for j in range(i + 1, 6))
    found = ep.Lateral(jnp.asarray(v))(jnp.asarray(a))
    np.testing.assert_allclose(found, lateral, rtol=1e-13)
    found = ep.Bias(jnp.asarray(a))(jnp.asarray(2 * a))
    np.testing.assert_allclose(found, -2 * np.sum(a * a), rtol=1e-13)


def test_one_lateral_weight_for_each_pair():
    s = jnp.asarray([0.5, -2.0, 3.0])
    weight = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    found = jax.grad(lambda w: ep.Lateral(w)(s))(weight)
    # ∂E/∂W_ij = −s_i s_j above the diagonal, and nothing is read elsewhere.
    np.testing.assert_allclose(found, -np.triu(np.outer(s, s), 1), rtol=1e-14)


def test_function_energy_is_the_function_and_its_units_potentials():
    def fn(params, state, x):
        return jnp.sum(params["w"] * state["a"]) - jnp.sum(state["b"][0] * x)

    params = {"w": jnp.asarray([1.0, -2.0])}
    energy = ep.FunctionEnergy(
        fn,
        params,
        init=lambda x: {"a": jnp.zeros(2), "b": (jnp.zeros(3),)},
        output=lambda state: state["b"][0],
        units={"a": ep.Tanh(), "b": ep.Linear()},
    )
    a, b = np.array([0.3, -0.5]), np.array([1.0, 2.0, -1.0])
    state = {"a": jnp.asarray(a), "b": (jnp.asarray(b),)}
    x = np.array([0.1, 0.2, 0.3])
    expected = a[0] - 2 * a[1] - np.sum(b * x) + 0.5 * np.sum(b * b)
    expected += np.sum(a * np.arctanh(a) + 0.5 * np.log(1 - a * a))
    np.testing.assert_allclose(energy(state, jnp.asarray(x)), expected, rtol=1e-14)
    np.testing.assert_array_equal(energy.output(state), b)


def test_function_energy_without_params_or_units_is_the_function_alone():
    weight = jnp.asarray([1.0, 2.0])
    energy = ep.FunctionEnergy(
        lambda state, x: jnp.sum(weight * state * x),
        init=lambda x: 0.5 * x,
        output=lambda state: state,
    )
    state, x = jnp.asarray([3.0, -1.0]), jnp.asarray([1.0, 4.0])
    assert energy(state, x) == 3 - 8
    np.testing.assert_array_equal(energy.init(x), [0.5, 2.0])


@pytest.mark.parametrize("name", UNITS)
def test_a_network_rests_at_the_feasible_point_nearest_to_zero(name):
    state = network("chain", [name]).init(inputs()[0])
    assert [s.shape for s in state] == [SIZES[n] for n in layers_of("chain")]
    for s in state:
        # Of the simplex that is its center, of the other sets zero itself.
        nearest = 1 / s.size if name == "softmax" else 0
        np.testing.assert_allclose(s, np.full(s.shape, nearest), atol=1e-15)
