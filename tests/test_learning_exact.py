"""Gradients against closed forms and dense linear solves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eqprop as ep
import helpers_learning as h
from oracles import implicit, quadratic


def chain_parameters(model):
    terms = [edge.interaction for edge in model.energy.edges]
    weights = [np.asarray(t.weight) for t in terms if isinstance(t, ep.Dense)]
    biases = [np.asarray(t.bias) for t in terms if isinstance(t, ep.Bias)]
    return weights, biases


@pytest.mark.parametrize("sizes", [[5, 3], [5, 6, 3], [5, 6, 5, 3], [8, 20, 15, 10, 4]])
def test_gradients_are_the_implicit_one_of_a_chain(sizes):
    case = h.mlp(sizes)
    x, y = np.asarray(case.x), np.asarray(case.y)
    expected = implicit.gradient(x, y, *chain_parameters(case.model))
    expected = h.flat([*expected[0], *expected[1]])
    unrolled = h.flat(chain_parameters(h.exact(case)))
    np.testing.assert_allclose(unrolled, expected, rtol=1e-8, atol=1e-10)
    # β² is 1e-8, round-off over β 1e-11.
    centered = h.flat(chain_parameters(h.nudged(ep.Centered(1e-4), case)))
    np.testing.assert_allclose(centered, expected, rtol=1e-5, atol=1e-7)


def implicit_gradient(case: h.Case, state):
    """∂C/∂θ − (∂²E/∂θ∂s) J⁻¹ ∂C/∂s of energies of smooth units without walls."""
    params, static = eqx.partition(case.model, eqx.is_inexact_array)

    def of_example(state, x, y):
        start, unravel = ravel_pytree(state)

        def energy(params, s):
            return eqx.combine(params, static).energy(unravel(s), x)

        def cost(params, s):
            model = eqx.combine(params, static)
            return model.cost(model.energy.output(unravel(s)), y)

        curvature = jax.hessian(energy, argnums=1)(params, start)
        adjoint = jnp.linalg.solve(curvature, jax.grad(cost, argnums=1)(params, start))

        def along(params):
            return cost(params, start) - jax.grad(energy, argnums=1)(
                params, start
            ) @ jax.lax.stop_gradient(adjoint)

        return jax.grad(along)(params)

    each = jax.jit(jax.vmap(of_example))(state, case.x, case.y)
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), each)


SMOOTH = [
    "sigmoid units",
    "tanh units",
    "hopfield, sigmoid",
    "hopfield, tanh",
    "own energy",
]


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_the_implicit_one_of_smooth_energies(name):
    case = h.CASES[name]()
    outcome, centered = h.run(ep.Centered(1e-4), case)
    expected = implicit_gradient(case, outcome.free.state)
    assert h.error(h.exact(case), expected) < 1e-8
    assert h.error(centered, expected) < 1e-5


def quadratic_energy(params, state, x):
    drive = params["b"] @ x + params["bias"]
    return 0.5 * state @ params["a"] @ state - state @ drive


def quadratic_case(a, p) -> tuple[h.Case, quadratic.Quadratic]:
    n = len(a)
    b, bias = np.asarray(h.normal(1, n, 4)), np.asarray(h.normal(2, n))
    params = {"a": jnp.asarray(a), "b": jnp.asarray(b), "bias": jnp.asarray(bias)}
    matrix = jnp.asarray(p)
    energy = ep.FunctionEnergy(
        quadratic_energy,
        params,
        init=lambda x: jnp.zeros(n),
        output=(lambda s: s) if np.array_equal(p, np.eye(n)) else lambda s: matrix @ s,
    )
    x, y = h.normal(3, 6, 4), h.normal(4, 6, len(p))
    solver = ep.Euler(step_size=0.4, max_steps=600, certify=1e-12)
    case = h.Case(ep.Model(energy, ep.SquaredError()), solver, x, y)
    return case, quadratic.Quadratic(np.asarray(a), b, bias, np.asarray(p))


@pytest.mark.parametrize("beta", [1.0, 0.5, 0.1, -0.5, -0.8])
def test_quadratic_bias_gradient_is_exact_in_beta(beta):
    case, _ = quadratic_case(np.eye(3), np.eye(3))
    params = case.model.energy.params
    free = case.x @ params["b"].T + params["bias"][None]
    miss = jnp.mean(free - case.y, axis=0)
    one_sided = h.nudged(ep.OneSided(beta), case).energy.params["bias"]
    np.testing.assert_allclose(one_sided, miss / (1 + beta), rtol=1e-12, atol=1e-12)
    if 0 < beta < 1:
        centered = h.nudged(ep.Centered(beta), case).energy.params["bias"]
        expected = miss / (1 - beta**2)
        np.testing.assert_allclose(centered, expected, rtol=1e-12, atol=1e-12)


def interacting(params, state, x):
    """The same energy without the ½s² that a linear unit brings."""
    return quadratic_energy(params, state, x) - 0.5 * state @ state


def test_quadratic_bias_gradient_is_exact_under_exact_minimization():
    case, _ = quadratic_case(np.eye(3), np.eye(3))
    energy = ep.FunctionEnergy(
        interacting,
        case.model.energy.params,
        init=lambda x: jnp.zeros(3),
        output=lambda s: s,
        units=ep.Linear(),
    )
    model = ep.Model(energy, ep.SquaredError())
    free = case.x @ energy.params["b"].T + energy.params["bias"][None]
    miss = jnp.mean(free - case.y, axis=0)
    method = ep.EquilibriumProp(
        ep.Centered(0.5), ep.FixedPoint(damping=0.6, max_steps=200, certify=1e-12)
    )
    grad = h.gradient(method, h.Case(model, case.solver, case.x, case.y))
    np.testing.assert_allclose(grad.energy.params["bias"], miss / 0.75, rtol=1e-12)


@pytest.mark.parametrize("beta", [0.5, 0.05])
@pytest.mark.parametrize("outputs", [5, 2])
def test_quadratic_estimates_are_the_closed_form(beta, outputs):
    root = np.asarray(h.normal(5, 5, 5)) / 4
    a = np.eye(5) + root @ root.T
    p = np.eye(5) if outputs == 5 else np.asarray(h.normal(6, 2, 5)) / 2
    case, oracle = quadratic_case(a, p)
    x, y = np.asarray(case.x), np.asarray(case.y)
    pairs = {
        ep.OneSided: oracle.contrast(x, y, beta, 0.0),
        ep.Centered: oracle.contrast(x, y, beta, -beta),
    }
    for nudging, expected in pairs.items():
        params = h.nudged(nudging(beta), case).energy.params
        for name in ("a", "b", "bias"):
            # Equilibria to 1e-15, over β.
            np.testing.assert_allclose(params[name], expected[name], atol=1e-12)
    params = h.exact(case).energy.params
    for name, expected in oracle.gradient(x, y).items():
        np.testing.assert_allclose(params[name], expected, atol=1e-12)
