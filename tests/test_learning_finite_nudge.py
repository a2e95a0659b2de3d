"""What holds at any β, however large: the objectives that are descended exactly."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


BETA = 0.5
# β = 0.5 leaves a minimum only where the energy's own curvature exceeds 0.5·∂²C.
NAMES = [
    "two hidden layers",
    "skips",
    "tanh units",
    "logits",
    "hopfield, clip",
    "readout of squared error",
    "readout of logits",
    "own energy",
]


def mean_energy(case: h.Case, beta: float | None) -> float:
    landscape, state = h.settled(case, beta)
    return float(jnp.mean(landscape.energy(state)))


def one_sided_objective(case: h.Case) -> float:
    """L_β = [F(β, s^β) − F(0, s⁰)]/β."""
    return (mean_energy(case, BETA) - mean_energy(case, None)) / BETA


def centered_objective(case: h.Case) -> float:
    """[F(β, s^β) − F(−β, s^−β)]/2β."""
    return (mean_energy(case, BETA) - mean_energy(case, -BETA)) / (2 * BETA)


def clamped_objective(case: h.Case) -> float:
    """E(s^∞) − E(s⁰), the outputs of s^∞ held at the target."""
    landscape = ep.Landscape(case.model, case.x)
    held = landscape.clamp(case.model.energy.output, case.y)
    state = ep.relax(held, case.solver).state
    return float(jnp.mean(held.energy(state))) - mean_energy(case, None)


def assert_gradient_of(objective, case: h.Case, grad) -> None:
    """Central differences along one random direction in every array."""
    leaves, treedef = jax.tree.flatten(eqx.filter(case.model, eqx.is_inexact_array))
    rest = eqx.filter(case.model, eqx.is_inexact_array, inverse=True)
    step = 1e-5
    for k, (leaf, slope) in enumerate(zip(leaves, jax.tree.leaves(grad), strict=True)):
        direction = h.normal(20 + k, *leaf.shape)
        ends = []
        for sign in (1, -1):
            moved = list(leaves)
            moved[k] = leaf + sign * step * direction
            model = eqx.combine(jax.tree.unflatten(treedef, moved), rest)
            ends.append(objective(case._replace(model=model)))
        # Truncation is about step², round-off 1e-16/(β·step): both 1e-10.
        finite = (ends[0] - ends[1]) / (2 * step)
        expected = float(jnp.vdot(slope, direction))
        np.testing.assert_allclose(finite, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_one_sided_is_the_exact_gradient_of_its_objective(name):
    case = h.CASES[name]()
    assert_gradient_of(one_sided_objective, case, h.nudged(ep.OneSided(BETA), case))


@pytest.mark.parametrize("name", NAMES)
def test_centered_is_the_exact_gradient_of_its_objective(name):
    case = h.CASES[name]()
    assert_gradient_of(centered_objective, case, h.nudged(ep.Centered(BETA), case))


@pytest.mark.parametrize("name", ["two hidden layers", "hopfield, tanh"])
def test_clamped_is_the_exact_gradient_of_its_objective(name):
    case = h.CASES[name]()
    assert_gradient_of(clamped_objective, case, h.nudged(ep.Clamped(), case))


@pytest.mark.parametrize("name", ["two hidden layers", "hopfield, tanh", "logits"])
@pytest.mark.parametrize("beta", [-0.3, 0.2, 1.0])
def test_the_settled_energy_grows_with_beta_by_the_cost(name, beta):
    case = h.CASES[name]()
    landscape, state = h.settled(case, beta)
    step = 1e-4
    ends = []
    for b in (beta + step, beta - step):
        moved, settled = h.settled(case, b)
        ends.append(moved.energy(settled))
    # The third derivative in β is of order 1: 1e-8.
    slope = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(slope, landscape.cost(state), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_cost_decreases_along_the_branch(name):
    case = h.CASES[name]()
    betas = np.linspace(-0.4, 1.0, 8)
    costs = []
    for beta in betas:
        landscape, state = h.settled(case, float(beta))
        costs.append(landscape.cost(state))
    # d²F*/dβ² = dC(s^β)/dβ ≤ 0 where s^β is a minimum; strictly, since no example's
    # outputs are all stuck.
    assert np.all(np.diff(np.stack(costs), axis=0) < 0)
