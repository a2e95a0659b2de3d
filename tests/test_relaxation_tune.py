"""The relaxation factor: the spectral radius behind it, and what is filled in."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.learning import relaxation_factors
from eqprop.relaxation import estimate_factors, fill_in, no_factors
from eqprop.relaxation._factors import _slowest_of_share
from eqprop.relaxation._spectrum import spectral_radius
from helpers import (
    full_matrix,
    inputs,
    network,
    strongly_coupled,
    targets,
    times_traced,
)


SETTLE = ep.BlockCoordinate(max_steps=500, stop=ep.Tolerance(1e-13), certify=1e-10)


def settled(landscape: ep.Landscape):
    return ep.relax(landscape, SETTLE).state


def radius_by_hand(graph: str, landscape: ep.Landscape, slopes) -> np.ndarray:
    """The spectral radius of diag(activate′)·M for every example, M the couplings."""
    matrix, _ = full_matrix(graph, landscape.energy_fn.edges)
    between = matrix[5:, 5:]
    return np.array(
        [np.max(np.abs(np.linalg.eigvals(np.diag(s) @ between))) for s in slopes]
    )


def flat_slopes(landscape: ep.Landscape, state, slope) -> np.ndarray:
    leaves = [np.asarray(s).reshape(len(s), -1) for s in state]
    return slope(np.concatenate(leaves, axis=1))


def test_the_radius_is_that_of_the_unsaturated_units():
    at = ep.Landscape(
        network("chain", ("clipped_relu", "hard_sigmoid"), scale=1.5), inputs(4)
    )
    state = settled(at)
    units = [2.0 if unit == ep.ClippedReLU(2.0) else 1.0 for unit in at.leaf_units()]
    walls = np.concatenate(
        [np.full(s[0].size, w) for s, w in zip(state, units, strict=True)]
    )
    inside = flat_slopes(at, state, lambda s: ((s > 0) & (s < walls)).astype(float))
    # Some are saturated, and some not, or this would show nothing.
    assert 0 < inside.mean() < 1
    # Power iteration of 20 steps: the squared ratio of the two largest eigenvalues to
    # the 20th power bounds its error, 1e-3 for a ratio of 0.84.
    np.testing.assert_allclose(
        spectral_radius(at, state), radius_by_hand("chain", at, inside), rtol=0.02
    )


def test_the_radius_of_curved_units_has_their_slope():
    at = ep.Landscape(network("chain", ("steep_sigmoid",), scale=1.5), inputs(4))
    state = settled(at)
    slopes = flat_slopes(at, state, lambda s: 4 * s * (1 - s))
    np.testing.assert_allclose(
        spectral_radius(at, state), radius_by_hand("chain", at, slopes), rtol=0.02
    )


def test_a_nudge_stiffens_the_output():
    # With β the output's slope is 1/(1 + β): it follows its drive less.
    model = ep.Model(network("chain", ("linear",)), ep.SquaredError())
    at = ep.Landscape(model, inputs(2)).nudge(targets(2), 0.5)
    slopes = np.ones((2, 11))
    slopes[:, -3:] = 1 / 1.5
    np.testing.assert_allclose(
        spectral_radius(at, settled(at)), radius_by_hand("chain", at, slopes), rtol=0.02
    )


def test_what_is_held_takes_no_part():
    at = ep.Landscape(network("chain", ("linear",)), inputs(2))
    held = at.clamp(lambda state: state[1], jnp.zeros((2, 2, 2)))
    # h – k – output with k held: no two free layers are coupled.
    np.testing.assert_array_equal(spectral_radius(held, settled(held)), 0.0)


def sweep_radius(matrix: np.ndarray, even: np.ndarray, omega: float) -> float:
    """The spectral radius of one over-relaxed sweep, as a matrix."""
    size = len(matrix)

    def half(moving):
        change = np.diag(np.where(moving, omega, 0.0))
        return np.eye(size) + change @ (matrix - np.eye(size))

    return np.max(np.abs(np.linalg.eigvals(half(~even) @ half(even))))


@pytest.mark.parametrize("scale", [0.3, 0.6])
def test_the_estimate_is_the_best_factor(scale):
    at = ep.Landscape(network("chain", ("linear",), scale=scale), inputs(1))
    estimate = float(ep.estimate_relaxation(at, share=0.5))
    matrix, _ = full_matrix("chain", at.energy_fn.edges)
    # Layers h and output move together, then k.
    even = np.r_[np.ones(4), np.zeros(4), np.ones(3)].astype(bool)
    grid = np.arange(1.0, 1.95, 0.005)
    rates = [sweep_radius(matrix[5:, 5:], even, w) for w in grid]
    assert abs(estimate - grid[int(np.argmin(rates))]) < 0.02
    # At the best ω the rate is ω − 1, far below that of exact sweeps.
    best = sweep_radius(matrix[5:, 5:], even, estimate)
    assert best == pytest.approx(estimate - 1, abs=0.03)
    assert best < 0.5 * sweep_radius(matrix[5:, 5:], even, 1.0)


SMALL = [1.0, 1.05, 1.1, 1.15, 1.2]
LARGE = [1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
# Every ω that is tried with a tolerance, and over how many sweeps it falls.
TRIED = [(w, math.inf) for w in SMALL + LARGE] + [(w, 20.0) for w in LARGE]


@pytest.mark.parametrize("sweeps", [8, 12])
def test_of_fixed_sweeps_the_least_is_left(sweeps):
    """Found again with every factor by itself."""
    at = ep.Landscape(network("chain", ("hard_sigmoid",), scale=1.6), inputs(100))
    solver = ep.BlockCoordinate(max_steps=sweeps)

    def left(omega, over):
        own = dataclasses.replace(solver, relaxation=omega, falls_over=over)
        residual = np.asarray(ep.relax(at, own, throw=False).residual)
        return np.mean(residual**8 / (residual**8 + 1e-24))

    tuned = ep.tune(solver, at)
    found = float(tuned.relaxation), float(tuned.falls_over)
    best = min(left(omega, sweeps) for omega in SMALL + LARGE)
    assert left(*found) == pytest.approx(best, rel=1e-9)
    assert left(*found) < 0.7 * left(1.0, math.inf)


def test_the_first_256_examples_decide():
    energy, x = network("chain", ("hard_sigmoid",), scale=1.6), inputs(1000)
    # Without an input nearly all units are free, and ask for more over-relaxation.
    others = jnp.where(jnp.arange(1000)[:, None] < 256, x, 0)
    solver = ep.BlockCoordinate(max_steps=8)
    tuned = ep.tune(solver, ep.Landscape(energy, others))
    assert tuned == ep.tune(solver, ep.Landscape(energy, x[:256]))
    assert tuned != ep.tune(solver, ep.Landscape(energy, others[256:]))


def test_with_a_tolerance_the_fewest_sweeps_count():
    # Weights with which the slowest of these examples needs 80 exact sweeps.
    at = ep.Landscape(network("chain", ("hard_sigmoid",), scale=1.6), inputs(20))
    goal = ep.Tolerance(1e-4)

    def sweeps(omega, over=None):
        solver = ep.BlockCoordinate(omega, max_steps=300, stop=goal, falls_over=over)
        return np.asarray(ep.relax(at, solver).num_steps)

    def of_a_batch(omega, over=None):
        """The mean of the largest in a quarter, from the chance that one is larger."""
        counts = sweeps(omega, over)
        larger = np.array([1 - 0.75 ** np.sum(counts > c) for c in range(301)])
        some = 1 - 0.75 ** len(counts)
        return larger.sum() / some

    tuned = ep.tune(ep.BlockCoordinate(stop=goal), at)
    found = float(tuned.relaxation), float(tuned.falls_over)
    best = min(of_a_batch(*factor) for factor in TRIED)
    assert of_a_batch(*found) == pytest.approx(best, rel=1e-12)
    assert sweeps(*found).max() < 0.6 * sweeps(1.0).max()


@pytest.mark.parametrize("share", [0.25, 0.6, 1.0])
def test_a_batch_is_expected_to_take_as_long_as_the_slowest_of_a_random_share(share):
    counts = np.array([[3.0, 9.0, 4.0, 4.0, 20.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    # Every example is in it or not by that chance; that none is doesn't count.
    total, weight = np.zeros(2), 0.0
    for inside in itertools.product([True, False], repeat=5):
        if any(inside):
            chance = share ** sum(inside) * (1 - share) ** (5 - sum(inside))
            total += chance * counts[:, list(inside)].max(axis=1)
            weight += chance
    np.testing.assert_allclose(
        _slowest_of_share(jnp.asarray(counts), jnp.asarray(share)),
        total / weight,
        rtol=1e-12,
    )


@pytest.mark.parametrize("batch, share", [(5, 0.25), (20, 1.0), (None, 0.25)])
def test_a_batch_is_a_share_of_the_examples(batch, share, monkeypatch):
    at = ep.Landscape(network("chain", ("hard_sigmoid",), scale=1.6), inputs(20))
    seen = []

    def spy(landscape, state0, solver, share):
        seen.append(float(share))
        return no_factors(solver)[0]

    monkeypatch.setattr("eqprop.relaxation._factors._fewest_sweeps", spy)
    estimate_factors(ep.BlockCoordinate(stop=ep.Tolerance()), at, batch=batch)
    assert seen == [share]


def test_a_nudged_phase_has_a_factor_of_its_own():
    """Found again by settling all examples from their free equilibria with each ω. Of
    20 examples all are among the slowest, and the batch is all of them."""
    energy = network("chain", ("hard_sigmoid",), scale=1.6)
    model = ep.Model(energy, ep.SquaredError())
    x, y, stop = inputs(20), targets(20), ep.Tolerance(1e-4)
    block = ep.BlockCoordinate(stop=stop)
    method = ep.EquilibriumProp(ep.OneSided(2.0), block, block)
    free = ep.Landscape(model, x)
    found = relaxation_factors(method, free, y, batch=20)
    assert len(found) == 2
    assert found[0] == estimate_factors(block, free, batch=20)[0]
    settling = fill_in(block, found[:1])
    start, nudged = ep.relax(free, settling).state, free.nudge(y, 2.0)

    def slowest(omega, over):
        solver = ep.BlockCoordinate(omega, max_steps=300, stop=stop, falls_over=over)
        return int(ep.relax(nudged, solver, start).num_steps.max())

    own, other = [(f.relaxation, f.falls_over) for f in (found[1], found[0])]
    assert slowest(*own) == min(slowest(*f) for f in TRIED) < slowest(*other)


def test_a_nudged_phase_whose_factor_is_given_is_not_settled(monkeypatch):
    energy = network("chain", ("hard_sigmoid",), scale=1.6)
    free = ep.Landscape(ep.Model(energy, ep.SquaredError()), inputs(20))
    block = ep.BlockCoordinate(stop=ep.Tolerance(1e-4))
    given = dataclasses.replace(block, relaxation=jnp.asarray(1.3))
    method = ep.EquilibriumProp(ep.OneSided(2.0), block, given)
    monkeypatch.setattr("eqprop.learning._tune.relax", None)
    found = relaxation_factors(method, free, targets(20))
    assert found == estimate_factors(block, free)


def test_a_method_is_tuned_where_its_phases_settle():
    """With targets; without, as if the nudged phase were free and from rest."""
    energy = network("chain", ("hard_sigmoid",), scale=1.6)
    free = ep.Landscape(ep.Model(energy, ep.SquaredError()), inputs(20))
    y, brief = targets(20), ep.BlockCoordinate(max_steps=4)
    method = ep.EquilibriumProp(
        ep.OneSided(2.0), ep.BlockCoordinate(stop=ep.Tolerance(1e-4)), brief
    )
    tuned = ep.tune(method, free, y=y)
    start = ep.relax(free, tuned.solver, throw=False).state
    assert tuned.solver == ep.tune(method.solver, free)
    assert tuned.nudged_solver == ep.tune(brief, free.nudge(y, 2.0), start)
    assert tuned.nudged_solver != ep.tune(brief, free)
    assert ep.tune(method, free).nudged_solver == ep.tune(brief, free)
    assert ep.tune(ep.InitializedEP(method), free, y=y).method == tuned
    assert ep.tune(brief, free, y=y) == ep.tune(brief, free)


def test_where_nothing_settles_the_spectrum_decides():
    at = ep.Landscape(network("chain", ("linear",), scale=1.0), inputs(4))
    patient = ep.BlockCoordinate(stop=ep.Tolerance(1e-300))
    formula = ep.estimate_relaxation(at, share=1.0)
    tuned = ep.tune(patient, at)
    assert float(tuned.relaxation) == float(formula)
    assert math.isinf(tuned.falls_over)


def test_uncoupled_layers_need_no_over_relaxation():
    at = ep.Landscape(network("chain", ("linear",), scale=1e-9), inputs(2))
    assert float(ep.estimate_relaxation(at)) == pytest.approx(1.0, abs=1e-12)


def test_the_estimate_stays_in_its_range_where_there_is_no_minimum():
    at = ep.Landscape(network("chain", ("linear",), scale=20.0), inputs(2))
    assert 1 <= float(ep.estimate_relaxation(at)) <= 1.8


def test_only_open_factors_are_filled_in():
    at = ep.Landscape(network("chain"), inputs(4))
    open_, closed = ep.BlockCoordinate(), ep.BlockCoordinate(relaxation=1.4)
    patient = ep.BlockCoordinate(stop=ep.Tolerance())
    method = ep.EquilibriumProp(ep.Centered(0.2), patient, open_)
    tuned = ep.tune(method, at)
    assert tuned.solver == ep.tune(patient, at)
    assert tuned.nudged_solver == ep.tune(open_, at)
    assert isinstance(tuned.solver.relaxation, jax.Array)
    assert tuned.nudging == method.nudging
    assert ep.tune(closed, at) == closed
    assert ep.tune(ep.Euler(), at) == ep.Euler()
    assert estimate_factors(closed, at) == no_factors(closed) == ()
    assert fill_in(open_, no_factors(open_)).relaxation == 1.0


def test_an_open_factor_is_the_exact_minimum():
    at = ep.Landscape(network("skip"), inputs(4))
    for steps in (1, 7):
        exact = ep.relax(at, ep.BlockCoordinate(max_steps=steps), throw=False)
        one = ep.BlockCoordinate(relaxation=1.0, max_steps=steps)
        same = ep.relax(at, one, throw=False)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-15),
            exact.state,
            same.state,
        )


def test_another_estimate_compiles_nothing():
    at = ep.Landscape(network("chain"), inputs(4))
    other = ep.Landscape(network("chain", scale=0.6), inputs(4))
    tuned = [ep.tune(ep.BlockCoordinate(), scape) for scape in (at, other)]
    assert times_traced(at, tuned) == 1


def test_an_energy_that_blocks_do_not_suit_is_refused():
    at = ep.Landscape(network("lateral"), inputs(2))
    with pytest.raises(ValueError, match="`BlockCoordinate` needs an interaction"):
        ep.tune(ep.BlockCoordinate(), at)


BOLD = ep.BlockCoordinate(
    relaxation=1.9, max_steps=400, stop=ep.Tolerance(1e-10), certify=1e-8
)


def test_curved_units_settle_under_any_factor(monkeypatch):
    found = ep.relax(strongly_coupled(), BOLD, throw=False)
    assert bool(jnp.all(found.converged))
    assert int(jnp.max(found.num_steps)) < 100
    # It is the caution that does it.
    monkeypatch.setattr("eqprop.relaxation.solvers._caution._PATIENCE", 10**6)
    # Another number of steps, so that it is compiled anew.
    blind = dataclasses.replace(BOLD, max_steps=401)
    found = ep.relax(strongly_coupled(), blind, throw=False)
    assert not bool(jnp.all(found.converged))


def test_an_example_loses_trust_by_itself():
    at = strongly_coupled()
    together = ep.relax(at, BOLD)
    for k in range(6):
        alone = ep.relax(ep.Landscape(at.model, at.x[k : k + 1]), BOLD)
        assert int(alone.num_steps[0]) == int(together.num_steps[k])


def test_quadratic_units_need_no_caution():
    # Their energy falls for every ω below 2, so nothing is remembered of them.
    at = ep.Landscape(network("chain"), inputs(2))
    solver = ep.BlockCoordinate(relaxation=1.9, stop=ep.Tolerance())
    assert solver.init(at, at.init(), None) is None
    curved = ep.Landscape(network("chain", ("sigmoid",)), inputs(2))
    assert solver.init(curved, curved.init(), None) is not None
    for careless in (ep.BlockCoordinate(), ep.BlockCoordinate(relaxation=1.9)):
        assert careless.init(curved, curved.init(), None) is None


def test_over_relaxed_sweeps_never_raise_the_energy_of_quadratic_units():
    # Also where it has several minima: weights of 4 on units with two walls.
    units = ("clipped_relu", "hard_sigmoid")
    model = ep.Model(network("skip", units, scale=4.0), ep.SquaredError())
    at = ep.Landscape(model, inputs()).nudge(targets(), 0.4)
    for omega in (0.3, 1.3, 1.7, 1.98):
        values = ep.relax(
            at,
            ep.BlockCoordinate(relaxation=omega, max_steps=25),
            observe=lambda at, state: at.energy(state),
            throw=False,
        ).observations
        slack = 1e-13 * (1 + np.abs(values[:-1]))
        assert np.all(np.diff(values, axis=0) <= slack)
        assert np.all(values[-1] < values[0] - 1e-6)
        assert math.isfinite(float(values[-1].sum()))
