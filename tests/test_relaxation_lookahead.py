"""Block sweeps whose last look measures the residual, and is the next one's first."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.learning._adjoint import Overlap
from eqprop.relaxation import settled
from helpers import inputs, MIXES, network, random_state, targets


COSTS = {"squared": ep.SquaredError(), "cross entropy": ep.CrossEntropy()}
# The output bends under a squared error, with a curvature that varies under the other.
NUDGES = {
    "free": ("squared", None),
    "nudged": ("squared", 0.3),
    "nudged away": ("squared", -0.3),
    "one beta each": ("squared", jnp.asarray([0.3, -0.2, 0.0])),
    "cross entropy": ("cross entropy", 0.4),
}


def landscape(graph: str, units: tuple[str, ...], nudge: str = "free") -> ep.Landscape:
    cost, beta = NUDGES[nudge]
    at = ep.Landscape(ep.Model(network(graph, units), COSTS[cost]), inputs())
    return at if beta is None else at.nudge(targets(), beta)


def by_steps(at: ep.Landscape, solver: ep.BlockCoordinate, state, count: int):
    """The states of so many of the solver's own steps, the start first."""
    states, memory = [state], solver.init(at, state, None)
    for _ in range(count):
        state, memory, _ = solver.step(at, state, memory)
        states.append(state)
    return states


def assert_same(found: ep.Equilibrium, at: ep.Landscape, state) -> None:
    """The state, and its residual as it is measured from scratch."""
    for a, b in zip(*map(jax.tree.leaves, (found.state, state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
    np.testing.assert_allclose(found.residual, at.residual(state), rtol=0, atol=1e-14)


@pytest.mark.parametrize("nudge", NUDGES)
@pytest.mark.parametrize("graph", ["chain", "skip", "cycle"])
@pytest.mark.parametrize("mix", MIXES)
def test_after_few_sweeps_the_residual_is_that_of_the_state(
    mix: str, graph: str, nudge: str
):
    units = ("hard_sigmoid", "linear") if mix == "quadratic" else ("sigmoid", "tanh")
    at = landscape(graph, units, nudge)
    start = random_state(at)
    solver = ep.BlockCoordinate(relaxation=1.4, max_steps=3)
    expected = by_steps(at, solver, start, 3)[-1]
    # Not settled yet: a part of the residual that is missing would be seen.
    assert jnp.min(at.residual(expected)) > 1e-6
    assert_same(ep.relax(at, solver, start, throw=False), at, expected)


@pytest.mark.parametrize("nudge", NUDGES)
def test_with_a_tolerance_the_first_state_within_it_is_returned(nudge: str):
    at = landscape("chain", ("hard_sigmoid", "linear"), nudge)
    # From far, from near, and from nearer still.
    near = ep.relax(at, ep.BlockCoordinate()).state
    share = jnp.asarray([1.0, 1e-2, 1e-4])
    start = jax.tree.map(
        lambda s, far: s + share.reshape(-1, *[1] * (s.ndim - 1)) * (far - s),
        near,
        random_state(at),
    )
    bound = 1e-4
    solver = ep.BlockCoordinate(
        relaxation=1.2, max_steps=60, stop=ep.Tolerance(bound), certify=bound
    )
    found = ep.relax(at, solver, start)
    states = by_steps(at, dataclasses.replace(solver, stop=None), start, 60)
    residuals = np.stack([at.residual(state) for state in states[1:]])
    first = (residuals <= bound).argmax(axis=0)
    np.testing.assert_array_equal(found.num_steps, first + 1)
    assert len(set(first.tolist())) == 3
    own = jax.tree.map(
        lambda *rows: jnp.stack([rows[1 + k][i] for i, k in enumerate(first)]), *states
    )
    assert_same(found, at, own)
    assert jnp.all(found.converged)


def test_a_nudge_is_followed_until_it_has_crossed_the_network():
    # Many units add up below: each output and each unit of the middle layer moves by
    # less than the tolerance, the unit at the bottom by nearly five times as much.
    def energy(weights, state, x):
        low, high, out = state
        lower, upper = weights
        return -jnp.sum(high) * (lower * jnp.sum(low) + upper * jnp.sum(out)) - x @ low

    function = ep.FunctionEnergy(
        energy,
        jnp.asarray([0.07, 0.007]),
        init=lambda x: (jnp.zeros(1), jnp.zeros(100), jnp.zeros(100)),
        output=lambda state: state[2],
        units=ep.Linear(),
    )
    at = ep.Landscape(ep.Model(function, ep.SquaredError()), jnp.ones((1, 1)))
    exact = ep.BlockCoordinate(max_steps=5000, stop=ep.Tolerance(1e-9))
    free = ep.relax(at, exact)
    nudged = at.nudge(free.state[2] + 1.0, 9e-4)
    solver = ep.BlockCoordinate(max_steps=5000, stop=ep.Tolerance(1e-3), certify=1e-3)
    once = solver.step(nudged, free.state, None)
    assert once[2][0] < 1e-3
    assert nudged.residual(once[0])[0] > 4e-3
    found = ep.relax(nudged, solver, free.state)
    assert found.num_steps[0] > 1
    assert found.residual[0] <= 1e-3
    np.testing.assert_allclose(found.residual, nudged.residual(found.state), atol=1e-12)


@pytest.mark.parametrize("nudge", NUDGES)
def test_the_drive_of_a_nudged_landscape_is_known_from_the_free_one(nudge: str):
    free = landscape("chain", ("hard_sigmoid", "linear"))
    at = landscape("chain", ("hard_sigmoid", "linear"), nudge)
    state = random_state(at)
    found = at.nudged_drive(state, free.drive(state))
    for a, b in zip(*map(jax.tree.leaves, (found, at.drive(state))), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stop", [None, ep.Tolerance(1e-3)])
def test_the_drive_of_the_last_state_is_handed_over(stop):
    # Also of examples that stopped while others went on.
    at = landscape("chain", ("hard_sigmoid", "linear"))
    near = ep.relax(at, ep.BlockCoordinate(max_steps=4), throw=False).state
    start = jax.tree.map(lambda s, far: s.at[0].set(far[0]), near, random_state(at))
    solver = ep.BlockCoordinate(relaxation=1.2, max_steps=9, stop=stop)
    found, drive = settled(at, solver, start)
    assert stop is None or len(set(found.num_steps.tolist())) > 1
    expected = at.drive(found.state)
    for a, b in zip(*map(jax.tree.leaves, (drive, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


@pytest.mark.parametrize("stop", [None, ep.Tolerance(1e-6)])
def test_nudged_phases_go_on_from_the_drive_of_the_free_one(stop):
    at = landscape("chain", ("hard_sigmoid", "linear"))
    energy = at.energy_fn
    model, x, y = ep.Model(energy, ep.SquaredError()), inputs(), targets()
    solver = ep.BlockCoordinate(relaxation=1.2, max_steps=4, stop=stop)
    method = ep.EquilibriumProp(ep.Centered(0.3), solver)
    outcome, _ = method.value_and_grad(model, x, y)
    free = ep.relax(ep.Landscape(model, x), solver, throw=False)
    for beta, nudged in zip((0.3, -0.3), outcome.nudged, strict=True):
        scape = ep.Landscape(model, x).nudge(y, beta)
        expected = ep.relax(scape, solver, free.state, throw=False)
        np.testing.assert_array_equal(nudged.num_steps, expected.num_steps)
        assert_same(nudged, scape, expected.state)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("stop", [None, ep.Tolerance(1e-3)])
def test_an_order_of_ones_own_is_measured_too(order: tuple[int, ...], stop):
    # In the order (0, 1) the nudged output comes last, and bends its own drive.
    energy = ep.nets.mlp([5, 4, 3], key=jax.random.key(0))
    at = ep.Landscape(ep.Model(energy, ep.SquaredError()), inputs())
    at = at.nudge(targets(), 0.5)
    solver = ep.BlockCoordinate(relaxation=1.3, max_steps=2, stop=stop, order=order)
    found = ep.relax(at, solver, random_state(at), throw=False)
    np.testing.assert_allclose(found.residual, at.residual(found.state), atol=1e-14)


@pytest.mark.parametrize("held", [0, 1, 2])
def test_a_held_layer_has_no_residual(held: int):
    at = landscape("chain", ("hard_sigmoid", "linear"), "nudged")
    value = 0.3 + 0.1 * at.init()[held]
    at = at.clamp(lambda state: state[held], value)
    for stop in (None, ep.Tolerance(1e-2)):
        solver = ep.BlockCoordinate(relaxation=1.3, max_steps=2, stop=stop)
        found = ep.relax(at, solver, random_state(at), throw=False)
        np.testing.assert_allclose(found.residual, at.residual(found.state), atol=1e-14)


def test_complex_states_are_measured_too():
    at = landscape("chain", ("sigmoid", "tanh")).continued()
    at = at.nudge(targets(), 0.3 + 0.4j)
    for stop in (None, ep.Tolerance(1e-2)):
        solver = ep.BlockCoordinate(max_steps=2, stop=stop)
        found = ep.relax(at, solver, throw=False)
        np.testing.assert_allclose(found.residual, at.residual(found.state), atol=1e-14)


def test_an_output_that_is_computed_is_measured_from_scratch():
    # The cost is linear in the output, but the output bends its layer's own drive.
    # The weak coupling leaves that layer the largest residual.
    def energy(weight, state, x):
        return -weight * (x @ state[0] + state[0] @ state[1])

    function = ep.FunctionEnergy(
        energy,
        jnp.asarray(0.05),
        init=lambda x: (x, x),
        output=lambda state: state[1] ** 2,
        units=ep.Linear(),
    )
    at = ep.Landscape(ep.Model(function, Overlap()), inputs()).nudge(inputs(), 0.3)
    found = ep.relax(at, ep.BlockCoordinate(max_steps=1), throw=False)
    assert jnp.min(found.residual) > 1e-3
    np.testing.assert_allclose(found.residual, at.residual(found.state), atol=1e-14)


def test_an_example_that_diverges_is_reported_as_before():
    at = landscape("chain", ("hard_sigmoid", "linear"))
    x = at.x.at[1].set(jnp.nan)
    at = ep.Landscape(at.model, x)
    solver = ep.BlockCoordinate(max_steps=30, stop=ep.Tolerance(1e-4))
    found = ep.relax(at, solver, throw=False)
    assert jnp.isnan(found.residual[1])
    assert bool(eqx.tree_equal(found.worst(), ep.RESULTS.nonfinite))
    assert found.converged.tolist() == [True, False, True]
