"""Downhill all the way: sweeps and small steps, and how few sweeps it takes."""

import math
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import (
    CURVED,
    full_matrix,
    inputs,
    network,
    QUADRATIC,
    random_state,
    targets,
)


SCALE = 0.4
LINEAR, CLIPPED = ("linear",), ("hard_sigmoid",)


def nudged(graph: str, units, beta: float, *, scale: float = SCALE) -> ep.Landscape:
    model = ep.Model(network(graph, units, scale=scale), ep.SquaredError())
    free = ep.Landscape(model, inputs())
    return free.nudge(targets(), beta) if beta else free


def energies(at, solver, state0) -> np.ndarray:
    found = ep.relax(
        at, solver, state0, observe=lambda at, state: at.energy(state), throw=False
    )
    return np.asarray(found.observations)


def assert_never_rises(values: np.ndarray) -> None:
    assert np.all(np.isfinite(values))
    # Round-off of an energy of a few dozen terms of the size of its value.
    slack = 1e-13 * (1 + np.abs(values[:-1]))
    assert np.all(np.diff(values, axis=0) <= slack)
    assert np.all(values[-1] < values[0] - 1e-6)


# Strong weights for units with walls on both sides; for others the energy would be
# unbounded below.
STRONG = [(("clipped_relu", "hard_sigmoid"), 4.0), (QUADRATIC, SCALE)]


@pytest.mark.parametrize("units, scale", [*STRONG, (CURVED, 4.0)])
@pytest.mark.parametrize("graph", ["skip", "cycle"])
def test_exact_sweeps_never_raise_the_energy(graph, units, scale):
    for beta in (0.4, -0.4):
        at = nudged(graph, units, beta, scale=scale)
        start = random_state(at, seed=11)
        assert_never_rises(energies(at, ep.BlockCoordinate(max_steps=15), start))


@pytest.mark.parametrize("units, scale", STRONG)
@pytest.mark.parametrize("graph", ["skip", "lateral"])
def test_small_explicit_steps_never_raise_the_energy(graph, units, scale):
    for beta in (0.4, -0.4):
        at = nudged(graph, units, beta, scale=scale)
        matrix, _ = full_matrix(graph, at.energy_fn.edges)
        curvature = np.eye(len(matrix) - 5) - matrix[5:, 5:]
        top = np.max(np.abs(np.linalg.eigvalsh(curvature))) + abs(beta)
        start = random_state(at, seed=11)
        solver = ep.Euler(step_size=1.9 / top, max_steps=30)
        assert_never_rises(energies(at, solver, start))
        # Its first step of 10 is far too large here, and must be refused.
        adaptive = ep.AdaptiveEuler(step_size=10.0, max_steps=30, stop=None)
        assert_never_rises(energies(at, adaptive, start))


def test_explicit_steps_too_large_do_raise_it():
    at = nudged("skip", LINEAR, 0.0)
    values = energies(at, ep.Euler(step_size=2.5, max_steps=5), random_state(at))
    assert np.all(np.diff(values, axis=0) > 0)


def deep_chain(depth: int, strength: float) -> ep.Network:
    """A chain whose synchronous map has the spectral radius `strength`."""
    names = [f"h{k}" for k in range(depth - 1)] + ["output"]
    layers = [ep.Layer(name, ep.Linear(), (3,)) for name in names]
    # A path of n nodes with couplings c has eigenvalues 2c·cos(kπ/(n + 1)).
    c = strength / (2 * math.cos(math.pi / (depth + 1)))
    edges = [ep.Edge((a, b), ep.Dense(c * jnp.eye(3))) for a, b in pairwise(names)]
    edges.append(ep.Edge((names[0],), ep.Bias(jnp.ones(3))))
    return ep.Network(layers, edges)


def test_over_relaxation_needs_the_sweeps_that_theory_says():
    radius = 0.95
    at = ep.Landscape(deep_chain(8, radius), inputs(1))
    best = 2 / (1 + math.sqrt(1 - radius**2))

    def sweeps(omega):
        solver = ep.BlockCoordinate(
            relaxation=omega, max_steps=500, stop=ep.Tolerance(1e-9)
        )
        return int(ep.relax(at, solver).num_steps[0])

    plain, over = sweeps(1.0), sweeps(best)
    # Young 1954: the error shrinks by ρ² a sweep, and by ω − 1 at the best ω (there
    # times the sweep's number, a double eigenvalue, hence the wide margin above).
    per_plain, per_best = (math.log(1e9) / -math.log(r) for r in (radius**2, best - 1))
    assert 0.7 * per_plain < plain < 1.3 * per_plain
    assert 0.7 * per_best < over < 2 * per_best
    assert over < plain / 3
    # On either side of the best ω it is slower.
    assert sweeps(0.8) > plain
    assert sweeps(1.9) > over


def test_over_relaxation_keeps_clipped_units_in_their_set():
    at = nudged("skip", CLIPPED, 0.4, scale=4.0)
    solver = ep.BlockCoordinate(relaxation=1.9, max_steps=10)
    seen = ep.relax(
        at, solver, random_state(at), observe=lambda at, state: state, throw=False
    ).observations
    for layer in seen:
        assert np.min(layer) >= 0
        assert np.max(layer) <= 1
