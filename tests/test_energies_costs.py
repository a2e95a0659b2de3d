"""Costs against NumPy, and the curvature bounds that nudged minimization trusts."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep


def readout(inner: ep.AbstractCost, *, scale: float = 1.0, seed: int = 0) -> ep.Readout:
    rng = np.random.default_rng(seed)
    weight = jnp.asarray(scale * rng.normal(size=(4, 3)))
    return ep.Readout(inner, weight, jnp.asarray(rng.normal(size=3)))


COSTS = {
    "squared": ep.SquaredError(),
    "entropy": ep.CrossEntropy(),
    "squared readout": readout(ep.SquaredError()),
    "entropy readout": readout(ep.CrossEntropy(), scale=3.0),
}


def outputs(cost: ep.AbstractCost, count: int = 1, *, scale: float = 3.0) -> np.ndarray:
    size = 4 if isinstance(cost, ep.Readout) else 3
    return np.random.default_rng(5).normal(size=(count, size)) * scale


Y = np.array([0.0, 1.0, 0.0])


def test_squared_error_is_half_the_squared_distance():
    o = np.array([[0.5, -1.0], [2.0, 0.0]])
    y = np.array([[0.0, 1.0], [2.0, 3.0]])
    found = ep.SquaredError()(jnp.asarray(o), jnp.asarray(y))
    assert found == (0.25 + 4 + 0 + 9) / 2


def test_cross_entropy_is_the_log_probability_of_the_target():
    o = np.array([1.0, -2.0, 0.5])
    y = np.array([0.1, 0.7, 0.2])
    p = np.exp(o) / np.sum(np.exp(o))
    found = ep.CrossEntropy()(jnp.asarray(o), jnp.asarray(y))
    np.testing.assert_allclose(found, -np.sum(y * np.log(p)), rtol=1e-14)


def test_cross_entropy_of_huge_logits_is_finite():
    o = jnp.asarray([1e4, -1e4, 0.0])
    np.testing.assert_allclose(ep.CrossEntropy()(o, jnp.asarray(Y)), 2e4, rtol=1e-14)


@pytest.mark.parametrize("name", ["squared", "entropy"])
def test_a_readout_costs_what_its_inner_cost_says_of_the_affine_map(name):
    cost = readout(COSTS[name])
    o = outputs(cost)[0]
    z = o @ np.asarray(cost.weight) + np.asarray(cost.bias)
    expected = COSTS[name](jnp.asarray(z), jnp.asarray(Y))
    found = cost(jnp.asarray(o.reshape(2, 2)), jnp.asarray(Y))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_the_prediction_is_the_target_that_costs_least(cost):
    o = jnp.asarray(outputs(cost)[0])
    prediction = cost.predict(o)
    z = np.asarray(o)
    if isinstance(cost, ep.Readout):
        z = z @ np.asarray(cost.weight) + np.asarray(cost.bias)
        cost = cost.cost
    if isinstance(cost, ep.CrossEntropy):
        z = np.exp(z - np.max(z)) / np.sum(np.exp(z - np.max(z)))
    np.testing.assert_allclose(prediction, z, rtol=1e-12, atol=1e-15)


def test_class_probabilities_are_over_all_axes_of_the_output():
    o = jnp.asarray([[1.0, 2.0], [0.0, -1.0]])
    p = np.exp(o) / np.sum(np.exp(o))
    np.testing.assert_allclose(ep.CrossEntropy().predict(o), p, rtol=1e-14)


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
def test_the_slope_of_the_cost_pulls_toward_the_target(cost):
    o = outputs(cost)[0]
    slope = np.asarray(jax.grad(cost)(jnp.asarray(o), jnp.asarray(Y)))
    h = 1e-6
    for i in range(o.size):
        e = h * np.eye(o.size)[i]
        difference = cost(jnp.asarray(o + e), jnp.asarray(Y)) - cost(
            jnp.asarray(o - e), jnp.asarray(Y)
        )
        # Round-off of a central difference: eps·C/h with C of order 30.
        np.testing.assert_allclose(slope[i], difference / (2 * h), atol=1e-7)
    if not isinstance(cost, ep.Readout):
        np.testing.assert_allclose(
            slope, np.asarray(cost.predict(jnp.asarray(o))) - Y, atol=1e-14
        )


@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS)
@pytest.mark.parametrize("scale", [0.05, 0.5, 5.0])
def test_curvature_bounds_the_eigenvalues_of_the_hessian(cost, scale):
    low, high = (float(bound) for bound in cost.curvature())
    hessian = jax.jit(jax.hessian(cost))
    for o in outputs(cost, 50, scale=scale):
        eigenvalues = np.linalg.eigvalsh(hessian(jnp.asarray(o), jnp.asarray(Y)))
        assert np.min(eigenvalues) >= low - 1e-12
        assert np.max(eigenvalues) <= high + 1e-12


def test_curvature_bounds_are_not_vacuous():
    assert ep.SquaredError().curvature() == (1, 1)
    # Two equally likely classes: diag(½, ½) − ¼ has the eigenvalue ½.
    hessian = jax.hessian(ep.CrossEntropy())(jnp.asarray([50.0, 50.0, 0.0]), Y)
    top = np.linalg.eigvalsh(hessian)[-1]
    np.testing.assert_allclose(top, ep.CrossEntropy().curvature()[1], rtol=1e-12)
    # A readout with orthogonal columns of length 2 has ‖W‖² = 4.
    weight = 2 * jnp.eye(4)[:, :3]
    cost = ep.Readout(ep.SquaredError(), weight, jnp.zeros(3))
    assert float(cost.curvature()[1]) == 4


@pytest.mark.parametrize(
    "cost, output, y, problem",
    [
        (COSTS["squared"], (3,), (2,), r"targets of shape \(2,\) .* outputs .*\(3,\)"),
        (COSTS["entropy"], (3,), (), r"targets of shape \(\) do not fit"),
        (COSTS["squared readout"], (5,), (3,), r"\(4, 3\) does not fit .*\(5,\)"),
        (COSTS["squared readout"], (4,), (4,), r"targets of shape \(4,\) .*\(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_described(cost, output, y, problem):
    assert re.search(problem, cost.check(output, y))


@pytest.mark.parametrize(
    "cost, output",
    [(COSTS["squared"], (3,)), (COSTS["entropy"], (3,))]
    + [(COSTS["squared readout"], shape) for shape in [(4,), (2, 2)]],
)
def test_shapes_that_fit_are_fine(cost, output):
    assert cost.check(output, (3,)) is None
