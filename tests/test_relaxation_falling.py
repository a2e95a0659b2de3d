"""A relaxation factor that falls while an example settles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import (
    flat,
    full_matrix,
    inputs,
    network,
    strongly_coupled,
    targets,
    times_traced,
)


OMEGA, OVER = 1.8, 4


def swept_by_hand(at: ep.Landscape, sweeps: int) -> np.ndarray:
    """Linear units in a chain of h, k, and the output: h and the output first, then k,
    each to its row of the couplings times all others."""
    matrix, bias = full_matrix("chain", at.energy_fn.edges)
    x = np.asarray(at.x).reshape(len(at.x), -1)
    drive, between = x @ matrix[:5, 5:] + bias[5:], matrix[5:, 5:]
    state = np.zeros_like(drive)
    first = np.r_[np.ones(4), np.zeros(4), np.ones(3)].astype(bool)
    for t in range(sweeps):
        omega = 1 + (OMEGA - 1) * (1 - (t % OVER / OVER) ** 2)
        for moving in (first, ~first):
            goal = drive + state @ between
            state = np.where(moving, state + omega * (goal - state), state)
    return state


def falling(steps: int, **kwargs) -> ep.BlockCoordinate:
    return ep.BlockCoordinate(OMEGA, max_steps=steps, falls_over=OVER, **kwargs)


@pytest.mark.parametrize("sweeps", [1, 2, 4, 5, 11])
def test_it_falls_as_a_parabola_and_begins_anew(sweeps):
    at = ep.Landscape(network("chain", ("linear",)), inputs(3))
    found = ep.relax(at, falling(sweeps), throw=False).state
    np.testing.assert_allclose(flat(found), swept_by_hand(at, sweeps), atol=1e-14)


def test_with_a_tolerance_every_example_falls_by_itself():
    """It stops at the first state that is within it, whatever its batch-mates do."""
    at = ep.Landscape(network("chain", ("linear",)), inputs(5))
    solver = falling(200, stop=ep.Tolerance(1e-8), certify=1e-8)
    together = ep.relax(at, solver)
    counts = [int(n) for n in together.num_steps]
    assert len(set(counts)) > 1
    for k, count in enumerate(counts):
        one = ep.Landscape(at.model, at.x[k : k + 1])
        np.testing.assert_allclose(
            flat(together.state)[k], swept_by_hand(one, count)[0], atol=1e-13
        )


def test_an_infinite_number_of_sweeps_leaves_it_as_it_is():
    model = ep.Model(network("skip"), ep.SquaredError())
    at = ep.Landscape(model, inputs(3)).nudge(targets(3), 0.3)
    stays = ep.BlockCoordinate(OMEGA, max_steps=9)
    endless = ep.BlockCoordinate(OMEGA, max_steps=9, falls_over=jnp.inf)
    np.testing.assert_allclose(
        flat(ep.relax(at, endless, throw=False).state),
        flat(ep.relax(at, stays, throw=False).state),
        rtol=0,
        atol=1e-14,
    )


def test_curved_units_keep_their_caution():
    at = strongly_coupled()
    bold = ep.BlockCoordinate(
        1.9, max_steps=400, stop=ep.Tolerance(1e-10), certify=1e-8, falls_over=200
    )
    memory = bold.init(at, at.init(), None)
    assert memory is not None
    assert memory.caution is not None
    assert bool(jnp.all(ep.relax(at, bold, throw=False).converged))


def test_another_fall_compiles_nothing():
    at = ep.Landscape(network("chain"), inputs(4))
    falls = [ep.BlockCoordinate(1.6, falls_over=over) for over in (3, 8.0, jnp.inf)]
    assert times_traced(at, falls) == 1


def test_float32_stays_float32():
    whole = ep.Landscape(network("chain"), inputs(4))
    at = jax.tree.map(lambda a: a.astype(jnp.float32), whole)
    solver = ep.BlockCoordinate(1.6, falls_over=jnp.asarray(6.0, jnp.float64))
    found = ep.relax(at, solver, throw=False).state
    assert {s.dtype for s in jax.tree.leaves(found)} == {jnp.dtype("float32")}


def test_a_wrong_fall_is_refused():
    with pytest.raises(ValueError, match="`falls_over`.*must be a number at least 1"):
        ep.BlockCoordinate(1.6, falls_over=0)
    with pytest.raises(ValueError, match="but is nan. As many as the sweeps"):
        ep.BlockCoordinate(1.6, falls_over=float("nan"))
    with pytest.raises(TypeError, match="must be a number, but is 'slowly'"):
        ep.BlockCoordinate(1.6, falls_over="slowly")
    with pytest.raises(ValueError, match="`relaxation` leaves ω open"):
        ep.BlockCoordinate(falls_over=8)
