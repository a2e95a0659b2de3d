"""How fast Equilibrium Propagation approaches the unrolled reference as β → 0."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


# The largest is small enough for the leading power of β to dominate, the smallest
# large enough for its error to stand far above round-off (1e-14/β).
BETAS = [0.04, 0.02, 0.01, 0.005]


def errors(nudging, betas, case: h.Case, exact) -> list[float]:
    """Errors over a range of β in which no unit changes its saturation."""
    errors = []
    for beta in betas:
        outcome, grad = h.run(nudging(beta), case)
        free = h.walls(case, outcome.free.state)
        for phase in outcome.nudged:
            np.testing.assert_array_equal(h.walls(case, phase.state), free)
        errors.append(h.error(grad, exact))
    return errors


@pytest.mark.parametrize("name", h.CASES)
def test_one_sided_bias_is_first_order_and_centered_bias_second_order(name):
    case = h.CASES[name]()
    exact = h.exact(case)
    # 0.1 for the next power of β, which bends the line: 4 % at the largest.
    assert abs(h.slope(BETAS, errors(ep.OneSided, BETAS, case, exact)) - 1) < 0.1
    negative = [-beta for beta in BETAS]
    assert abs(h.slope(BETAS, errors(ep.OneSided, negative, case, exact)) - 1) < 0.1
    centered = errors(ep.Centered, BETAS, case, exact)
    assert abs(h.slope(BETAS, centered) - 2) < 0.1
    # A gradient of half or twice the size would have a slope of 0 and an error of 1;
    # this one approaches the reference itself.
    assert centered[-1] < 1e-3


@pytest.mark.parametrize("name", ["one hidden layer", "hopfield, clip", "skips"])
def test_the_nets_have_units_at_walls_and_inside(name):
    case = h.CASES[name]()
    state = ep.relax(ep.Landscape(case.model, case.x), case.solver).state
    marks = h.walls(case, state)
    assert np.mean(marks != 0) > 0.1
    assert np.mean(marks == 0) > 0.4


@pytest.mark.parametrize("cost", [ep.SquaredError(), ep.CrossEntropy()])
def test_a_readouts_own_parameters_learn(cost):
    case = h.readout(cost)
    exact = h.exact(case).cost
    one_sided = [h.nudged(ep.OneSided(b), case).cost for b in BETAS]
    centered = [h.nudged(ep.Centered(b), case).cost for b in BETAS]
    assert float(jnp.linalg.norm(exact.weight)) > 0.1
    assert float(jnp.linalg.norm(exact.bias)) > 0.1
    assert abs(h.slope(BETAS, [h.error(g, exact) for g in one_sided]) - 1) < 0.1
    assert abs(h.slope(BETAS, [h.error(g, exact) for g in centered]) - 2) < 0.1


KEYS = [jax.random.key(k) for k in range(12)]


def test_random_sign_is_one_sided_with_either_sign():
    case = h.mlp([5, 6, 3])
    up, down = h.nudged(ep.OneSided(0.2), case), h.nudged(ep.OneSided(-0.2), case)
    drawn = [h.nudged(ep.RandomSign(0.2), case, key=key) for key in KEYS]
    signs = [1 if h.error(g, up) < 1e-12 else -1 for g in drawn]
    assert set(signs) == {1, -1}
    for sign, g in zip(signs, drawn, strict=True):
        # The same phases; compiled apart, they differ by round-off over β.
        assert h.error(g, up if sign > 0 else down) < 1e-12


def test_random_sign_averaged_over_both_signs_is_second_order():
    case = h.mlp([5, 6, 5, 3])
    exact, errors = h.exact(case), []
    for beta in BETAS:
        drawn = [h.nudged(ep.RandomSign(beta), case, key=key) for key in KEYS]
        different = {np.round(h.flat(g), 9).tobytes(): g for g in drawn}
        up, down = different.values()
        mean = jax.tree.map(lambda a, b: 0.5 * (a + b), up, down)
        # ½[(F⁺ − F⁰)/β + (F⁻ − F⁰)/(−β)] = (F⁺ − F⁻)/2β: the centered contrast.
        assert h.error(mean, h.nudged(ep.Centered(beta), case)) < 1e-10
        errors.append(h.error(mean, exact))
    assert abs(h.slope(BETAS, errors) - 2) < 0.1


def test_both_signs_are_equally_likely():
    keys = jax.random.split(jax.random.key(0), 4000)
    signs = jax.vmap(ep.RandomSign(0.2).sign)(keys)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    # Four standard deviations of the mean of 4000 fair signs.
    assert abs(float(jnp.mean(signs))) < 4 / np.sqrt(4000)


def test_the_unrolled_reference_is_the_gradient_of_the_cost_it_reports():
    case = h.mlp([5, 6, 5, 3])
    weight = jnp.asarray([1.0, 0.5, 2.0, 0.0])
    # Far from equilibrium, too: the reference differentiates the steps it took.
    for steps in (2, 150):
        method = ep.BackpropThroughTime(ep.BlockCoordinate(max_steps=steps))
        options = {"weight": weight, "state0": h.settled(case, -0.3)[1]}
        grad = h.gradient(method, case, **options)
        direction = jax.tree.map(
            lambda a: h.normal(a.size, *a.shape), eqx.filter(case.model, eqx.is_array)
        )

        def cost(t, method=method, options=options, direction=direction):
            moved = jax.tree.map(lambda p, d: p + t * d, case.model, direction)
            outcome, _ = h.estimate(method, moved, case.x, case.y, **options)
            return float(outcome.cost)

        # Round-off over the step and the step squared are both about 1e-10.
        finite = (cost(1e-6) - cost(-1e-6)) / 2e-6
        assert np.dot(h.flat(grad), h.flat(direction)) == pytest.approx(
            finite, rel=1e-7
        )
