"""How a relaxation says that it failed: for each example, and aloud."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import flat, inputs, network, well


SOLVERS = [
    ep.Euler(step_size=0.5, max_steps=60, stop=ep.Tolerance(1e-6)),
    ep.AdaptiveEuler(max_steps=60, stop=ep.Tolerance(1e-6)),
    ep.FixedPoint(damping=0.5, max_steps=60, stop=ep.Tolerance(1e-6)),
    ep.BlockCoordinate(relaxation=1.3, max_steps=60, stop=ep.Tolerance(1e-6)),
]


def landscape(x: jax.Array) -> ep.Landscape:
    return ep.Landscape(network("skip"), x)


@pytest.mark.parametrize("stop", [None, ep.Tolerance(1e9), ep.Tolerance(0.0)])
def test_converged_compares_the_final_residual_with_certify(stop):
    # Residuals after n steps of ½: |x|·2^−n. A tolerance of 10⁹ stops at once.
    x = jnp.asarray([[1.0], [64.0]])
    steps = 1 if stop is not None and stop.atol > 1 else 6
    residual = np.array([1.0, 64.0]) * 2.0**-steps
    unfinished = (
        ep.RESULTS.steps_completed if stop is None else (ep.RESULTS.max_steps_reached)
    )
    for certify in (2.0**-6, 0.5, 1.0, 100.0):
        solver = ep.Euler(step_size=0.5, max_steps=6, stop=stop, certify=certify)
        found = ep.relax(ep.Landscape(well(1.0), x), solver, throw=False)
        np.testing.assert_array_equal(found.residual, residual)
        np.testing.assert_array_equal(found.converged, residual <= certify)
        converged = found.result == ep.RESULTS.converged
        np.testing.assert_array_equal(converged, residual <= certify)
        np.testing.assert_array_equal(found.result == unfinished, residual > certify)


def test_steps_completed_is_no_failure_but_a_missed_tolerance_is():
    at = ep.Landscape(well(1.0), jnp.ones((2, 1)))
    found = ep.relax(at, ep.Euler(step_size=0.5, max_steps=3))
    assert not np.any(found.converged)
    with pytest.raises(ep.RelaxationError, match="not reached within `max_steps`"):
        ep.relax(at, ep.Euler(step_size=0.5, max_steps=3, stop=ep.Tolerance(1e-9)))
    # One that was met is no certificate.
    with pytest.raises(ep.RelaxationError, match="or is no smaller than `certify`"):
        ep.relax(at, ep.Euler(step_size=0.5, max_steps=3, stop=ep.Tolerance(1.0)))
    # A tolerance that was missed is no failure of a state that is certified.
    found = ep.relax(at, ep.Euler(step_size=0.5, max_steps=30, stop=ep.Tolerance(0.0)))
    assert np.all(found.converged)


def test_an_energy_without_a_minimum_is_reported_as_diverged():
    # s doubles each step from its start, toward 2⁴⁰ > 10⁶; the second stays at rest.
    at = ep.Landscape(well(-2.0), jnp.zeros((2, 1)))
    start = jnp.asarray([[1.0], [0.0]])
    solver = ep.Euler(step_size=0.5, max_steps=40)
    found = ep.relax(at, solver, start, throw=False)
    np.testing.assert_array_equal(found.result == ep.RESULTS.diverged, [True, False])
    np.testing.assert_array_equal(found.converged, [False, True])
    assert float(found.state[0, 0]) == 2.0**40
    with pytest.raises(
        ep.RelaxationError,
        match=r"1 of 2 examples.*first is example 0.*grew without bound.*throw=False",
    ):
        ep.relax(at, solver, start)
    # In time it overflows; that is reported, and ends a loop that can stop.
    stopping = ep.Euler(step_size=0.5, max_steps=5000, stop=ep.Tolerance())
    found = ep.relax(at, stopping, start, throw=False)
    np.testing.assert_array_equal(found.result == ep.RESULTS.nonfinite, [True, False])
    assert int(found.num_steps[0]) < 1100


def test_nan_is_reported_with_the_index_of_the_first_example():
    x = inputs(4).at[2].set(jnp.nan)
    for solver in SOLVERS:
        with pytest.raises(ep.RelaxationError, match="first is example 2.*NaN"):
            ep.relax(landscape(x), solver)
    found = ep.relax(landscape(x), SOLVERS[-1], throw=False)
    np.testing.assert_array_equal(found.converged, [True, True, False, True])
    # And it doesn't make the others wait for all the steps.
    assert int(found.num_steps[2]) <= 2


def test_the_worst_result_is_that_of_any_example():
    at = ep.Landscape(well(-2.0), jnp.zeros((3, 1)))
    solver = ep.Euler(step_size=0.5, max_steps=40)

    def worst(*starts):
        start = jnp.asarray(starts)[:, None]
        return ep.relax(at, solver, start, throw=False).worst()

    assert worst(0.0, 0.0, 0.0) == ep.RESULTS.converged
    assert worst(0.0, 1e-12, 0.0) == ep.RESULTS.steps_completed
    assert worst(1e-12, 0.0, 1.0) == ep.RESULTS.diverged
    assert worst(jnp.nan, 0.0, 1.0) == ep.RESULTS.nonfinite


def test_a_failure_inside_jit_raises_when_it_runs():
    @eqx.filter_jit
    def run(at, throw):
        return ep.relax(at, ep.Euler(step_size=0.5, max_steps=60), throw=throw).state

    good, bad = inputs(), inputs().at[1].set(jnp.nan)
    np.testing.assert_array_equal(
        flat(run(landscape(good), True)), flat(run(landscape(good), False))
    )
    assert np.isnan(flat(run(landscape(bad), False))[1]).any()
    with pytest.raises(RuntimeError, match="became NaN or infinite"):
        jax.block_until_ready(run(landscape(bad), True))


def test_a_failure_inside_jit_raises_whatever_is_read():
    # An error tied to the state alone is compiled away where only this is returned.
    @eqx.filter_jit
    def residual(at):
        return ep.relax(at, ep.Euler(max_steps=60)).residual

    bad = inputs().at[1].set(jnp.nan)
    with pytest.raises(RuntimeError, match="became NaN or infinite"):
        jax.block_until_ready(residual(landscape(bad)))


def test_an_equilibrium_far_out_is_no_divergence():
    at = ep.Landscape(well(1.0), jnp.asarray([[3e6]]))
    found = ep.relax(at, ep.Euler(step_size=1.0, max_steps=2), throw=False)
    np.testing.assert_array_equal(found.residual, 0)
    assert np.all(found.converged)
    assert np.all(found.result == ep.RESULTS.converged)


def test_a_state_that_ran_away_is_not_certified():
    # A constant force of −1. Past 2²⁴ float32 has no s − 1 but s itself.
    slope = ep.FunctionEnergy(
        lambda params, s, x: jnp.sum(params * s),
        jnp.ones((), jnp.float32),
        init=lambda x: jnp.zeros(2, jnp.float32),
        output=lambda s: s,
    )
    at = ep.Landscape(slope, jnp.zeros((1, 1), jnp.float32))
    for size in (1e3, 1e8):
        residual = at.residual(jnp.full((1, 2), -size, jnp.float32))
        np.testing.assert_array_equal(residual, 1)
    found = ep.relax(at, ep.AdaptiveEuler(), throw=False)
    assert not np.any(found.converged)
    assert found.worst() == ep.RESULTS.diverged
