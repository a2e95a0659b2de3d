"""A unit is its potential on its feasible set: the rest follows."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.optimize import minimize, minimize_scalar

import eqprop as ep
from helpers import CURVED, half_square, QUADRATIC, SEPARABLE, softmax, UNITS


DRIVES = np.array([-3.0, -0.7, -1e-3, 0.0, 0.3, 0.5, 0.99, 1.4, 2.6])
vectors = st.lists(st.floats(-5, 5, allow_subnormal=False), min_size=4, max_size=4).map(
    np.array
)


def interior(case) -> np.ndarray:
    low, high = max(case.low, -3.0), min(case.high, 3.0)
    return low + (high - low) * np.linspace(0.01, 0.99, 41)


@pytest.mark.parametrize("case", SEPARABLE.values(), ids=SEPARABLE)
def test_potential_is_the_formula_summed_over_the_layer(case):
    s = np.concatenate([interior(case), [w for w in case[1:3] if math.isfinite(w)]])
    s = s.reshape(1, -1)
    # Round-off of some forty terms of order one.
    np.testing.assert_allclose(
        case.unit.potential(jnp.asarray(s)), np.sum(case.potential(s)), rtol=1e-13
    )


def test_softmax_potential_is_the_negative_entropy_of_the_whole_layer():
    s = np.array([[0.2, 0.5], [0.3, 0.0]])
    expected = 0.2 * math.log(0.2) + 0.5 * math.log(0.5) + 0.3 * math.log(0.3)
    np.testing.assert_allclose(
        ep.Softmax().potential(jnp.asarray(s)), expected, rtol=1e-14
    )


@pytest.mark.parametrize("case", SEPARABLE.values(), ids=SEPARABLE)
def test_activate_minimizes_the_tilted_potential(case):
    bounds = (max(case.low, -10.0), min(case.high, 10.0))
    for d in DRIVES:
        best = minimize_scalar(
            lambda s, d=d: float(case.potential(np.asarray(s)) - d * s),
            bounds=bounds,
            method="bounded",
            options={"xatol": 1e-10},
        )
        # A minimum is only resolved to the square root of the round-off.
        found = case.unit.activate(jnp.asarray(d))
        np.testing.assert_allclose(found, best.x, atol=1e-6)


def test_softmax_activation_minimizes_over_the_simplex():
    drive = np.array([0.3, -1.0, 2.0, 0.9])
    best = minimize(
        lambda s: np.sum(s * np.log(s) - drive * s),
        np.full(4, 0.25),
        method="SLSQP",
        bounds=[(1e-9, 1)] * 4,
        constraints={"type": "eq", "fun": lambda s: np.sum(s) - 1},
        options={"ftol": 1e-14},
    )
    found = ep.Softmax().activate(jnp.asarray(drive.reshape(2, 2)))
    np.testing.assert_allclose(found, best.x.reshape(2, 2), atol=1e-6)


@pytest.mark.parametrize("case", SEPARABLE.values(), ids=SEPARABLE)
def test_activate_inverts_the_slope_of_the_potential_inside(case):
    s = jnp.asarray(interior(case))
    drive = jax.grad(case.unit.potential)(s)
    # The slope of the inverse is at most 1 here: round-off only.
    np.testing.assert_allclose(case.unit.activate(drive), s, rtol=0, atol=1e-13)


def test_softmax_activation_inverts_the_slope_of_its_potential():
    s = jnp.asarray([[0.1, 0.2], [0.3, 0.4]])
    unit = ep.Softmax()
    found = unit.activate(jax.grad(unit.potential)(s))
    np.testing.assert_allclose(found, s, atol=1e-15)


@pytest.mark.parametrize("case", UNITS.values(), ids=UNITS)
def test_activate_is_the_known_function(case):
    np.testing.assert_allclose(
        case.unit.activate(jnp.asarray(DRIVES)), case.activate(DRIVES), rtol=1e-14
    )


@pytest.mark.parametrize("case", UNITS.values(), ids=UNITS)
@given(d=vectors)
def test_no_feasible_point_is_better_than_the_activation(case, d):
    d = 3 * d
    best = np.asarray(case.unit.activate(jnp.asarray(d)))

    def tilted(s):
        return np.sum(case.potential(s) - d * s)

    for seed in range(3):
        rng = np.random.default_rng(seed)
        other = case.unit.project(jnp.asarray(rng.normal(0.5, 2, 4)))
        assert tilted(best) <= tilted(np.asarray(other)) + 1e-12


@pytest.mark.parametrize("case", UNITS.values(), ids=UNITS)
@given(s=vectors, t=vectors)
def test_project_is_the_nearest_feasible_point(case, s, t):
    project = case.unit.project
    p, q = (np.asarray(project(jnp.asarray(a))) for a in (s, t))
    np.testing.assert_allclose(project(jnp.asarray(p)), p, atol=1e-15)
    # Nearest in a convex set: no feasible q lies on the far side of p from s.
    assert np.dot(s - p, q - p) <= 1e-12
    assert np.linalg.norm(p - q) <= np.linalg.norm(s - t) + 1e-12


@given(s=vectors)
def test_softmax_projection_is_on_the_simplex_and_nearest_to_its_corners(s):
    p = np.asarray(ep.Softmax().project(jnp.asarray(s.reshape(2, 2)))).reshape(-1)
    assert np.all(p >= 0)
    np.testing.assert_allclose(np.sum(p), 1, rtol=1e-14)
    # The simplex is the hull of its corners, so the corners suffice as witnesses.
    assert np.all((np.eye(4) - p) @ (s - p) <= 1e-13)


def test_softmax_projection_solves_the_quadratic_program():
    s = np.array([0.9, -0.2, 0.8, 0.1, 0.75])
    best = minimize(
        lambda p: half_square(p - s).sum(),
        np.full(5, 0.2),
        jac=lambda p: p - s,
        method="SLSQP",
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda p: np.sum(p) - 1},
        options={"ftol": 1e-15},
    )
    np.testing.assert_allclose(ep.Softmax().project(jnp.asarray(s)), best.x, atol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_softmax_projection_of_large_states_is_on_the_simplex(dtype):
    # One more than the integers that the type resolves: a − 1 is rounded away.
    large = 4 / float(jnp.finfo(dtype).eps)
    found = ep.Softmax().project(jnp.asarray([large, 0.0, 3.0], dtype))
    np.testing.assert_array_equal(found, [1, 0, 0])


@pytest.mark.parametrize("case", SEPARABLE.values(), ids=SEPARABLE)
def test_project_is_the_clip_to_the_feasible_interval(case):
    s = np.array([-7.0, -1.0, -0.3, 0.0, 0.4, 1.0, 1.7, 8.0])
    expected = np.clip(s, case.low, case.high)
    np.testing.assert_array_equal(case.unit.project(jnp.asarray(s)), expected)


@pytest.mark.parametrize("case", SEPARABLE.values(), ids=SEPARABLE)
def test_curvature_bounds_the_second_derivative_and_is_tight(case):
    s = jnp.asarray(interior(case))
    second = jax.vmap(jax.grad(jax.grad(case.unit.potential)))(s)
    low, high = case.unit.curvature
    assert np.all(second >= low * (1 - 1e-12))
    assert np.all(second <= high * (1 + 1e-12))
    # The lower bound is attained in the middle, which the grid holds.
    np.testing.assert_allclose(np.min(second), low, rtol=1e-12)
    near_wall = jax.grad(jax.grad(case.unit.potential))(
        jnp.asarray(min(case.high, 3.0) - 1e-9)
    )
    assert (near_wall > 1e6) == math.isinf(high)


def test_softmax_curvature_bounds_the_hessian_on_the_simplex():
    rng = np.random.default_rng(0)
    unit = ep.Softmax()
    for s in rng.dirichlet(np.full(4, 0.5), size=20):
        hessian = jax.hessian(unit.potential)(jnp.asarray(s))
        assert np.min(np.linalg.eigvalsh(hessian)) >= unit.curvature[0]
    assert unit.curvature[1] == math.inf


@pytest.mark.parametrize("name", UNITS)
def test_quadratic_units_activate_by_projecting(name):
    case = UNITS[name]
    assert case.unit.quadratic == (name in QUADRATIC)
    d = jnp.asarray(DRIVES)
    same = np.array_equal(case.unit.activate(d), case.unit.project(d))
    assert same == case.unit.quadratic


def test_sigmoid_with_slope_four_is_that_of_the_literature():
    unit = ep.Sigmoid(slope=4.0, center=0.5)
    expected = 1 / (1 + np.exp(-4 * (DRIVES - 0.5)))
    np.testing.assert_allclose(unit.activate(jnp.asarray(DRIVES)), expected, rtol=1e-14)
    assert float(jax.grad(unit.activate)(0.5)) == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    "make, same",
    [
        (lambda: ep.Sigmoid(slope=4, center=0), ep.Sigmoid(4.0, 0.0)),
        (lambda: ep.ClippedReLU(ceiling=6), ep.ClippedReLU(6.0)),
        (lambda: ep.FanInUniform(gain=1), ep.FanInUniform(1.0)),
    ],
)
def test_whole_numbers_may_be_written_without_a_point(make, same):
    assert make() == same


CORNERS = [
    (ep.HardSigmoid(), [0.0, 1.0], [-0.1, 1.1]),
    (ep.ReLU(), [0.0], [-0.1]),
    (ep.ClippedReLU(2.0), [0.0, 2.0], [-0.1, 2.1]),
]


@pytest.mark.parametrize("method", ["activate", "project"])
@pytest.mark.parametrize("unit, corners, outside", CORNERS)
def test_slope_is_one_up_to_and_at_the_corners_and_zero_beyond(
    unit, corners, outside, method
):
    slope = jax.vmap(jax.grad(getattr(unit, method)))
    np.testing.assert_array_equal(slope(jnp.asarray(corners)), 1.0)
    np.testing.assert_array_equal(slope(jnp.asarray([0.3, 0.7])), 1.0)
    np.testing.assert_array_equal(slope(jnp.asarray(outside)), 0.0)


@pytest.mark.parametrize("name", QUADRATIC)
def test_quadratic_units_are_saturated_at_their_walls_alone(name):
    case = UNITS[name]
    walls = [w for w in case[1:3] if math.isfinite(w)]
    assert np.all(case.unit.saturated(jnp.asarray(walls)))
    assert not np.any(case.unit.saturated(jnp.asarray(interior(case))))


@pytest.mark.parametrize("name", [n for n in CURVED if n != "softmax"])
def test_curved_units_are_saturated_below_a_hundredth_of_their_largest_slope(name):
    unit = UNITS[name].unit
    drive = jnp.linspace(-8, 8, 401)
    slope = jax.vmap(jax.grad(unit.activate))(drive)
    expected = slope < 0.01 * jnp.max(slope)
    np.testing.assert_array_equal(unit.saturated(unit.activate(drive)), expected)
    assert 0 < np.sum(expected) < 401


def test_softmax_units_are_saturated_where_their_own_slope_is_small():
    s = jnp.asarray([0.002, 0.9978, 0.0002])
    slope = np.asarray(s * (1 - s))
    np.testing.assert_array_equal(ep.Softmax().saturated(s), slope < 0.01 / 4)
    np.testing.assert_array_equal(ep.Softmax().saturated(s), [True, True, True])
    assert not np.any(ep.Softmax().saturated(jnp.asarray([0.003, 0.5, 0.497])))


def test_an_unconstrained_unit_has_no_potential_and_no_walls():
    unit, s = ep.Unconstrained(), jnp.asarray([-1e9, 0.0, 7.0])
    assert unit.potential(s) == 0
    np.testing.assert_array_equal(unit.project(s), s)
    assert not np.any(unit.saturated(s))
    assert unit.curvature == (0, 0)
    assert not unit.quadratic


@pytest.mark.parametrize("case", UNITS.values(), ids=UNITS)
def test_nan_is_never_mended(case):
    s = jnp.asarray([jnp.nan, 0.5])
    assert np.isnan(case.unit.activate(s)[0])
    assert np.any(np.isnan(case.unit.project(s)))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax"])
def test_potential_is_finite_on_the_walls(name):
    case = UNITS[name]
    walls = jnp.asarray([case.low, case.high], jnp.float64)
    expected = np.sum(case.potential(np.asarray(walls)))
    np.testing.assert_allclose(case.unit.potential(walls), expected, atol=1e-15)


def test_softmax_is_over_all_axes_of_its_layer():
    d = DRIVES.reshape(3, 3)
    found = ep.Softmax().activate(jnp.asarray(d))
    np.testing.assert_allclose(found, softmax(DRIVES).reshape(3, 3), rtol=1e-14)
