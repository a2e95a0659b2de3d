"""The claims of the paper, measured by the scripts that draw their figures."""

import functools
import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import matplotlib
import numpy as np
import pytest

from eqprop.apps.reproduce.measurements import contrastive_hebbian
from oracles import implicit, machine


matplotlib.use("Agg")

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = REPOSITORY / "examples" / "claims"
PAGE = REPOSITORY / "docs" / "claims.md"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))


@functools.cache
def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@functools.cache
def measured(name: str) -> Any:
    return script(name).measure()


def slope(x, y) -> float:
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def test_the_energy_falls_at_the_rate_of_the_squared_speed():
    claim, found = script("energy_descent"), measured("energy_descent")
    for courses in found.courses.values():
        gaps = [course.gap for course in courses]
        # ΔF/ε + ‖v‖² = ½ε·vᵀHv + O(ε²). Another factor than 1 would leave a gap that
        # doesn't shrink: slope 0.
        assert abs(slope(claim.STEP_SIZES, gaps) - 1) < 0.1
        assert gaps[-1] < 0.02
        for course in courses:
            assert np.all(course.power[0] > 1e-3)
            assert np.all(np.diff(course.energy, axis=0) <= 1e-13)


def test_no_solver_takes_a_step_up_in_either_phase():
    for runs in measured("energy_descent").energies.values():
        assert list(runs) == ["free phase", "nudged phase"]
        for energy in runs.values():
            # Round-off of energies of a few units.
            assert np.max(np.diff(energy, axis=0)) <= 1e-13
            assert np.all(energy[0] - energy[-1] > 0.1)
        # The nudge is there: it raises F = E + βC by a positive cost.
        assert np.all(runs["nudged phase"][0] > runs["free phase"][0])


@pytest.mark.parametrize("units", ["hard sigmoid", "tanh"])
def test_the_contrast_tends_to_the_gradient_of_the_objective(units):
    claim, case = script("objective_gradient"), measured("objective_gradient")[units]
    # 0.05 for the next power of β, 3 % at the largest that is taken.
    assert abs(case.slope("one-sided") - 1) < 0.05
    assert abs(case.slope("centered") - 2) < 0.05
    # To the gradient itself, not to a multiple of it: O(β) and O(β²) at β = 1e-3.
    assert claim.BETAS[0] == 1e-3
    assert case.errors("one-sided")[0] < 1e-2
    assert case.errors("centered")[0] < 1e-5
    assert np.sum(np.abs(case.exact) > 1e-3) > 20
    # At least the half decade that the slope is measured over is safe.
    assert np.sum(~case.changes & (np.asarray(claim.BETAS) < 0.1)) >= 4


def test_hard_sigmoid_units_reach_walls_and_the_order_is_lost_there():
    found = measured("objective_gradient")
    changes, errors = found["hard sigmoid"].changes, found["hard sigmoid"].errors
    assert changes.any()
    assert not found["tanh"].changes.any()
    first = int(np.argmax(changes))
    # Second order would make it (β ratio)² = 4 times as large.
    assert errors("centered")[first] > 10 * errors("centered")[first - 1]


def test_second_phase_velocities_are_the_error_derivatives():
    claim, found = script("error_derivatives"), measured("error_derivatives")
    errors = claim.errors(found)
    assert errors.shape == (2, 4)
    assert np.all(errors[1] < 2e-4)
    # −ds/dt = β·∂L/∂s + O(β²): ten times nearer at a tenth of β.
    np.testing.assert_allclose(errors[0] / errors[1], 10, rtol=0.05)
    for derivative in found.derivatives:
        assert np.linalg.norm(derivative) > 1e-3


def test_errors_arrive_layer_by_layer_as_powers_of_time():
    claim, found = script("error_derivatives"), measured("error_derivatives")
    for k, (v, chain) in enumerate(zip(found.velocities[-1], found.chain, strict=True)):
        # A layer k below the output stands still for k steps; round-off over βε.
        assert np.all(np.abs(v[:k]) < 1e-9)
        # Then it moves by what the feedforward chain rule sends down to it.
        first = -v[k] / claim.STEP_SIZE**k
        tolerance = 2e-3 * np.linalg.norm(chain)
        assert np.linalg.norm(first - chain) < tolerance
        assert np.linalg.norm(chain) > 1e-2
        # In n steps it has gained ε^k·(n choose k), which for small ε is t^k/k!. Each
        # step also decays by about ε = 0.02, or grows by what neighbors return.
        for n in (1, 2):
            gain = np.linalg.norm(v[k + n]) / np.linalg.norm(v[k])
            assert abs(gain / math.comb(k + n, k) - 1) < 0.15


def test_the_symmetric_stdp_rule_adds_up_to_the_contrast_on_any_path():
    claim, found = script("stdp_integral"), measured("stdp_integral")
    # What is left of a phase of 50 time constants.
    assert np.max(found.gaps("eq. 13, symmetric")) < 1e-10
    # Round-off over β, summed up.
    size = np.linalg.norm(found.contrast)
    assert np.linalg.norm(found.online - found.contrast) < 1e-11 * size
    assert np.sum(np.abs(found.contrast) > 1e-2) > 10
    course = [found.course[way, "eq. 13, symmetric"] for way in claim.PATHS]
    assert np.linalg.norm(course[1] - course[0], axis=1).max() > size


def test_one_way_rules_depend_on_the_path_and_both_ways_differ_by_products():
    claim, found = script("stdp_integral"), measured("stdp_integral")
    for rule in ("eq. 11, one way", "eq. 12, one way"):
        gaps, ends = found.gaps(rule), found.ends[rule][:, -1]
        # No O(ε) of the sums: it stays, and is another on another path.
        assert np.all(gaps > 0.05)
        assert np.all(gaps[:, -1] > 0.9 * gaps[:, -2])
        apart = np.linalg.norm(ends[1] - ends[0])
        assert apart > 0.05 * np.linalg.norm(found.contrast)
    lacking = found.contrast - found.ends["eq. 12, both ways"]
    np.testing.assert_allclose(lacking, found.products, atol=1e-10)
    # The next power of ε is a tenth of it at ε = 0.2.
    gaps = found.gaps("eq. 12, both ways")[0]
    assert abs(slope(claim.STEP_SIZES, gaps) - 1) < 0.05


def test_both_phases_are_one_dynamics_but_for_the_nudge_of_the_outputs():
    claim, found = script("plasticity_switch"), measured("plasticity_switch")
    *hidden, (nudged, free) = found.forces
    for a, b in hidden:
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-15)
        assert np.all(np.abs(a) > 1e-3)
    np.testing.assert_allclose(nudged - free, found.pull, rtol=0, atol=1e-14)
    assert np.linalg.norm(found.pull) > 0.1
    # Two relaxations end where the one run passes by; what 30 time constants leave.
    for step, settled in zip((claim.STEPS - 1, -1), found.settled, strict=True):
        for layer, end in zip(found.states, settled, strict=True):
            np.testing.assert_allclose(layer[step], end, rtol=0, atol=1e-7)


def test_plasticity_in_the_second_phase_alone_gives_the_gradient():
    claim, found = script("plasticity_switch"), measured("plasticity_switch")
    second, both = (found.cosines(w) for w in ("second phase", "both phases"))
    # The bias is O(β), its angle too: the cosine lacks O(β²).
    assert np.all(second[0] > 0.98)
    assert np.all(second[1] > 0.9998)
    sizes = np.linalg.norm(found.sums["second phase"], axis=-1)
    np.testing.assert_allclose(sizes[1] / np.linalg.norm(found.exact), 1, atol=0.05)
    # Left on in the first, it is right only at rest in equilibrium.
    assert claim.STARTS[0] == 0
    np.testing.assert_allclose(both[:, 0], second[:, 0], atol=1e-8)
    assert np.all(both[:, -1] < 0.5)
    # Both are what products of activities say, of the ends and of the start.
    pair = found.sums["second phase"][0, -1], found.sums["both phases"][0, -1]
    ends, start = found.hebbian
    np.testing.assert_allclose(pair[0], ends, rtol=0, atol=1e-6)
    np.testing.assert_allclose(pair[1], ends + start, rtol=0, atol=1e-6)
    assert np.linalg.norm(start) > 2 * np.linalg.norm(ends)


def test_the_contrastive_objective_turns_negative_and_leads_away_from_the_target():
    claim, found = script("contrastive_hebbian"), measured("contrastive_hebbian")
    free, clamped = found.path[:, -1], found.clamped
    # Different modes: all units on opposite sides.
    assert np.all(free < 0)
    assert np.all(clamped > 0)
    assert clamped[1] == claim.TARGET
    energies = [own_energy(claim, *state) for state in (free, clamped)]
    assert found.objective == pytest.approx(energies[1] - energies[0], abs=1e-6)
    assert found.objective < -0.1
    # Following it raises the cost.
    assert claim.cosine(found.gradients["contrastive Hebbian"], found.exact) < -0.9
    objective, cost = found.training["contrastive Hebbian"].T
    assert np.all(np.diff(objective) < 0)
    assert np.all(np.diff(cost) > 0)


def own_energy(claim, h: float, o: float) -> float:
    """G(h) + ½o² − w·h·o − ½v·h² − ⟨x, s⟩, with G the integral of artanh."""
    potential = h * np.arctanh(h) + 0.5 * np.log(1 - h * h) + 0.5 * o * o
    start = contrastive_hebbian.START
    coupled = start["coupling"] * h * o + 0.5 * start["loop"] * h * h
    return potential - coupled - claim.FIELD[0] * h - claim.FIELD[1] * o


def test_equilibrium_propagation_follows_the_cost_where_contrasting_modes_fails():
    found = measured("contrastive_hebbian")
    size = np.linalg.norm(found.exact)
    one_sided = found.gradients["EP, one-sided"] - found.exact
    centered = found.gradients["EP, centered"] - found.exact
    # O(β) at 1e-4 and O(β²) at 1e-3, times the curvature of this steep valley.
    assert np.linalg.norm(one_sided) < 1e-3 * size
    assert np.linalg.norm(centered) < 1e-5 * size
    cost = found.training["EP, centered"][:, 1]
    assert np.all(np.diff(cost) < 0)
    assert cost[-1] < cost[0] / 3


def machine_in_numpy(claim) -> machine.Net:
    edges = claim.network().energy.edges
    return machine.restricted(*parameters(edges), claim.T)


def parameters(edges) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(edges)]


def test_contrastive_divergence_is_biased_and_no_gradient_at_all():
    claim, found = script("contrastive_divergence"), measured("contrastive_divergence")
    net = machine_in_numpy(claim)
    first, exact = found.cut["Boltzmann"][0], found.gradients["Boltzmann"]
    own = machine.cd1(net, claim.X, claim.Y)
    np.testing.assert_allclose(first, own, rtol=0, atol=1e-12)
    # Differences err by round-off over 1e-5.
    np.testing.assert_allclose(found.updates["Boltzmann"], exact, atol=1e-9)
    assert claim.error(first, exact) > 0.2
    assert claim.asymmetry(found.turn["Boltzmann"][0]) > 0.1
    # The whole phase is exact, and a second derivative is symmetric.
    assert claim.error(found.cut["Boltzmann"][-1], exact) < 1e-8
    assert claim.asymmetry(found.jacobians["Boltzmann"]) < 1e-14


def test_expected_contrasts_of_settled_phases_are_gradients_at_any_nudge():
    claim, found = script("contrastive_divergence"), measured("contrastive_divergence")
    update, net = found.updates["EP"], machine_in_numpy(claim)
    own = machine.in_order(net, net.contrast(claim.X, claim.Y, claim.BETA, 0.0))
    np.testing.assert_allclose(update, own, atol=1e-12)
    np.testing.assert_allclose(update, found.gradients["EP"], atol=1e-9)
    assert claim.asymmetry(found.jacobians["EP"]) < 1e-13
    # Cut off, they are none either.
    assert claim.asymmetry(found.turn["EP"][0]) > 0.1
    assert claim.error(found.cut["EP"][-1], update) < 1e-7
    limit = machine.in_order(net, net.gradient(claim.X, claim.Y))
    np.testing.assert_allclose(found.mean_cost, limit, atol=1e-9)
    for rule, order in (("one-sided", 1), ("centered", 2)):
        errors = [claim.error(row, limit) for row in found.nudged[rule]]
        assert abs(slope(claim.BETAS, errors) - order) < 0.05
        assert errors[-1] < 0.03
    # Sampled: each parameter within three of the standard errors that it reports.
    estimate, spread = found.sampled
    assert np.all(np.abs(estimate - update) < 3 * spread)
    assert np.max(np.abs(estimate) / spread) > 20


def test_recurrent_backprop_sums_up_to_what_the_nudged_states_move_by():
    claim, found = script("recurrent_backprop"), measured("recurrent_backprop")
    model, x, y = claim.problem()
    edges = parameters(model.energy.edges)
    # The gradient in the biases is λ itself.
    rows = implicit.gradient(np.asarray(x), np.asarray(y), edges[::2], edges[1::2])
    own = np.concatenate(rows[1])
    np.testing.assert_allclose(np.concatenate(found.adjoint), own, atol=1e-8)
    pairs = zip(*rows, strict=True)
    gradient = np.concatenate([np.ravel(a) for pair in pairs for a in pair])
    np.testing.assert_allclose(found.gradients["implicit"], gradient, atol=1e-8)
    # Units at a wall stay there, whatever is sent to them.
    moving = own != 0
    assert 0 < np.sum(~moving) < 5
    runs = found.sums, found.states[claim.BETAS[-1]]
    sums, states = (np.concatenate(run, axis=1)[:, moving] for run in runs)
    # The terms that 40 time constants leave out.
    np.testing.assert_allclose(sums[-1], own[moving], atol=1e-6)
    distances = [found.distance(beta) for beta in claim.BETAS]
    assert abs(slope(claim.BETAS, distances) - 1) < 0.05
    assert distances[-1] < 1e-3
    # All along the way, not only at its end.
    moved = (states - states[0]) / claim.BETAS[-1]
    np.testing.assert_allclose(moved, -sums, rtol=0, atol=1e-3)
    assert np.sum(np.abs(own) > 0.05) > 5
    assert found.errors(found.gradients["RBP"]) < 1e-6
    # O(β) apart at every step, as the sums are; relative to the whole gradient.
    apart = np.linalg.norm(found.courses["RBP"] - found.courses["EP"], axis=1)
    assert np.max(apart) < 1e-3 * np.linalg.norm(found.gradients["implicit"])
    assert np.all(found.errors(found.courses["RBP"][:50]) > 0.01)


def test_recurrent_backprop_is_another_computation_and_equilibrium_prop_is_not():
    claim, found = script("recurrent_backprop"), measured("recurrent_backprop")
    # One program for the free phase and those of every β.
    assert list(found.states) == [0.0, *claim.BETAS]
    assert found.traced == {"EP": 1, "RBP": 1}
    start = [layer[0] for layer in found.states[claim.BETAS[0]]]
    for free, layer in zip(found.states[0.0], start, strict=True):
        np.testing.assert_allclose(free[-1], layer, atol=1e-6)
    for states in found.states.values():
        for layer in states[:-1]:
            assert np.all((layer >= 0) & (layer <= 1))
    # What no hidden unit could hold.
    assert min(np.min(layer) for layer in found.sums[:-1]) < -0.3
    estimate, refusal = found.measured
    weights, biases = [np.eye(3), claim.WEIGHT], [np.full(3, 0.5), np.zeros(2)]
    exact = implicit.gradient(claim.X, claim.Y, weights, biases)[0][1].ravel()
    # O(β²).
    assert np.linalg.norm(estimate - exact) < 1e-5 * np.linalg.norm(exact)
    assert np.all(np.abs(exact) > 1e-3)
    assert refusal.startswith("`RecurrentBackprop` needs the second derivative")


@pytest.mark.parametrize("units", ["tanh", "hard sigmoid"])
def test_the_cost_never_rises_along_a_branch_of_minima(units):
    claim, case = (
        script("cost_decreases_with_beta"),
        measured("cost_decreases_with_beta")[units],
    )
    assert claim.BETAS[0] < 0 < claim.BETAS[-1]
    # All of it a branch of minima, or nothing is claimed.
    assert np.all(case.curvature > 0.01)
    assert np.all(np.diff(case.cost, axis=0) < 0)
    # So F settled is concave: its slope in β is the cost. Central differences, O(h²).
    np.testing.assert_allclose(case.energy_slope, case.cost, rtol=1e-5)
    assert np.all(np.diff(case.energy, n=2, axis=0) < 0)


@pytest.mark.parametrize("units", ["tanh", "hard sigmoid"])
def test_the_costs_slope_at_zero_is_the_formula_of_proposition_2(units):
    case = measured("cost_decreases_with_beta")[units]
    assert np.all(case.formula < -0.1)
    np.testing.assert_allclose(case.cost_slope, case.formula, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_script_draws_its_figure(
    name, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found, picture = measured(name), tmp_path / "figure.png"
    monkeypatch.setattr(script(name), "measure", lambda: found)
    script(name).main(str(picture))
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert 10_000 < picture.stat().st_size < 150_000


def test_the_page_shows_every_claim():
    text = PAGE.read_text("utf-8")
    pictures = re.findall(r"!\[([^\]]+)\]\((claims/\w+\.png)\)", text)
    assert sorted(path for _, path in pictures) == [f"claims/{n}.png" for n in NAMES]
    for alt, path in pictures:
        assert len(alt) > 60
        assert (PAGE.parent / path).is_file()
    for name in NAMES:
        assert f"python examples/claims/{name}.py docs/claims/{name}.png" in text
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert tests
    assert tests <= set(globals())
