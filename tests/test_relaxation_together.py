"""Phases relaxed as one batch settle as they do one after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.relaxation import relax_together
from helpers import inputs, network, random_state, targets


SOLVERS = {
    "sweeps": ep.BlockCoordinate(relaxation=1.2, max_steps=4),
    "sweeps to a tolerance": ep.BlockCoordinate(max_steps=60, stop=ep.Tolerance(1e-6)),
    "adaptive": ep.AdaptiveEuler(max_steps=300),
    "Euler": ep.Euler(max_steps=7),
}


def model(units=("hard_sigmoid",)) -> ep.Model:
    return ep.Model(network("skip", units), ep.SquaredError())


def assert_as_alone(landscapes, solver, states) -> None:
    together = relax_together(landscapes, solver, states)
    for landscape, state, found in zip(landscapes, states, together, strict=True):
        alone = ep.relax(landscape, solver, state, throw=False)
        # Same arithmetic in another order: a few ulps, grown by some dozen steps.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12),
            (found.state, found.residual),
            (alone.state, alone.residual),
        )
        np.testing.assert_array_equal(found.num_steps, alone.num_steps)
        np.testing.assert_array_equal(found.converged, alone.converged)
        assert bool(jnp.all(found.result == alone.result))


@pytest.mark.parametrize("name", SOLVERS)
def test_two_nudges_of_one_problem(name):
    free = ep.Landscape(model(), inputs())
    start = random_state(free)
    pair = [free.nudge(targets(), 0.3), free.nudge(targets(), -0.3)]
    assert_as_alone(pair, SOLVERS[name], [start, start])


def test_nudges_of_unlike_kinds_and_problems():
    # β for all or one for each example, parts held, other targets, another input.
    free, other = (ep.Landscape(model(), inputs(seed=s)) for s in (1, 5))
    up = free.nudge(targets(), 0.3)
    landscapes = [
        up,
        free.nudge(targets(), jnp.asarray([0.1, -0.2, 0.3])),
        free.nudge(targets(seed=7), -0.4),
        free.clamp(free.energy_fn.output, targets()),
        up.clamp(lambda state: state[0], jnp.full((3, 4), 0.5)),
        other.nudge(targets(), 0.3),
        free,
    ]
    states = [landscape.hold(random_state(landscape)) for landscape in landscapes]
    assert_as_alone(landscapes, SOLVERS["sweeps"], states)


def test_complex_phases():
    free = ep.Landscape(model(("sigmoid",)), inputs())
    plane = free.continued()
    landscapes = [free.nudge(targets(), 0.2)] + [
        plane.nudge(targets(), 0.2 * np.exp(2j * np.pi * k / 6)) for k in (1, 2)
    ]
    states = [landscape.init() for landscape in landscapes]
    solver = ep.BlockCoordinate(max_steps=40)
    assert_as_alone(landscapes, solver, states)
    # The two complex ones differ, or they could have been mixed up unseen.
    one, two = relax_together(landscapes, solver, states)[1:]
    assert np.max(np.abs(one.state[-1] - two.state[-1])) > 1e-3


def test_one_phase_without_a_minimum_leaves_the_others_alone():
    free = ep.Landscape(model(("linear",)), inputs())
    pair = [free.nudge(targets(), 0.3), free.nudge(targets(), -1.5)]
    fine, lost = relax_together(
        pair, SOLVERS["sweeps to a tolerance"], [free.init()] * 2
    )
    assert bool(jnp.all(fine.converged))
    assert bool(jnp.all(lost.result == ep.RESULTS.nonfinite))


def test_samplers_draw_alike_in_all_phases():
    free = ep.Landscape(model(), inputs())
    sampler = ep.Langevin(temperature=0.1, step_size=0.1, max_steps=5)
    key = jax.random.key(3)
    same = [free.nudge(targets(), 0.3)] * 2
    one, two = relax_together(same, sampler, [free.init()] * 2, key=key)
    alone = ep.relax(same[0], sampler, free.init(), key=key, throw=False)
    for a, b, c in zip(one.state, two.state, alone.state, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, rtol=1e-12, atol=1e-14)
