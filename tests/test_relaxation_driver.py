"""The driver: stopping, certificates, observations, and examples left alone."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import flat, inputs, network, random_state, targets, well


SOLVERS = {
    "euler": ep.Euler(step_size=0.5, max_steps=60, stop=ep.Tolerance(1e-6)),
    "adaptive": ep.AdaptiveEuler(max_steps=60, stop=ep.Tolerance(1e-6)),
    "momentum": ep.Nesterov(max_steps=60, stop=ep.Tolerance(1e-6)),
    "fixed point": ep.FixedPoint(damping=0.5, max_steps=60, stop=ep.Tolerance(1e-6)),
    "blocks": ep.BlockCoordinate(relaxation=1.3, max_steps=60, stop=ep.Tolerance(1e-6)),
}
MODEL = ep.Model(network("skip"), ep.SquaredError())


def landscape(x: jax.Array) -> ep.Landscape:
    return ep.Landscape(MODEL, x)


def per_example(found: ep.Equilibrium, k: int) -> list[np.ndarray]:
    finals = jax.tree.leaves((found.state, found.residual, found.num_steps))
    results = [found.result == member for member in members()]
    return [np.asarray(a)[k] for a in [*finals, found.converged, *results]]


def members() -> list:
    names = [
        "converged",
        "steps_completed",
        "max_steps_reached",
        "diverged",
        "nonfinite",
    ]
    return [getattr(ep.RESULTS, name) for name in names]


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_batch_mates_change_nothing_at_all(solver):
    x = inputs(4)
    alone = ep.relax(landscape(x), solver)
    assert len(set(np.asarray(alone.num_steps).tolist())) > 1
    # Another example, one far away, one that is NaN and one that overflows.
    for mate in (inputs(9)[8], 50 * x[3], jnp.full(5, jnp.nan), jnp.full(5, 1e300)):
        found = ep.relax(landscape(x.at[3].set(mate)), solver, throw=False)
        for k in range(3):
            for a, b in zip(per_example(alone, k), per_example(found, k), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_the_size_of_the_batch_changes_only_the_round_off(solver):
    x = inputs(4)
    together = ep.relax(landscape(x), solver)
    for size in (1, 2):
        found = ep.relax(landscape(x[:size]), solver)
        np.testing.assert_array_equal(found.num_steps, together.num_steps[:size])
        np.testing.assert_allclose(
            flat(found.state), flat(together.state)[:size], atol=1e-14
        )


def test_examples_may_come_in_any_order():
    x, order = inputs(4), jnp.asarray([2, 0, 3, 1])
    found = ep.relax(landscape(x[order]), SOLVERS["euler"])
    expected = ep.relax(landscape(x), SOLVERS["euler"])
    np.testing.assert_allclose(
        flat(found.state), flat(expected.state)[order], atol=1e-14
    )
    np.testing.assert_array_equal(found.num_steps, expected.num_steps[order])


def test_each_example_stops_at_its_own_tolerance():
    # After n steps of ½ the error, |Δ|/ε, is |x|·2^(1−n); it is done when that is
    # at most atol + rtol·|s| with s = x(1 − 2^−n).
    x = jnp.asarray([[1.0], [2.0], [1024.0]])
    at = ep.Landscape(well(1.0), x)
    solver = ep.Euler(step_size=0.5, stop=ep.Tolerance(2.0**-8), certify=2.0**-8)
    found = ep.relax(at, solver)
    np.testing.assert_array_equal(found.num_steps, [9, 10, 19])
    np.testing.assert_array_equal(
        found.state, x * (1 - 2.0 ** -found.num_steps[:, None].astype(float))
    )
    relative = ep.Euler(step_size=0.5, stop=ep.Tolerance(0.0, rtol=2.0**-8))
    found = ep.relax(at, relative, throw=False)
    # The same relative error for all: 2^(1−n) ≤ 2^−8·(1 − 2^−n) first at n = 10.
    np.testing.assert_array_equal(found.num_steps, [10, 10, 10])
    found = ep.relax(at, ep.Euler(step_size=0.5, max_steps=12, stop=None))
    np.testing.assert_array_equal(found.num_steps, [12, 12, 12])


def test_an_example_at_its_minimum_is_done_in_one_step():
    at = ep.Landscape(well(1.0), jnp.asarray([[1.0], [3.0]]))
    for solver in (ep.Euler(stop=ep.Tolerance(1e-9)), ep.AdaptiveEuler()):
        found = ep.relax(at, solver, at.x)
        np.testing.assert_array_equal(found.num_steps, [1, 1])
        np.testing.assert_array_equal(found.state, at.x)


@pytest.mark.parametrize("stop", [None, ep.Tolerance(2.0**-3)])
def test_observations_hold_the_start_and_every_step(stop):
    x = jnp.asarray([[1.0], [8.0]])
    at = ep.Landscape(well(1.0), x)
    solver = ep.Euler(step_size=0.5, max_steps=8, stop=stop)
    found = ep.relax(
        at,
        solver,
        observe=lambda at, state: {"s": state, "e": at.energy(state)},
        throw=False,
    )
    steps = np.arange(9)[:, None]
    if stop is not None:
        # Stopped examples repeat their last state.
        np.testing.assert_array_equal(found.num_steps, [4, 7])
        steps = np.minimum(steps, np.asarray(found.num_steps)[None])
    expected = np.asarray(x)[:, 0] * (1 - 2.0**-steps)
    seen = found.observations
    np.testing.assert_array_equal(seen["s"][:, :, 0], expected)
    energy = 0.5 * (expected - np.asarray(x)[:, 0]) ** 2
    np.testing.assert_allclose(seen["e"], energy, rtol=1e-14)
    unobserved = ep.relax(at, solver, throw=False)
    assert unobserved.observations is None
    np.testing.assert_array_equal(unobserved.state, found.state)
    np.testing.assert_array_equal(unobserved.num_steps, found.num_steps)


def test_observing_starts_at_the_given_state():
    at = ep.Landscape(well(1.0), inputs())
    start = 3 * inputs()
    seen = ep.relax(at, ep.Euler(max_steps=2), start, observe=lambda _, s: s)
    np.testing.assert_array_equal(seen.observations[0], start)
    assert seen.observations.shape == (3, *start.shape)


def test_a_loop_of_fixed_length_is_differentiable():
    # n steps of ½ take s to x·(1 − 2^−n) for c = 1, and ds/dc = x·n·½·2^(1−n).
    def end(c, x):
        return jnp.sum(
            ep.relax(
                ep.Landscape(well(c), x), ep.Euler(step_size=0.5, max_steps=5)
            ).state
        )

    x = jnp.asarray([[2.0], [3.0]])
    value, slope = jax.value_and_grad(end)(jnp.asarray(1.0), x)
    np.testing.assert_allclose(value, 5 * (1 - 2.0**-5), rtol=1e-14)
    np.testing.assert_allclose(slope, 5 * 5 * 0.5 * 2.0**-4, rtol=1e-14)
    np.testing.assert_allclose(
        jax.jit(jax.grad(end, argnums=1))(jnp.asarray(1.0), x), 1 - 2.0**-5, rtol=1e-14
    )


@pytest.mark.parametrize("name", ["fixed point", "blocks"])
def test_the_unrolled_gradient_is_that_of_finite_differences(name):
    solver = eqx.tree_at(lambda s: s.stop, SOLVERS[name], None)

    @jax.jit
    def cost(scale):
        at = landscape(scale * inputs()).nudge(targets(), 0.3)
        return jnp.sum(at.cost(ep.relax(at, solver).state))

    slope = jax.grad(cost)(1.0)
    difference = (cost(1 + 1e-6) - cost(1 - 1e-6)) / 2e-6
    assert abs(slope) > 1e-3
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


def test_relaxing_can_be_mapped():
    x = jnp.stack([inputs(2, seed=k) for k in range(3)])
    solver = ep.BlockCoordinate(max_steps=9)
    mapped = jax.vmap(lambda x: ep.relax(landscape(x), solver).state)(x)
    for k in range(3):
        expected = ep.relax(landscape(x[k]), solver).state
        for a, b in zip(mapped, expected, strict=True):
            np.testing.assert_allclose(a[k], b, atol=1e-14)


def test_a_start_at_the_equilibrium_stays_there():
    at = landscape(inputs())
    first = ep.relax(at, ep.BlockCoordinate(max_steps=60))
    again = ep.relax(at, SOLVERS["blocks"], first.state)
    np.testing.assert_array_equal(again.num_steps, 1)
    np.testing.assert_allclose(flat(again.state), flat(first.state), atol=1e-14)


def test_a_start_is_not_changed_by_relaxing_from_it():
    at = landscape(inputs())
    start = random_state(at)
    before = flat(start).copy()
    ep.relax(at, SOLVERS["euler"], start)
    np.testing.assert_array_equal(flat(start), before)


def test_new_numbers_do_not_retrace():
    traces = []

    def fn(state, x):
        traces.append(None)
        return -jnp.sum(state[0] * x) - 0.1 * jnp.sum(state[0] * state[1])

    energy = ep.FunctionEnergy(
        fn, init=lambda x: (0 * x, 0 * x), output=lambda s: s[1], units=ep.HardSigmoid()
    )
    model = ep.Model(energy, ep.SquaredError())
    y = jnp.zeros((3, 5))

    def stop(k: int) -> ep.Tolerance:
        return ep.Tolerance(10.0**-k, rtol=10.0 ** -(k + 1))

    families = [
        lambda k: ep.Euler(step_size=0.1 * k, stop=stop(k), certify=0.1**k),
        lambda k: ep.FixedPoint(damping=0.2 * k, stop=stop(k), certify=0.1**k),
        lambda k: ep.BlockCoordinate(relaxation=0.5 * k, stop=stop(k), certify=0.1**k),
        lambda k: ep.AdaptiveEuler(step_size=0.3 * k, stop=stop(k), certify=0.1**k),
    ]
    for make in families:
        counts = []
        for k in (1, 2, 3):
            at = ep.Landscape(model, (k + 1) * inputs()).nudge(y, 0.1 * k)
            traces.clear()
            ep.relax(at, make(k), throw=False)
            counts.append(len(traces))
        # The first call compiles; a whole number is a number like any other.
        assert counts[0] > 0
        assert counts[1:] == [0, 0]
    at = ep.Landscape(model, inputs()).nudge(y, 1)
    traces.clear()
    ep.relax(at, ep.Euler(step_size=1, stop=ep.Tolerance(1, 0), certify=1), throw=False)
    assert traces == []
