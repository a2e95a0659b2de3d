"""Recurrent back-propagation, term by term, against unrolling and the implicit sum."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


# One case for each solver whose steps have no memory, and a kind of unit for each.
NAMES = {
    "sweeps": "one hidden layer",
    "steps of the leaky integrator": "own energy",
    "damped activations": "sigmoid units",
}


def steady(name: str):
    """A case and its equilibrium."""
    case = h.CASES[NAMES[name]]()
    return case, *h.settled(case)


@pytest.mark.parametrize(
    "name, terms", [*((name, 3) for name in NAMES), ("sweeps", 1), ("sweeps", 5)]
)
def test_terms_of_the_series_are_unrolled_steps_at_the_steady_state(name, terms):
    case, _, state = steady(name)
    series = ep.RecurrentBackprop(case.solver, terms)
    unrolled = ep.BackpropThroughTime(case.solver, terms)
    outcome, summed = h.estimate(series, case.model, case.x, case.y, state0=state)
    truncated = h.gradient(unrolled, case, state0=state)
    # Round-off, and a steady state to 1e-15.
    assert h.error(summed, truncated) < 1e-12
    # It is another number than the whole sum.
    assert np.max(outcome.nudged[0].residual) > 1e-6
    np.testing.assert_array_equal(outcome.nudged[0].num_steps, terms)


@pytest.mark.parametrize("name", NAMES)
def test_all_terms_are_the_implicit_gradient(name):
    case = h.CASES[NAMES[name]]()
    outcome, summed = h.estimate(
        ep.RecurrentBackprop(case.solver, 200), case.model, case.x, case.y
    )
    assert np.all(outcome.nudged[0].converged)
    implicit = ep.ImplicitDifferentiation(case.solver)
    assert h.error(summed, h.gradient(implicit, case)) < 1e-12


def test_of_sweeps_whose_factor_falls_it_is_that_of_a_whole_one():
    case, _, state = steady("sweeps")
    stays = dataclasses.replace(case.solver, relaxation=jnp.asarray(1.4))
    falls = dataclasses.replace(stays, falls_over=jnp.asarray(7.0))
    wanted, found = (
        h.gradient(ep.RecurrentBackprop(solver, 3), case, state0=state)
        for solver in (stays, falls)
    )
    assert h.error(found, wanted) < 1e-12


def test_terms_are_the_derivatives_that_unrolling_has_at_each_time():
    case, landscape, state = steady("steps of the leaky integrator")
    step = case.solver.step_size

    @jax.jit
    def unrolled(state):
        """∂L/∂s_{T−t}, through t steps that end at the equilibrium."""

        def loss(state, count):
            for _ in range(count):
                force = landscape.force(state)
                state = jax.tree.map(lambda s, f: s + step * f, state, force)
            return jnp.mean(landscape.cost(state, case.y))

        return [jax.grad(loss)(state, count) for count in range(4)]

    @jax.jit
    def sums(state):
        """The series' partial sums, from none to four terms."""
        bare = ep.Landscape(case.model.energy, case.x)
        free = ep.relax(bare, case.solver, state, throw=False)
        cotangent = jax.grad(lambda s: jnp.mean(landscape.cost(s, case.y)))(state)
        found = [jax.tree.map(jnp.zeros_like, state)]
        for count in range(1, 5):
            method = ep.RecurrentBackprop(case.solver, count)
            phases, _, _ = method.pull_back(bare, free, cotangent)
            found.append(phases[0].state)
        return found

    partial, expected = sums(state), unrolled(state)
    terms = [h.flat(b) - h.flat(a) for a, b in zip(partial, partial[1:], strict=False)]
    for term, derivative in zip(terms, expected, strict=True):
        np.testing.assert_allclose(term, h.flat(derivative), atol=1e-14)
    assert np.linalg.norm(terms[3]) > 1e-3

    # The second phase of EP starts with the same: its velocity over β is −ε δ_t.
    beta = 1e-6
    nudged = landscape.nudge(case.y, beta)
    moving = ep.relax(
        nudged,
        dataclasses.replace(case.solver, max_steps=4),
        state,
        observe=lambda _, s: s,
        throw=False,
    ).observations
    path = [h.flat(jax.tree.map(lambda s, t=t: s[t], moving)) for t in range(5)]
    for t, term in enumerate(terms):
        velocity = (path[t + 1] - path[t]) / beta
        # The terms are those of a mean of four.
        np.testing.assert_allclose(velocity, -4 * step * term, atol=1e-5)


def saddle(params, state, x):
    return 0.5 * jnp.sum(x * state**2) - params @ state


def saddle_case(spectra) -> tuple[h.Case, jax.Array]:
    """½ Σ x_k s_k² − b·s, and where its slope is 0."""
    x = jnp.asarray(spectra)
    b = jnp.asarray([0.3, -0.2])
    energy = ep.FunctionEnergy(
        saddle, b, init=lambda x: jnp.zeros(2), output=lambda s: s
    )
    solver = ep.Euler(step_size=0.5, max_steps=40)
    case = h.Case(ep.Model(energy, ep.SquaredError()), solver, x, jnp.ones_like(x))
    return case, b[None] / x


def test_the_series_is_measured_and_stopped_example_by_example():
    # Terms shrink by 1 − x/2 a step: by ½ in one example, by 0.9 in the other.
    case, state = saddle_case([[1.0, 1.0], [0.2, 0.2]])
    cut = ep.RecurrentBackprop(case.solver, 20)
    cut = h.estimate(cut, case.model, case.x, case.y, state0=state)[0].nudged[0]
    # The size of the first term left out, of a first one scaled to 1.
    np.testing.assert_allclose(cut.residual, [0.5**20, 0.9**20], rtol=1e-12)
    np.testing.assert_array_equal(cut.converged, [True, False])
    early = cut.result == ep.RESULTS.steps_completed
    np.testing.assert_array_equal(early, [False, True])

    stop = ep.Tolerance(1e-3)
    stopped = ep.RecurrentBackprop(case.solver, 40, stop)
    found = h.estimate(stopped, case.model, case.x, case.y, state0=state)[0].nudged[0]
    # 0.5¹⁰ < 1e-3 < 0.5⁹; 0.9⁴⁰ is 1.5e-2.
    np.testing.assert_array_equal(found.num_steps, [10, 40])
    np.testing.assert_allclose(found.residual, [0.5**10, 0.9**40], rtol=1e-12)
    missed = found.result == ep.RESULTS.max_steps_reached
    np.testing.assert_array_equal(missed, [True, True])
    # Alone, an example does the same.
    twice = case._replace(x=case.x[:1].repeat(2, 0))
    found = h.estimate(
        stopped, case.model, twice.x, case.y, state0=state[:1].repeat(2, 0)
    )
    alone = found[0].nudged[0]
    np.testing.assert_array_equal(alone.num_steps, [10, 10])
    np.testing.assert_allclose(alone.residual, 0.5**10, rtol=1e-12)

    loose = ep.RecurrentBackprop(case.solver, 40, ep.Tolerance(1e-3), certify=2e-3)
    found = h.estimate(loose, case.model, case.x, case.y, state0=state)[0].nudged[0]
    np.testing.assert_array_equal(found.converged, [True, False])


def test_a_series_that_the_solver_would_leave_is_reported_as_diverged():
    # At a saddle a step is repelled by 1.5: 1.5¹⁰⁰ = 4e17.
    case, state = saddle_case([[1.0, -1.0], [1.0, 1.0]])
    method = ep.RecurrentBackprop(case.solver)
    outcome, _ = h.estimate(method, case.model, case.x, case.y, state0=state)
    np.testing.assert_array_equal(outcome.free.converged, [True, True])
    series = outcome.nudged[0]
    np.testing.assert_array_equal(series.result == ep.RESULTS.diverged, [True, False])
    np.testing.assert_array_equal(series.converged, [False, True])


def test_solvers_with_a_memory_are_refused():
    case, _ = saddle_case([[1.0, 1.0]])
    method = ep.RecurrentBackprop(ep.AdaptiveEuler())
    with pytest.raises(ValueError, match=r"`AdaptiveEuler`, whose.*memory.*Euler\("):
        method.value_and_grad(case.model, case.x, case.y)


def test_truncation_leaves_the_cost_and_the_states_as_they_are():
    case = h.CASES["one hidden layer"]()
    short = dataclasses.replace(case.solver, max_steps=6)
    whole, grad = h.estimate(ep.BackpropThroughTime(short), case.model, case.x, case.y)
    cut, part = h.estimate(ep.BackpropThroughTime(short, 4), case.model, case.x, case.y)
    np.testing.assert_allclose(h.flat(cut.free.state), h.flat(whole.free.state))
    np.testing.assert_allclose(cut.free.residual, whole.free.residual, rtol=1e-12)
    np.testing.assert_array_equal(cut.free.num_steps, 6)
    assert float(cut.cost) == pytest.approx(float(whole.cost), rel=1e-14)
    assert h.error(part, grad) > 1e-6


def test_truncation_at_all_steps_leaves_out_the_start_alone():
    case = h.CASES["own energy"]()
    short = dataclasses.replace(case.solver, max_steps=3)
    grads = [
        h.gradient(ep.BackpropThroughTime(short, count), case) for count in (None, 3)
    ]
    # It rests at zero, whatever the parameters.
    assert h.error(*grads) < 1e-14


@pytest.mark.parametrize("truncate", [0, -1, 41, True])
def test_truncations_out_of_range_are_refused(truncate):
    with pytest.raises(ValueError, match=r"`truncate`.*integer from 1 to 40"):
        ep.BackpropThroughTime(ep.BlockCoordinate(max_steps=40), truncate)


@jax.custom_vjp
def squashed(h):
    return jnp.sum(jnp.tanh(h))


def slope_of_squashed(h):
    return 1 - jnp.tanh(h) ** 2


squashed.defvjp(lambda h: (squashed(h), h), lambda h, g: (g * slope_of_squashed(h),))


@jax.custom_vjp
def outside(h):
    return jnp.sum(jnp.tanh(h))


def called_back(h, g):
    struct = jax.ShapeDtypeStruct(h.shape, h.dtype)
    slope = jax.pure_callback(
        lambda h: 1 - np.tanh(h) ** 2, struct, h, vmap_method="expand_dims"
    )
    return (g * slope,)


outside.defvjp(lambda h: (outside(h), h), called_back)


def field_case(field) -> h.Case:
    def energy(weight, state, x):
        return 0.5 * state @ state - field(weight @ x) * 0.1 - field(weight @ state)

    made = ep.FunctionEnergy(
        energy,
        0.3 * h.normal(0, 3, 3),
        init=lambda x: jnp.zeros(3),
        output=lambda s: s,
    )
    model = ep.Model(made, ep.SquaredError())
    return h.Case(model, ep.Euler(step_size=0.5, max_steps=100), *h.batch(3, 3))


REFERENCES = [ep.ImplicitDifferentiation, ep.RecurrentBackprop, ep.BackpropThroughTime]


@pytest.mark.parametrize("kind", REFERENCES)
def test_an_energy_without_a_second_derivative_is_refused(kind):
    case = field_case(outside)
    method = kind(case.solver)
    message = rf"`{kind.__name__}` needs the second.*energy.*allbacks.*Centered"
    with pytest.raises(ValueError, match=message):
        method.value_and_grad(case.model, case.x, case.y)

    def loss(energy):
        return jnp.sum(method.equilibrium(energy, case.x).state)

    with pytest.raises(ValueError, match=message):
        eqx.filter_grad(loss)(case.model.energy)


def test_what_its_error_advises_works():
    case = field_case(outside)
    plain = field_case(lambda h: jnp.sum(jnp.tanh(h)))
    grads = [h.nudged(ep.Centered(0.1), c) for c in (case, plain)]
    assert h.error(*grads) < 1e-12


def test_a_derivative_written_by_hand_is_differentiated():
    # In reverse mode alone: JAX refuses such functions in forward mode.
    case = field_case(squashed)
    plain = field_case(lambda h: jnp.sum(jnp.tanh(h)))
    grads = [h.gradient(ep.ImplicitDifferentiation(c.solver), c) for c in (case, plain)]
    assert h.error(*grads) < 1e-13
