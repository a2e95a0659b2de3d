"""What the diagnostics measure, against closed forms."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from eqprop import diagnostics


def free_units(size: int = 3, seed: int = 0) -> h.Case:
    """E = ½s² − b·s, C = ½‖s − y‖²: every gradient is known (facts: β/(1 + β))."""
    energy = ep.Network(
        [ep.Layer("output", ep.Linear(), (size,))],
        [ep.Edge(("output",), ep.Bias(h.normal(seed, size)))],
    )
    model = ep.Model(energy, ep.SquaredError())
    return h.Case(model, h.SWEEPS, h.normal(1, 2, 1), h.normal(2, 2, size))


def bias_of(nudging, case: h.Case, betas, **options) -> diagnostics.Bias:
    return diagnostics.measure_bias(
        case.model,
        case.x,
        case.y,
        lambda beta: ep.EquilibriumProp(nudging(beta), case.solver),
        betas,
        h.exact(case),
        **options,
    )


@pytest.mark.parametrize(
    "nudging, relative, order",
    [
        (ep.OneSided, lambda b: b / (1 + b), 1),
        (ep.Centered, lambda b: b**2 / (1 - b**2), 2),
    ],
)
def test_the_bias_of_free_units_is_the_closed_form(nudging, relative, order):
    betas = (1e-3, 1e-2, 0.1)
    bias = bias_of(nudging, free_units(), betas)
    # The gradient is (s⁰ − y)/(1 + β): all of it off by one factor. Round-off over β.
    np.testing.assert_allclose(bias.errors, [relative(b) for b in betas], rtol=1e-6)
    assert [row["all"].cosine for row in bias.likeness] == pytest.approx([1, 1, 1])
    # 1 + β itself bends the line: 0.1 out of 1 over two decades.
    assert bias.order == pytest.approx(order, abs=0.03)
    assert bias.safe == 0.1


def test_a_method_without_beta_is_measured_once():
    case = free_units()
    method = ep.BackpropThroughTime(case.solver)
    bias = diagnostics.measure_bias(
        case.model, case.x, case.y, method, (0.1, 0.2), h.exact(case)
    )
    assert len(bias.betas) == 1
    assert math.isnan(bias.betas[0])
    assert bias.errors == (0.0,)
    assert bias.order is None


def test_phases_that_fail_end_the_safe_range_and_fail_the_check():
    case = free_units()
    # β = −1.5 leaves no minimum in the negative phase of `Centered`.
    check = diagnostics.check_gradient(
        case.model,
        case.x,
        case.y,
        {"centered": lambda b: ep.EquilibriumProp(ep.Centered(b), case.solver)},
        (0.1, 1.5),
        solver=case.solver,
        reference=ep.BackpropThroughTime(case.solver),
    )
    assert check.bias["centered"].safe == 0.1
    assert check.bias["centered"].settled == (1.0, pytest.approx(2 / 3))
    problems = check.problems(0.9)
    assert any("at β = 1.5 only 67 % of the phases settled" in p for p in problems)
    assert not any("β = 0.1" in p for p in problems)


def test_a_wrong_gradient_fails_the_check():
    case = h.mlp([5, 6, 3])

    class Reversed(ep.AbstractNudging):
        def phases(self, landscape, state, y, *, key=None):
            free = ep.Phase(landscape, state, 10.0)
            return (free,), (ep.Phase(landscape.nudge(y, 0.1), state, -10.0),)

    check = diagnostics.check_gradient(
        case.model,
        case.x,
        case.y,
        {"reversed": ep.EquilibriumProp(Reversed(), case.solver)},
        (),
        solver=case.solver,
        reference=ep.BackpropThroughTime(case.solver),
    )
    (problem,) = check.problems(0.9)
    assert problem.startswith("reversed: the cosine to the reference is -")


def test_units_that_meet_a_wall_are_counted():
    # Hidden drives 0.9 and 0.5, output pulled to 1: the nudge pushes the first past 1.
    case = h.mlp([5, 6, 5, 3])
    landscape, free = h.settled(case)
    _, nudged = h.settled(case, 0.8)
    share = np.asarray(diagnostics.changed_share(landscape, free, nudged))
    inside = [np.abs(h.walls(case, s)) for s in (free, nudged)]
    changed = (inside[0] != inside[1]).sum() / inside[0].size
    assert changed > 0
    assert share.mean() == pytest.approx(changed)
    same = diagnostics.changed_share(landscape, free, free)
    np.testing.assert_array_equal(same, 0)


def test_the_curvature_of_a_quadratic_energy():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    a = root @ root.T + 0.5 * np.eye(4)
    energy = ep.FunctionEnergy(
        lambda p, s, x: 0.5 * s @ p @ s,
        a,
        init=lambda x: jnp.zeros(4),
        output=lambda s: s,
    )
    model = ep.Model(
        energy, ep.Readout(ep.SquaredError(), h.normal(3, 4, 2), jnp.zeros(2))
    )
    landscape = ep.Landscape(model, jnp.ones((2, 1)))
    y = h.normal(4, 2, 2)
    found = diagnostics.curvature(landscape, jnp.zeros((2, 4)), y)
    read = np.asarray(h.normal(3, 4, 2))
    np.testing.assert_allclose(found.smallest, np.linalg.eigvalsh(a)[0], rtol=1e-10)
    # The pencil A − βWWᵀ is singular where 1/β is an eigenvalue of A⁻¹WWᵀ.
    bound = 1 / np.linalg.eigvals(np.linalg.solve(a, read @ read.T)).real.max()
    np.testing.assert_allclose(found.largest_beta, bound, rtol=1e-9)
    at = diagnostics.curvature(landscape.nudge(y, -bound), jnp.zeros((2, 4)))
    np.testing.assert_allclose(at.smallest, 0, atol=1e-12)


def test_the_curvature_of_a_saddle_is_negative():
    energy = ep.FunctionEnergy(
        lambda p, s, x: p * s[0] * s[1],
        jnp.ones(()),
        init=lambda x: jnp.zeros(2),
        output=lambda s: s,
    )
    model = ep.Model(energy, ep.SquaredError())
    landscape = ep.Landscape(model, jnp.ones((1, 1)))
    found = diagnostics.curvature(landscape, jnp.zeros((1, 2)), jnp.zeros((1, 2)))
    np.testing.assert_allclose(found.smallest, -1)
    np.testing.assert_array_equal(found.largest_beta, 0)


def test_units_at_a_wall_are_left_out_of_the_curvature():
    # Two hidden units coupled so strongly that together they have no minimum; one is
    # at its wall, and alone the other is stable.
    weight = jnp.asarray([[0.0, 3.0], [0.0, 0.0]])
    energy = ep.Network(
        [ep.Layer("output", ep.HardSigmoid(), (2,))],
        [ep.Edge(("output",), ep.Lateral(weight))],
    )
    landscape = ep.Landscape(energy, jnp.ones((2, 1)))
    state = (jnp.asarray([[0.5, 0.5], [1.0, 0.5]]),)
    found = diagnostics.curvature(landscape, state)
    np.testing.assert_allclose(found.smallest, [1 - 3, 1])
    np.testing.assert_array_equal(found.free_units, [2, 1])
    held = landscape.clamp(lambda s: s[0], state[0])
    np.testing.assert_array_equal(diagnostics.curvature(held, state).free_units, [0, 0])


@pytest.mark.parametrize("name", ["two hidden layers", "readout of logits"])
def test_finite_differences_are_the_gradient(name):
    case = h.CASES[name]()
    found, where = diagnostics.finite_difference(
        case.model, case.x, case.y, case.solver, entries=3
    )
    rows = diagnostics.compare(found, h.exact(case), where)
    # Central differences at 1e-5: 1e-10 of curvature, 1e-11 of round-off, over 0.01.
    assert all(row.error < 1e-6 for row in rows.values())
    assert set(where) == set(diagnostics.parameters_by_name(case.model))


def test_the_likeness_of_known_vectors():
    case = free_units(2)
    one = eqx.tree_at(
        lambda m: m.energy.edges[0].interaction.bias,
        case.model,
        jnp.asarray([3.0, 4.0]),
    )
    other = eqx.tree_at(
        lambda m: m.energy.edges[0].interaction.bias,
        case.model,
        jnp.asarray([4.0, 3.0]),
    )
    row = diagnostics.compare(one, other)["output"]
    assert row.cosine == pytest.approx(24 / 25)
    assert row.error == pytest.approx(math.sqrt(2) / 5)
    zero = jax.tree.map(jnp.zeros_like, one)
    assert math.isnan(diagnostics.compare(one, zero)["all"].cosine)
    assert diagnostics.compare(zero, zero)["all"] == diagnostics.Likeness(1.0, 0.0)


@pytest.mark.parametrize("name", ["three hidden layers", "hopfield, tanh", "skips"])
def test_the_second_phase_passes_through_the_terms_of_the_backward_pass(name):
    case = h.CASES[name]()
    damped = ep.FixedPoint(damping=0.4, max_steps=900)
    state = ep.relax(ep.Landscape(case.model, case.x), damped).state
    found = diagnostics.descending_updates(
        case.model, case.x, case.y, state, steps=25, beta=1e-5, damping=0.4
    )
    # Bias O(β) = 1e-5 times a factor of order 10, round-off 1e-16 over β.
    assert max(found.rmse.values()) < 1e-3
    assert max(found.sign_error.values()) < 0.02
    coarse = diagnostics.descending_updates(
        case.model, case.x, case.y, state, steps=25, beta=1e-3, damping=0.4
    )
    for key in found.rmse:
        # First order in β.
        assert coarse.rmse[key] / found.rmse[key] == pytest.approx(100, rel=0.2)


def test_the_terms_of_the_backward_pass_add_up_to_the_gradient():
    case = h.CASES["two hidden layers"]()
    damped = ep.FixedPoint(damping=0.5, max_steps=900)
    state = ep.relax(ep.Landscape(case.model, case.x), damped).state
    found = diagnostics.descending_updates(
        case.model, case.x, case.y, state, steps=300, entries=1000
    )
    exact = diagnostics.parameters_by_name(h.exact(case))
    for name, terms in found.bptt.items():
        total = np.sort(terms.sum(axis=0))
        np.testing.assert_allclose(total, np.sort(np.ravel(exact[name])), atol=1e-10)


def test_the_exacting_solver_suits_the_landscape():
    chosen = {
        "one hidden layer": ep.BlockCoordinate,
        "lateral": ep.FixedPoint,
        "own energy": ep.Euler,
    }
    for name, kind in chosen.items():
        case = h.CASES[name]()
        landscape = ep.Landscape(case.model, case.x).nudge(case.y, 0.1)
        solver = diagnostics.exacting_solver(landscape)
        assert isinstance(solver, kind)
        assert float(jnp.max(ep.relax(landscape, solver).residual)) < 1e-12


def test_wrong_arguments_are_refused():
    case = free_units()
    with pytest.raises(ValueError, match="`betas` must be positive"):
        bias_of(ep.OneSided, case, (0.1, -0.1))
    with pytest.raises(ValueError, match="Estimate both from the same model"):
        diagnostics.compare(case.model, h.mlp([5, 6, 3]).model)
    landscape = ep.Landscape(case.model, case.x)
    with pytest.raises(ValueError, match="at most 5000"):
        diagnostics.curvature(landscape, (jnp.zeros((2, 6000)),))
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64 is off"):
        diagnostics.in_double(case.x)
