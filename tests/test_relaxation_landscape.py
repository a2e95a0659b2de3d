"""A landscape is F = E + βC: its forces, drives and certificate against NumPy."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import (
    cases_of,
    flat,
    full_matrix,
    GRAPHS,
    inputs,
    MIXES,
    network,
    random_state,
    SIZES,
    targets,
    UNITS,
)


OUT = SIZES["output"][0]


def landscape(graph="chain", units=("hard_sigmoid",), *, beta=None):
    model = ep.Model(network(graph, units), ep.SquaredError())
    free = ep.Landscape(model, inputs())
    return free if beta is None else free.nudge(targets(), beta)


def drive_by_hand(graph: str, at: ep.Landscape, state) -> np.ndarray:
    """Wu + b − β(o − y) of every unit but the input."""
    matrix, bias = full_matrix(graph, at.energy_fn.edges)
    u = flat(state, at.x)
    drive = u @ matrix + bias
    if at.beta is not None:
        pull = np.asarray(at.beta).reshape(-1, 1) * (u[:, -OUT:] - np.asarray(at.y))
        drive[:, -OUT:] -= pull
    return drive[:, at.x.shape[1] :]


@pytest.mark.parametrize("beta", [-0.4, 0.7])
def test_the_nudged_energy_is_the_energy_plus_beta_times_the_cost(beta):
    free, nudged = landscape(), landscape(beta=beta)
    state = random_state(free)
    o = np.asarray(state[-1])
    cost = 0.5 * np.sum((o - np.asarray(targets())) ** 2, 1)
    np.testing.assert_allclose(nudged.cost(state), cost, rtol=1e-14)
    expected = free.energy(state) + beta * cost
    np.testing.assert_allclose(nudged.energy(state), expected, rtol=1e-14)
    np.testing.assert_allclose(free.cost(state, targets()), cost, rtol=1e-14)


def test_every_example_may_have_its_own_beta():
    beta = np.array([-0.3, 0.0, 0.6])
    together = landscape(beta=jnp.asarray(beta))
    state = random_state(together)
    solver = ep.BlockCoordinate(max_steps=40)
    settled = ep.relax(together, solver).state
    for k, b in enumerate(beta):
        alone = landscape(beta=float(b))
        for method in ("energy", "force", "drive", "residual"):
            mine, other = getattr(together, method), getattr(alone, method)
            for found, expected in zip(
                jax.tree.leaves(mine(state)), jax.tree.leaves(other(state)), strict=True
            ):
                np.testing.assert_allclose(found[k], expected[k], atol=1e-14)
        for found, expected in zip(settled, ep.relax(alone, solver).state, strict=True):
            np.testing.assert_allclose(found[k], expected[k], atol=1e-13)


@pytest.mark.parametrize("beta", [None, 0.5])
@pytest.mark.parametrize("graph", GRAPHS)
def test_the_drive_is_what_the_neighbors_send(graph, beta):
    at = landscape(graph, beta=beta)
    state = random_state(at)
    expected = drive_by_hand(graph, at, state)
    np.testing.assert_allclose(flat(at.drive(state)), expected, atol=1e-14)


@pytest.mark.parametrize("units", MIXES.values(), ids=MIXES)
def test_the_drive_is_the_force_plus_the_slope_of_the_potential(units):
    at = landscape("cycle", units, beta=0.5)
    rng = np.random.default_rng(0)
    state = tuple(jnp.asarray(rng.uniform(0.1, 0.9, s.shape)) for s in at.init())
    cases, drives, forces = cases_of("cycle", units), at.drive(state), at.force(state)
    for case, drive, force, s in zip(cases, drives, forces, state, strict=True):
        slope = jax.vmap(jax.grad(case.unit.potential))(s)
        np.testing.assert_allclose(drive, force + slope, atol=1e-14)


def test_the_drive_of_a_block_is_that_part_of_the_whole():
    at = landscape("cycle", beta=0.5)
    state = random_state(at)
    whole = at.drive(state)
    for block in [(0,), (2, 1), (3, 0)]:
        for k, part in zip(block, at.drive(state, block), strict=True):
            np.testing.assert_allclose(part, whole[k], atol=1e-15)


@pytest.mark.parametrize("beta", [None, -0.4])
@pytest.mark.parametrize("units", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("graph", ["cycle", "lateral"])
def test_the_residual_is_the_largest_distance_to_the_activation(graph, units, beta):
    cases, at = cases_of(graph, units), landscape(graph, units, beta=beta)
    state = random_state(at)
    drive = drive_by_hand(graph, at, state)
    stops = np.cumsum([0, *(s[0].size for s in state)])
    expected = [
        max(
            np.max(np.abs(case.activate(d[a:b]) - s[a:b]))
            for case, (a, b) in zip(cases, pairwise(stops), strict=True)
        )
        for d, s in zip(drive, flat(state), strict=True)
    ]
    found = at.residual(state)
    assert np.min(found) > 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_residual_of_units_without_potential_is_the_projected_force():
    energy = ep.FunctionEnergy(
        lambda state, x: 2 * jnp.sum((state - x) ** 2),
        init=jnp.zeros_like,
        output=lambda state: state,
    )
    at = ep.Landscape(energy, inputs())
    state = 2 * inputs() + 1
    expected = np.max(np.abs(4 * np.asarray(state - inputs())), 1)
    np.testing.assert_allclose(at.residual(state), expected, rtol=1e-14)
    np.testing.assert_array_equal(at.residual(inputs()), 0)


def test_clipped_units_rest_against_their_walls_with_residual_zero():
    # ∂E/∂s is far from zero here; the state is an equilibrium all the same.
    weight = jnp.asarray([[5.0, -5.0]])
    net = ep.Network(
        [ep.Layer("output", ep.HardSigmoid(), (2,))],
        [ep.Edge(("input", "output"), ep.Dense(weight))],
    )
    at = ep.Landscape(net, jnp.ones((1, 1)))
    state = (jnp.asarray([[1.0, 0.0]]),)
    np.testing.assert_array_equal(at.force(state)[0], [[4.0, -5.0]])
    np.testing.assert_array_equal(at.residual(state), 0)


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_the_residual_of_curved_units_is_finite_at_their_walls(name):
    at = landscape("chain", [name])
    case = UNITS[name]
    state = jax.tree.map(lambda s: jnp.full_like(s, case.high), at.init())
    expected = case.high - np.min(case.activate(drive_by_hand("chain", at, state)), 1)
    np.testing.assert_allclose(at.residual(state), expected, rtol=1e-13)


@pytest.mark.parametrize("beta", [None, 0.5])
def test_a_clamped_layer_never_moves(beta):
    value = jnp.asarray(np.random.default_rng(0).uniform(size=(3, 4)))
    at = landscape("skip", beta=beta).clamp(lambda state: state[0], value)
    np.testing.assert_array_equal(at.init()[0], value)
    np.testing.assert_array_equal(at.force(random_state(at))[0], 0)
    elsewhere = jax.tree.map(lambda s: s + 0.5, at.init())
    np.testing.assert_array_equal(
        at.energy(elsewhere), at.energy((value, *elsewhere[1:]))
    )
    for solver in (
        ep.Euler(max_steps=3),
        ep.FixedPoint(max_steps=3),
        ep.BlockCoordinate(max_steps=3),
        ep.AdaptiveEuler(max_steps=3, stop=None),
    ):
        found = ep.relax(at, solver, elsewhere)
        np.testing.assert_array_equal(found.state[0], value)


@pytest.mark.parametrize("beta", [None, 0.5])
def test_the_rest_settles_as_if_the_clamped_layer_were_input(beta):
    value = jnp.asarray(np.random.default_rng(0).uniform(size=(3, 4)))
    free = landscape("chain", beta=beta)
    at = free.clamp(lambda state: state[0], value)
    found = ep.relax(at, ep.BlockCoordinate(max_steps=60))
    # The residual ignores what holds the layer where it would not stay.
    assert np.max(found.residual) < 1e-14
    assert np.min(free.residual(found.state)) > 1e-2

    def without_input(state, h):
        edges = [e.interaction for e in free.energy_fn.edges if "input" not in e.layers]
        (dense, last), (bias, out) = edges[:2], edges[3:]
        k, o = state
        return dense(h, k) + last(k, o) + bias(k) + out(o)

    rest = ep.FunctionEnergy(
        without_input,
        init=lambda h: (jnp.zeros((2, 2)), jnp.zeros(OUT)),
        output=lambda state: state[1],
        units=ep.HardSigmoid(),
    )
    small = ep.Landscape(ep.Model(rest, ep.SquaredError()), value)
    small = small if beta is None else small.nudge(targets(), beta)
    expected = ep.relax(small, ep.BlockCoordinate(max_steps=60)).state
    np.testing.assert_allclose(flat(found.state[1:]), flat(expected), atol=1e-14)


def test_several_layers_and_all_layers_may_be_clamped():
    free = landscape("chain")
    values = random_state(free)
    two = free.clamp(lambda s: (s[2], s[0]), (values[2], values[0]))
    found = ep.relax(two, ep.BlockCoordinate()).state
    np.testing.assert_array_equal(found[0], values[0])
    np.testing.assert_array_equal(found[2], values[2])
    everything = free.clamp(lambda s: s, values)
    found = ep.relax(everything, ep.BlockCoordinate())
    np.testing.assert_array_equal(flat(found.state), flat(values))
    np.testing.assert_array_equal(found.residual, 0)


def test_clamping_again_replaces_the_value():
    free = landscape("chain")
    ones, halves = jnp.ones((3, 4)), jnp.full((3, 4), 0.5)
    first = free.clamp(lambda s: s[0], ones)
    again = first.clamp(lambda s: s[0], halves)
    np.testing.assert_array_equal(again.init()[0], halves)
    np.testing.assert_array_equal(first.init()[0], ones)


def test_a_nudge_replaces_the_nudge_and_keeps_the_clamp():
    value = jnp.ones((3, 4))
    at = landscape("chain").clamp(lambda s: s[0], value).nudge(targets(), 0.3)
    again = at.nudge(targets(), -0.2)
    np.testing.assert_array_equal(again.init()[0], value)
    state = random_state(again)
    base = landscape("chain").clamp(lambda s: s[0], value).energy(state)
    expected = base - 0.2 * again.cost(state)
    np.testing.assert_allclose(again.energy(state), expected, rtol=1e-14)


def test_the_parameters_of_a_readout_are_in_the_landscape():
    rng = np.random.default_rng(0)
    cost = ep.Readout(
        ep.SquaredError(), jnp.asarray(rng.normal(size=(OUT, 2))), jnp.zeros(2)
    )
    model = ep.Model(network("chain"), cost)
    y = jnp.asarray(rng.normal(size=(3, 2)))
    at = ep.Landscape(model, inputs()).nudge(y, 0.3)
    state = random_state(at)
    read = np.asarray(state[-1]) @ np.asarray(cost.weight)
    expected = 0.5 * np.sum((read - np.asarray(y)) ** 2, 1)
    np.testing.assert_allclose(at.cost(state), expected, rtol=1e-13)
    pull = -0.3 * (read - np.asarray(y)) @ np.asarray(cost.weight).T
    free = ep.Landscape(model, inputs())
    difference = np.asarray(at.drive(state)[-1]) - np.asarray(free.drive(state)[-1])
    np.testing.assert_allclose(difference, pull, atol=1e-13)
