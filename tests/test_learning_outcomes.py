"""A phase that fails is seen; new numbers don't compile anew."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from compiling import compiling
from eqprop.relaxation.samplers._walls import walls


def phase_results(phase: ep.Equilibrium) -> list[ep.RESULTS]:
    members = (
        ep.RESULTS.converged,
        ep.RESULTS.steps_completed,
        ep.RESULTS.max_steps_reached,
        ep.RESULTS.diverged,
        ep.RESULTS.nonfinite,
    )
    found = []
    for k in range(len(phase.residual)):
        found += [m for m in members if bool((phase.result == m)[k])]
    return found


def outcome_of(method, case: h.Case) -> ep.Outcome:
    return h.estimate(method, case.model, case.x, case.y)[0]


def test_a_nudge_without_minimum_is_seen_in_its_phase_alone():
    case = h.mlp([5, 6, 3], solver=ep.BlockCoordinate(max_steps=60))
    # 1 − β < 0: the linear output's curvature under the negative nudge.
    outcome = outcome_of(ep.EquilibriumProp(ep.Centered(1.5), case.solver), case)
    up, down = outcome.nudged
    assert phase_results(down) == [ep.RESULTS.nonfinite] * 4
    assert not np.any(down.converged)
    for phase in (outcome.free, up):
        assert phase_results(phase) == [ep.RESULTS.converged] * 4
        assert np.all(phase.converged)
    assert np.isfinite(float(outcome.cost))


def test_a_nudge_without_minimum_diverges_under_small_steps():
    case = h.mlp([5, 6, 3])
    solver = ep.Euler(step_size=0.5, max_steps=400)
    outcome = outcome_of(ep.EquilibriumProp(ep.OneSided(-1.5), solver), case)
    assert phase_results(outcome.nudged[0]) == [ep.RESULTS.diverged] * 4
    assert not np.any(outcome.nudged[0].converged)
    assert np.all(outcome.free.converged)


def test_too_few_steps_are_seen_in_the_phase_that_had_them():
    case = h.mlp([5, 6, 5, 3])
    few = ep.BlockCoordinate(max_steps=1, certify=1e-6)
    enough = ep.BlockCoordinate(max_steps=150, certify=1e-6)
    nudging = ep.Centered(0.3)
    outcome = outcome_of(ep.EquilibriumProp(nudging, enough, few), case)
    assert np.all(outcome.free.converged)
    for phase in outcome.nudged:
        assert phase_results(phase) == [ep.RESULTS.steps_completed] * 4
        assert np.all(phase.residual > 1e-6)
        assert not np.any(phase.converged)
        np.testing.assert_array_equal(phase.num_steps, 1)
    outcome = outcome_of(ep.EquilibriumProp(nudging, few, enough), case)
    assert phase_results(outcome.free) == [ep.RESULTS.steps_completed] * 4
    assert np.all(outcome.free.residual > 1e-6)
    assert all(np.all(phase.converged) for phase in outcome.nudged)


def test_a_missed_tolerance_is_seen_in_the_nudged_phase():
    case = h.mlp([5, 6, 5, 3])
    few = ep.BlockCoordinate(max_steps=2, stop=ep.Tolerance(1e-12), certify=1e-9)
    method = ep.EquilibriumProp(ep.OneSided(0.3), case.solver, few)
    (phase,) = outcome_of(method, case).nudged
    assert phase_results(phase) == [ep.RESULTS.max_steps_reached] * 4


def test_one_bad_example_is_seen_as_that_one():
    case = h.mlp([5, 6, 3])
    bad = case._replace(y=case.y.at[2].set(jnp.nan))
    outcome = outcome_of(ep.EquilibriumProp(ep.Centered(0.3), case.solver), bad)
    assert np.all(outcome.free.converged)
    for phase in outcome.nudged:
        np.testing.assert_array_equal(phase.converged, [True, True, False, True])
        assert phase_results(phase)[2] == ep.RESULTS.nonfinite


def test_outcomes_hold_the_free_phase_and_its_cost():
    case = h.mlp([5, 6, 5, 3])
    landscape = ep.Landscape(case.model, case.x)
    free = ep.relax(landscape, case.solver)
    cost = 0.5 * np.mean(np.sum((np.asarray(free.state[-1]) - case.y) ** 2, axis=1))
    for method in (
        ep.EquilibriumProp(ep.OneSided(0.3), case.solver),
        ep.EquilibriumProp(ep.Clamped(), case.solver),
        ep.BackpropThroughTime(case.solver),
    ):
        outcome = outcome_of(method, case)
        assert float(outcome.cost) == pytest.approx(float(cost), rel=1e-12)
        for ours, theirs in zip(outcome.free.state, free.state, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
        assert bool(jnp.all(outcome.free.converged))


def test_the_free_phase_starts_where_it_is_told():
    case = h.mlp([5, 6, 5, 3])
    start = ep.relax(ep.Landscape(case.model, case.x), case.solver).state
    one = ep.BlockCoordinate(max_steps=1, certify=1e-10)
    for method in (
        ep.EquilibriumProp(ep.OneSided(0.3), one),
        ep.BackpropThroughTime(one),
    ):
        warm, _ = h.estimate(method, case.model, case.x, case.y, state0=start)
        cold, _ = h.estimate(method, case.model, case.x, case.y)
        assert np.all(warm.free.converged)
        assert not np.any(cold.free.converged)


def block(**options):
    return ep.BlockCoordinate(max_steps=5, stop=ep.Tolerance(), **options)


# Methods that differ in numbers alone.
ALIKE = {
    "beta": [ep.EquilibriumProp(ep.OneSided(b)) for b in (0.1, 1, -0.5)],
    "centered beta": [
        ep.EquilibriumProp(ep.Centered(b)) for b in (0.1, np.float32(0.5))
    ],
    "random beta": [ep.EquilibriumProp(ep.RandomSign(b)) for b in (0.1, 0.2)],
    "tolerance": [
        ep.EquilibriumProp(
            ep.Centered(0.2), ep.BlockCoordinate(max_steps=5, stop=ep.Tolerance(a, r))
        )
        for a, r in ((1e-4, 0.0), (1e-8, 1e-3), (0, 0))
    ],
    "relaxation": [
        ep.EquilibriumProp(ep.Centered(0.2), block(relaxation=w)) for w in (1.0, 1.5)
    ],
    "certify": [
        ep.EquilibriumProp(ep.Centered(0.2), block(certify=c)) for c in (1e-3, 1e-6)
    ],
    "step size": [
        ep.EquilibriumProp(ep.Centered(0.2), ep.Euler(step_size=e, max_steps=5))
        for e in (0.5, 0.1)
    ],
    "damping": [
        ep.EquilibriumProp(ep.Centered(0.2), ep.FixedPoint(damping=e, max_steps=5))
        for e in (0.5, 1)
    ],
    "unrolled": [
        ep.BackpropThroughTime(ep.Euler(step_size=e, max_steps=5)) for e in (0.5, 0.1)
    ],
}


def counting_step():
    traces = []

    @eqx.filter_jit
    def step(method, case, key):
        traces.append(method)
        _, grad = method.value_and_grad(case.model, case.x, case.y, key=key)
        return grad

    return step, traces


@pytest.mark.parametrize("name", ALIKE)
def test_new_numbers_and_seeds_do_not_compile_anew(name):
    case = h.mlp([5, 6, 3])._replace(solver=None)
    step, traces = counting_step()
    results = []
    for seed, method in enumerate(ALIKE[name]):
        results.append(h.flat(step(method, case, jax.random.key(seed))))
    assert len(traces) == 1
    if name not in ("certify", "tolerance"):
        # The new number took effect: it was not frozen at the first one.
        assert h.error(results[1], results[0]) > 1e-6


def test_the_trace_counter_counts():
    case = h.mlp([5, 6, 3])._replace(solver=None)
    step, traces = counting_step()
    for steps in (3, 4):
        solver = ep.BlockCoordinate(max_steps=steps)
        step(ep.EquilibriumProp(ep.Centered(0.2), solver), case, jax.random.key(0))
    assert len(traces) == 2


EAGER = {
    "nudged": lambda: ep.EquilibriumProp(ep.Centered(0.2), h.SWEEPS),
    "clamped": lambda: ep.EquilibriumProp(ep.Clamped(), h.SWEEPS),
    "implicit": lambda: ep.ImplicitDifferentiation(h.SWEEPS),
    "series": lambda: ep.RecurrentBackprop(h.SWEEPS),
    "unrolled": lambda: ep.BackpropThroughTime(ep.Euler(max_steps=5)),
    "continual": lambda: ep.ContinualEP(0.2, ep.Euler(max_steps=5)),
    "one-way synapses": lambda: ep.ClampedSTDP(ep.Euler(max_steps=5)),
    "sampled": lambda: ep.StochasticEP(
        ep.OneSided(0.2), ep.Langevin(0.1, 0.05, max_steps=5), samples=2
    ),
}


@pytest.mark.parametrize("name", EAGER)
def test_a_gradient_called_by_itself_is_one_program(name):
    case = h.mlp([5, 6, 3])
    key, method, other = jax.random.key(0), EAGER[name](), case.x + 0.1
    jax.clear_caches()
    # Samplers ask a unit, by its own projection of ±∞, where its walls are.
    walls(ep.HardSigmoid())
    with compiling() as names:
        method.value_and_grad(case.model, case.x, case.y, key=key)
    assert names == ["value_and_grad"]
    with compiling() as names:
        method.value_and_grad(case.model, other, case.y, key=key)
    assert not names
