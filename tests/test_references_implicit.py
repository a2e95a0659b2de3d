"""The implicit gradient against finite differences, the oracle and unrolling."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from oracles import implicit


@eqx.filter_jit
def differentiated(method, model, x, y):
    """An outcome, the gradient, and the gradient in the inputs."""
    outcome, grad = method.value_and_grad(model, x, y)
    landscape = ep.Landscape(model, x)
    cotangent = jax.grad(lambda s: jnp.mean(landscape.cost(s, y)))(outcome.free.state)
    bare = ep.Landscape(model.energy, x)
    _, _, x_bar = method.pull_back(bare, outcome.free, cotangent)
    return outcome, grad, x_bar


def settled_reference(case: h.Case):
    found = differentiated(
        ep.ImplicitDifferentiation(case.solver), case.model, case.x, case.y
    )
    for phase in (found[0].free, *found[0].nudged):
        assert bool(jnp.all(phase.converged))
    return found


def chain_parameters(model) -> list:
    terms = [edge.interaction for edge in model.energy.edges]
    weights = [t.weight for t in terms if isinstance(t, ep.Dense)]
    return [*weights, *(t.bias for t in terms if isinstance(t, ep.Bias))]


def test_the_gradient_of_a_chain_is_the_dense_solve_in_numpy():
    case = h.mlp([8, 20, 15, 10, 4])
    parameters = [np.asarray(a) for a in chain_parameters(case.model)]
    weights, biases = parameters[:4], parameters[4:]
    x, y = np.asarray(case.x), np.asarray(case.y)
    expected = implicit.gradient(x, y, weights, biases)
    found = h.flat(chain_parameters(settled_reference(case)[1]))
    # Both settle to 1e-15.
    np.testing.assert_allclose(
        found, h.flat([*expected[0], *expected[1]]), rtol=1e-11, atol=1e-13
    )


@pytest.mark.parametrize("name", h.CASES)
def test_the_gradient_is_the_slope_of_the_cost_settled_anew(name):
    case = h.CASES[name]()
    _, grad, x_bar = settled_reference(case)
    parameters = eqx.filter(case.model, eqx.is_inexact_array)
    assert jax.tree.structure(grad) == jax.tree.structure(parameters)
    rng = np.random.default_rng(0)
    step = 1e-5
    for part in (0, 1, 0, 1):
        # Along parameters and inputs by turns, each at its own scale.
        drawn = jax.tree.map(
            lambda a: rng.normal(size=a.shape), (parameters, case.x)[part]
        )
        costs = []
        for size in (step, -step):
            moved = jax.tree.map(
                # In NumPy, which compiles nothing.
                lambda a, d, size=size: jnp.asarray(np.asarray(a) + size * d),
                (parameters, case.x)[part],
                drawn,
            )
            there = {"x": moved} if part else {"model": eqx.combine(moved, case.model)}
            costs.append(float(settled_reference(case._replace(**there))[0].cost))
        slope = (costs[0] - costs[1]) / (2 * step)
        wanted = h.flat((grad, x_bar)[part])
        # The directions' length cubed times step² is 1e-7, round-off over it 1e-10.
        size = np.linalg.norm(wanted)
        assert wanted @ h.flat(drawn) == pytest.approx(slope, abs=1e-6 * size)


@pytest.mark.parametrize("name", ["skips", "hopfield, clip", "readout of logits"])
def test_the_gradient_is_that_of_unrolling_to_the_equilibrium(name):
    case = h.CASES[name]()
    # Both settle to 1e-12.
    assert h.error(settled_reference(case)[1], h.exact(case)) < 1e-11


def test_the_adjoint_is_minus_the_response_to_the_nudge():
    case = h.CASES["two hidden layers"]()
    adjoint = settled_reference(case)[0].nudged[0].state
    beta = 1e-5
    up, down = (h.settled(case, b)[1] for b in (beta, -beta))
    response = (h.flat(up) - h.flat(down)) / (2 * beta)
    # The adjoint is that of a mean over four examples. β² is 1e-10, round-off over β
    # 1e-10.
    np.testing.assert_allclose(h.flat(adjoint), -response / 4, atol=1e-8)
    assert np.max(np.abs(response)) > 0.1


def test_saturated_units_have_no_adjoint():
    case = h.CASES["three hidden layers"]()
    adjoint = settled_reference(case)[0].nudged[0].state
    at_wall = h.walls(case, h.settled(case)[1]) != 0
    assert 3 < np.sum(at_wall) < 60
    assert np.all(h.flat(adjoint)[at_wall] == 0)
    assert np.all(h.flat(adjoint)[~at_wall] != 0)


class Box(ep.AbstractUnit):
    """No potential, on [0, 1]."""

    @property
    def curvature(self):
        return (0.0, 0.0)

    @property
    def analytic(self):
        return False

    def potential(self, s):
        return jnp.zeros((), s.dtype)

    def activate(self, drive):
        raise AssertionError("a unit without potential has no activation")

    def project(self, s):
        return jnp.where(s < 0, 0.0, jnp.where(s > 1, 1.0, s))

    def saturated(self, s):
        return (s <= 0) | (s >= 1)


def walled_energy(params, state, x):
    return 0.5 * jnp.sum((state - params @ x) ** 2)


def test_walls_of_units_without_potential_stop_the_adjoint():
    # s = clip(Wx, 0, 1): dL/dW = (s − y)xᵀ where 0 < Wx < 1.
    weight, (x, y) = 1.2 * h.normal(0, 3, 5), h.batch(5, 3)
    energy = ep.FunctionEnergy(
        walled_energy,
        weight,
        init=lambda x: jnp.zeros(3),
        output=lambda s: s,
        units=Box(),
    )
    case = h.Case(ep.Model(energy, ep.SquaredError()), h.EULER, x, y)
    _, grad, _ = settled_reference(case)
    goal = np.asarray(x @ weight.T)
    inside = (goal > 0) & (goal < 1)
    assert 2 < np.sum(inside) < 10
    miss = np.where(inside, goal - np.asarray(y), 0)
    np.testing.assert_allclose(
        grad.energy.params, miss.T @ np.asarray(x) / 4, atol=1e-13
    )


def test_a_bare_reference_settles_well_and_needs_no_options():
    case = h.CASES["two hidden layers"]()
    outcome, grad = h.estimate(ep.ImplicitDifferentiation(), case.model, case.x, case.y)
    assert bool(jnp.all(outcome.free.converged))
    # It stops at a change of 1e-6.
    assert h.error(grad, settled_reference(case)[1]) < 1e-5
