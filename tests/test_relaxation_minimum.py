"""One block to its minimum: exact where it is claimed, never uphill anywhere."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import (
    cases_of,
    flat,
    inputs,
    MIXES,
    network,
    QUADRATIC,
    random_state,
    SIZES,
    targets,
    UNITS,
)


OUT = SIZES["output"][0]
BETAS = (-0.4, 0.4)


def readout(inner: ep.AbstractCost) -> ep.Readout:
    weight = np.random.default_rng(0).normal(size=(OUT, 3)) * 0.5
    return ep.Readout(inner, jnp.asarray(weight), jnp.asarray([0.1, -0.2, 0.3]))


COSTS = {
    "squared": ep.SquaredError(),
    "entropy": ep.CrossEntropy(),
    "squared readout": readout(ep.SquaredError()),
    "entropy readout": readout(ep.CrossEntropy()),
}
PAIRS = [(name, "squared") for name in UNITS]
PAIRS += [(name, "squared readout") for name in ("hard_sigmoid", "tanh", "softmax")]
PAIRS += [("linear", "entropy"), ("linear", "entropy readout")]


def nudged(name: str, cost: str, beta, *, graph="chain", batch=8) -> ep.Landscape:
    net = network(graph, ["hard_sigmoid", "hard_sigmoid", name], scale=2.0)
    model = ep.Model(net, COSTS[cost])
    return ep.Landscape(model, inputs(batch)).nudge(targets(batch), beta)


@pytest.mark.parametrize("beta", [*BETAS, -0.9, 3.0])
@pytest.mark.parametrize("name", QUADRATIC)
def test_the_nudged_output_of_squared_error_goes_to_its_minimum(name, beta):
    at = nudged(name, "squared", beta)
    state = random_state(at)
    last = len(state) - 1
    drive = ep.Landscape(at.model, at.x).drive(state)[last]
    exact = UNITS[name].activate((np.asarray(drive) + beta * at.y) / (1 + beta))
    (found,) = at.minimum(state, (last,))
    np.testing.assert_allclose(found, exact, atol=1e-13)
    # From there, no feasible point of the output is lower.
    best = at.energy((*state[:last], found))
    for seed in range(5):
        other = random_state(at, seed)[last]
        assert np.all(best <= at.energy((*state[:last], other)) + 1e-12)


@pytest.mark.parametrize("units", MIXES.values(), ids=MIXES)
def test_layers_that_are_not_nudged_go_to_their_activation(units):
    at = ep.Landscape(network("cycle", units, scale=2.0), inputs())
    state = random_state(at)
    drive = at.drive(state)
    for k, case in enumerate(cases_of("cycle", units)):
        (found,) = at.minimum(state, (k,))
        expected = [case.activate(np.asarray(d)) for d in drive[k]]
        np.testing.assert_allclose(found, expected, atol=1e-14)


@eqx.filter_jit
def output_step(at: ep.Landscape, state) -> tuple:
    """The output's move, how far it is from feasible, and the energies around it."""
    last = len(state) - 1
    (moved,) = at.minimum(state, (last,))
    new = (*state[:last], moved)
    beyond = jnp.max(jnp.abs(at.project(new)[last] - moved))
    return moved - state[last], beyond, at.energy(state), at.energy(new)


@pytest.mark.parametrize("name, cost", PAIRS)
def test_the_nudged_output_never_goes_uphill(name, cost):
    # Nudges so strong that a step by the drive alone would overshoot; away from the
    # target only where the cost may be flat, and so leaves a minimum.
    strong = (6.0,) if cost == "squared" else (6.0, -3.0)
    for beta, seed in itertools.product((*BETAS, *strong), range(5)):
        at = nudged(name, cost, beta)
        state = random_state(at, seed)
        move, beyond, before, after = output_step(at, state)
        assert beyond < 1e-15
        assert np.all(after <= before + 1e-13 * (1 + np.abs(before)))
        # And it moves, unless it is there already.
        moves = np.max(np.abs(np.asarray(move)), 1) > 1e-6
        assert np.all(after[moves] < before[moves])


@pytest.mark.parametrize("name, cost", PAIRS)
def test_repeated_steps_of_the_output_end_where_the_residual_is_zero(name, cost):
    for beta in BETAS:
        at = nudged(name, cost, beta, batch=3)
        hidden = random_state(at)[:-1]
        held = at.clamp(lambda state: state[:-1], hidden)
        found = ep.relax(held, ep.BlockCoordinate(max_steps=400))
        assert np.max(found.residual) < 1e-12


@pytest.mark.parametrize("name, beta", [("linear", -1.0), ("hard_sigmoid", -1.5)])
def test_without_a_minimum_the_result_is_nonfinite(name, beta):
    at = nudged(name, "squared", beta)
    (found,) = at.minimum(at.init(), (len(at.init()) - 1,))
    assert np.all(np.isnan(found))
    end = ep.relax(at, ep.BlockCoordinate(max_steps=3), throw=False)
    assert np.all(end.result == ep.RESULTS.nonfinite)
    assert not np.any(end.converged)
    with pytest.raises(ep.RelaxationError, match=r"β ≤ −1.*smaller \|β\|"):
        ep.relax(at, ep.BlockCoordinate(max_steps=3))


def test_only_the_examples_without_a_minimum_are_nonfinite():
    beta = jnp.asarray([0.5, -1.0, -0.5])
    at = nudged("linear", "squared", beta, batch=3)
    # β = ±0.5 must still settle: weights small enough for that.
    small = ep.Model(network("chain", ["linear"]), ep.SquaredError())
    at = ep.Landscape(small, at.x).nudge(at.y, beta)
    end = ep.relax(at, ep.BlockCoordinate(max_steps=60), throw=False)
    np.testing.assert_array_equal(end.converged, [True, False, True])
    failed = end.result == ep.RESULTS.nonfinite
    np.testing.assert_array_equal(failed, [False, True, False])


def test_a_sigmoid_keeps_a_minimum_beyond_beta_minus_one():
    # G″ ≥ 4/slope = 4 outweighs β = −1.5.
    at = nudged("sigmoid", "squared", -1.5, batch=3)
    hidden = random_state(at)[:-1]
    held = at.clamp(lambda state: state[:-1], hidden)
    assert np.max(ep.relax(held, ep.BlockCoordinate(max_steps=400)).residual) < 1e-12


def test_blocks_move_at_once_from_the_same_state():
    at = nudged("linear", "squared", 0.4, graph="skip")
    state = random_state(at)
    together = at.minimum(state, (0, 2))
    apart = at.minimum(state, (0,)) + at.minimum(state, (2,))
    np.testing.assert_array_equal(flat(together), flat(apart))


def test_a_nudge_on_a_computed_output_is_not_silently_dropped():
    energy = ep.FunctionEnergy(
        lambda state, x: -jnp.sum(state[0] * x[:3]),
        init=lambda x: (jnp.zeros(3),),
        output=lambda state: 2 * state[0],
        units=ep.Linear(),
    )
    model = ep.Model(energy, ep.SquaredError())
    at = ep.Landscape(model, inputs()).nudge(targets(), 0.4)
    with pytest.raises(ValueError, match="one leaf of the state"):
        at.minimum(at.init(), (0,))
