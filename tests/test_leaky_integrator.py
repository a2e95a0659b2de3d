"""The network in continuous time: closed forms, and what the discrete solvers near.

One compilation takes seconds here: the tests share a few shapes and nets.
"""

import importlib
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from helpers import (
    annotations_unchecked,
    couplings,
    flat,
    inputs,
    network,
    settled_by_hand,
    targets,
)


# Explicit steps hover where their error is allowed to be: the run ends above that.
FINE = ep.LeakyIntegrator(rtol=1e-10, atol=1e-12, stop=ep.Tolerance(1e-8))
TIMES = jnp.linspace(0.0, 4.0, 401)
UNITS = ("hard_sigmoid", "tanh", "clipped_relu", "steep_sigmoid")
BETA = 0.4


def mixed(x=None) -> ep.Landscape:
    """A nudged cycle of layers, with walls and without."""
    model = ep.Model(network("cycle", UNITS), ep.SquaredError())
    return ep.Landscape(model, inputs() if x is None else x).nudge(targets(), BETA)


class Linear:
    """½s·As − s·x and ½‖s − y‖², each example under a nudge of its own."""

    def __init__(self):
        turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
        self.a = (turn * np.asarray([0.5, 1.0, 3.0])) @ turn.T
        self.beta = np.asarray([0.0, 0.5, 2.0, -0.3])
        energy = ep.FunctionEnergy(
            lambda a, s, x: 0.5 * s @ a @ s - s @ x,
            jnp.asarray(self.a),
            init=jnp.zeros_like,
            output=lambda s: s,
        )
        self.x, self.y, self.start = (h.normal(k, 4, 3) for k in (1, 2, 3))
        model = ep.Model(energy, ep.SquaredError())
        free = ep.Landscape(model, self.x)
        self.landscape = free.nudge(self.y, jnp.asarray(self.beta))

    def at(self, time) -> np.ndarray:
        rows = []
        for beta, x, y, start in zip(
            self.beta, self.x, self.y, self.start, strict=True
        ):
            rates, modes = np.linalg.eigh(self.a + beta * np.eye(3))
            rest = modes @ (modes.T @ (np.asarray(x) + beta * np.asarray(y)) / rates)
            decay = (modes * np.exp(-rates * time)) @ modes.T
            rows.append(rest + decay @ (np.asarray(start) - rest))
        return np.stack(rows)


def test_a_linear_network_follows_the_matrix_exponential():
    case = Linear()
    found = FINE.trajectory(case.landscape, TIMES, case.start)
    assert found.shape == (401, 4, 3)
    for k in (0, 30, 100, 400):
        # The steps' own tolerance, through a dense output of order 4.
        np.testing.assert_allclose(found[k], case.at(float(TIMES[k])), atol=1e-7)


def test_the_energy_falls_by_the_squared_velocity():
    case = Linear()
    path = FINE.trajectory(case.landscape, TIMES, case.start)
    energy = jax.lax.map(case.landscape.energy, path)
    velocity = np.stack([np.gradient(path[:, k], TIMES, axis=0) for k in range(4)], 1)
    speed = np.sum(velocity[1:-1] ** 2, axis=-1)
    fall = -np.gradient(energy, TIMES, axis=0)[1:-1]
    # Central differences: the error is of order 0.01².
    np.testing.assert_allclose(fall, speed, rtol=1e-3)
    assert np.all(speed[0] > 1)


def test_linear_units_move_along_the_paper_s_force():
    case = h.hopfield(ep.Tanh())
    landscape = ep.Landscape(case.model, case.x).nudge(case.y, BETA)
    state = jax.tree.map(lambda s: h.normal(5, *s.shape), landscape.init())
    velocity, force = eqx.filter_jit(lambda at, s: (at.displacement(s), at.force(s)))(
        landscape, state
    )
    np.testing.assert_allclose(h.flat(velocity), h.flat(force), atol=1e-14)


def test_it_comes_to_rest_where_numpy_does():
    found = FINE.relax(mixed())
    x, y = np.asarray(inputs()), np.asarray(targets())
    edges = couplings("cycle", scale=0.4)
    expected = settled_by_hand("cycle", UNITS, edges, x, y=y, beta=BETA)
    # The residual over the slowest mode's rate.
    np.testing.assert_allclose(flat(found.state), expected, atol=1e-7)
    assert np.all(found.converged)
    assert np.all(found.residual < 2e-8)
    # Once at rest it stops.
    later = eqx.tree_at(lambda m: m.max_time, FINE, jnp.asarray(2000.0))
    np.testing.assert_array_equal(later.relax(mixed()).num_steps, found.num_steps)


def test_the_energy_never_rises_with_walls_and_curved_units():
    path = FINE.trajectory(mixed(), TIMES)
    energy = jax.lax.map(mixed().energy, path)
    assert np.all(np.diff(energy, axis=0) < 1e-12)
    assert np.all(energy[0] - energy[-1] > 1e-2)


def test_small_damped_steps_approach_it_to_first_order():
    landscape = mixed()
    path = FINE.trajectory(landscape, TIMES)
    exact = jax.tree.map(lambda s: s[200], path)
    steps = np.asarray([0.1, 0.05, 0.025, 0.0125])

    @eqx.filter_jit
    def after(step):
        solver = ep.FixedPoint(damping=step)
        count = jnp.round(TIMES[200] / step).astype(int)

        def body(_, state):
            return solver.step(landscape, state, None)[0]

        return jax.lax.fori_loop(0, count, body, landscape.init())

    errors = [h.error(after(jnp.asarray(step)), exact) for step in steps]
    assert abs(h.slope(steps, errors) - 1) < 0.1


def test_batch_mates_change_nothing():
    x = inputs()
    together = FINE.relax(mixed(x))
    # Mates that move for longer and otherwise.
    other = FINE.relax(mixed(x.at[:2].multiply(-3.0)))
    assert together.num_steps[0] != other.num_steps[0]
    assert together.num_steps[2] == other.num_steps[2]
    np.testing.assert_array_equal(flat(together.state)[2], flat(other.state)[2])


def test_an_example_that_still_moves_is_reported():
    soon = eqx.tree_at(lambda m: m.max_time, FINE, jnp.asarray(0.5))
    late = soon.relax(mixed(), throw=False)
    assert not np.any(late.converged)
    assert np.all(late.result == ep.RESULTS.max_time_reached)
    assert late.worst() == ep.RESULTS.max_time_reached
    with pytest.raises(ep.RelaxationError, match="Raise `max_time`"):
        soon.relax(mixed())


def test_without_tolerance_it_goes_on_to_the_end():
    case = Linear()
    method = ep.LeakyIntegrator(1e-10, 1e-12, max_time=0.7, stop=None)
    found = method.relax(case.landscape, case.start, throw=False)
    np.testing.assert_allclose(found.state, case.at(0.7), atol=1e-8)
    later = eqx.tree_at(lambda m: m.max_time, method, jnp.asarray(200.0))
    rested = later.relax(case.landscape, case.start)
    np.testing.assert_allclose(rested.state, case.at(np.inf), atol=1e-8)


def test_too_few_steps_are_reported():
    case, few = Linear(), ep.LeakyIntegrator(max_steps=2)
    found = few.relax(case.landscape, case.start, throw=False)
    assert np.all(found.result == ep.RESULTS.max_steps_reached)
    path = few.trajectory(case.landscape, TIMES, case.start)
    np.testing.assert_array_equal(path[0], case.start)
    assert np.all(np.isnan(path[-1]))


def test_what_cannot_work_is_refused():
    for name in ("rtol", "atol", "max_time", "certify"):
        with pytest.raises(ValueError, match=f"`{name}` of `LeakyIntegrator`"):
            ep.LeakyIntegrator(**{name: 0.0})
    with pytest.raises(ValueError, match="`max_steps` of `LeakyIntegrator`"):
        ep.LeakyIntegrator(max_steps=0)
    with pytest.raises(TypeError, match=r"is Euler.*diffrax\.Tsit5"):
        ep.LeakyIntegrator(solver=ep.Euler())
    for times in ([1.0, 0.5], [-1.0, 0.0], []):
        with pytest.raises(ValueError, match="`times` of `trajectory`"):
            FINE.trajectory(mixed(), jnp.asarray(times))
    with annotations_unchecked(), pytest.raises(ValueError, match="`state0` has"):
        FINE.relax(mixed(), jnp.zeros(3))


def test_without_diffrax_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "eqprop.relaxation._diffrax")
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r'pip install "eqprop\[ode\]"'):
        importlib.import_module("eqprop.relaxation._diffrax")
