"""The claims of the paper, measured by the scripts that draw their figures."""

import functools
import importlib.util
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import matplotlib
import numpy as np
import pytest


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
    coupled = claim.START["coupling"] * h * o + 0.5 * claim.START["loop"] * h * h
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
