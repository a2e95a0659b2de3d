"""Momentum: the recursion by hand, its rate, and its restarts."""

import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep


def bowl(curvatures, targets) -> ep.Landscape:
    """½Σ c_i (s_i − x_i)²: curvatures c, minimum x."""
    energy = ep.FunctionEnergy(
        lambda c, state, x: 0.5 * jnp.sum(c * (state - x) ** 2),
        jnp.asarray(curvatures, float),
        init=jnp.zeros_like,
        output=lambda state: state,
    )
    return ep.Landscape(energy, jnp.atleast_2d(jnp.asarray(targets, float)))


def by_hand(c, x, step, count) -> np.ndarray:
    """States of one example, step by step."""
    c, x = np.asarray(c, float), np.asarray(x, float)
    s = ahead = np.zeros_like(x)
    t, seen = 1.0, []
    for _ in range(count):
        new = ahead - step * c * (ahead - x)
        restart = (new - ahead) @ (new - s) < 0
        t_new = 1.0 if restart else 0.5 * (1 + np.sqrt(1 + 4 * t * t))
        factor = 0.0 if restart else (t - 1) / t_new
        ahead = new + factor * (new - s)
        s, t = new, t_new
        seen.append(s)
    return np.stack(seen)


def test_every_step_is_that_of_the_recursion():
    c, x = [1.0, 0.1, 0.02], [1.0, -2.0, 0.5]
    at = bowl(c, x)
    solver = ep.Nesterov(step_size=0.9, max_steps=60, stop=None)
    found = ep.relax(at, solver, observe=lambda at, s: s, throw=False).observations
    expected = by_hand(c, x, 0.9, 60)
    np.testing.assert_allclose(found[1:, 0], expected, rtol=0, atol=1e-13)
    # Long enough for a restart, or that branch would go unseen.
    steps = np.diff(expected, axis=0)
    assert np.any(np.sum(steps[1:] * steps[:-1], axis=1) < 0)


@pytest.mark.parametrize("condition", [1e2, 1e3])
def test_steps_grow_with_the_root_of_the_condition(condition):
    # Curvatures from 1/κ to 1. Gradient descent: κ·ln(1/tol) steps at ε = 1. With
    # momentum and restarts a few times √κ·ln(1/tol).
    c = np.geomspace(1 / condition, 1, 12)
    at, goal = bowl(c, np.ones(12)), 1e-6

    def steps(solver):
        return int(ep.relax(at, solver).num_steps[0])

    plain = steps(ep.Euler(step_size=1.0, max_steps=60_000, stop=ep.Tolerance(goal)))
    fast = steps(ep.Nesterov(step_size=1.0, max_steps=3000, stop=ep.Tolerance(goal)))
    # Its error is the force: c times the distance from the minimum.
    exact = np.log(1 / (condition * goal)) / -np.log(1 - 1 / condition)
    assert plain == pytest.approx(exact, rel=0.02)
    assert fast < 4 * np.sqrt(condition) * np.log(1 / goal)
    assert fast < plain * 6 / np.sqrt(condition)


def test_every_example_restarts_by_itself():
    # Each with a minimum of its own: alone or together, the same steps.
    at = bowl([1.0, 0.05], [[1.0, -3.0], [0.2, 5.0], [0.0, 0.1]])
    solver = ep.Nesterov(step_size=0.8, max_steps=300, stop=ep.Tolerance(1e-8))
    together = ep.relax(at, solver)
    for k in range(3):
        alone = ep.relax(bowl([1.0, 0.05], at.x[k]), solver)
        assert int(alone.num_steps[0]) == int(together.num_steps[k])
    assert len(set(np.asarray(together.num_steps).tolist())) > 1


def test_states_stay_where_they_may_be():
    energy = ep.FunctionEnergy(
        lambda state, x: -jnp.sum(state * x),
        None,
        init=lambda x: jnp.full_like(x, 0.5),
        output=lambda state: state,
        units=ep.HardSigmoid(),
    )
    at = ep.Landscape(energy, jnp.asarray([[3.0, -2.0, 0.3]]))
    seen = ep.relax(at, ep.Nesterov(), observe=lambda at, s: s).observations
    assert np.min(seen) >= 0
    assert np.max(seen) <= 1
    # Walls at 1 and 0, and ½s² − 0.3s between them.
    np.testing.assert_allclose(seen[-1, 0], [1.0, 0.0, 0.3], rtol=0, atol=1e-4)


def test_a_step_too_large_is_reported():
    with pytest.raises(ep.RelaxationError, match="grew without bound|NaN or infinite"):
        ep.relax(bowl([1.0, 0.5], [1.0, 1.0]), ep.Nesterov(step_size=3.0))
