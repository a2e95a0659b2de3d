"""Holomorphic Equilibrium Propagation: a derivative by a circle of complex nudges."""

import cmath

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from eqprop.relaxation import as_complex


def tanh_readout() -> h.Case:
    case = h.mlp([5, 6, 4], ep.Tanh(), output=ep.Tanh(), solver=h.DAMPED)
    head = ep.Readout(ep.CrossEntropy(), 0.5 * h.normal(8, 4, 3), 0.1 * h.normal(9, 3))
    return h.Case(ep.Model(case.model.energy, head), h.DAMPED, case.x, h.batch(5, 3)[1])


def tanh_logits() -> h.Case:
    return h.mlp([5, 6, 3], ep.Tanh(), cost=ep.CrossEntropy(), solver=h.DAMPED)


CASES = {
    "sigmoid units": h.CASES["sigmoid units"],
    "tanh units": h.CASES["tanh units"],
    "hopfield, tanh": h.CASES["hopfield, tanh"],
    "own energy": h.CASES["own energy"],
    "readout of logits": tanh_readout,
}
# A circle well inside of the radius of convergence, |β| < 1/|λ| for each pole of s^β.
BETAS = {"own energy": [0.12, 0.08, 0.05], "readout of logits": [0.8, 0.5, 0.3]}


@pytest.mark.parametrize(
    "name, points",
    [
        *(("sigmoid units", 3), ("tanh units", 6), ("hopfield, tanh", 4)),
        *(("own energy", 4), ("readout of logits", 5)),
    ],
)
def test_bias_is_of_the_order_of_the_number_of_points(name, points):
    case = CASES[name]()
    exact = h.exact(case)
    betas = BETAS.get(name, [0.3, 0.2, 0.13])
    found = [h.nudged(ep.Holomorphic(b, points), case) for b in betas]
    errors = [h.error(g, exact) for g in found]
    # 4 % for the next power; round-off is 1e-14/β.
    assert abs(h.slope(betas, errors) - points) < 0.04 * points
    assert errors[-1] < 0.02
    if name.startswith("readout"):
        own = [h.error(g.cost, exact.cost) for g in found]
        assert abs(h.slope(betas, own) - points) < 0.04 * points


def test_two_points_are_the_centered_rule():
    case = CASES["own energy"]()
    two = h.nudged(ep.Holomorphic(0.2, points=2), case)
    assert h.error(two, h.nudged(ep.Centered(0.2), case)) < 1e-14


def circle(case: h.Case, beta: float, points: int):
    """All points of the circle, relaxed as complex states, and the free phase."""
    landscape = ep.Landscape(case.model, case.x)
    free = ep.relax(landscape, case.solver).state
    betas = [beta * cmath.exp(2j * cmath.pi * k / points) for k in range(points)]
    scapes = [landscape.continued().nudge(case.y, b) for b in betas]
    found = [ep.relax(scape, case.solver, free) for scape in scapes]
    assert all(bool(jnp.all(e.converged)) for e in found)
    return betas, scapes, [e.state for e in found], free


@eqx.filter_jit
def contrasted(phases):
    return ep.contrast_grad(phases)


@pytest.mark.parametrize("points", [3, 4])
def test_half_of_the_circle_is_all_of_it(points):
    case, beta = CASES["sigmoid units"](), 0.2
    betas, scapes, states, free = circle(case, beta, points)
    weights = [1 / (points * b) for b in betas]
    parts = list(zip(scapes, states, strict=True))
    whole = contrasted(
        [ep.Phase(*part, w) for part, w in zip(parts, weights, strict=True)]
    )
    assert all(a.dtype == jnp.float64 for a in jax.tree.leaves(whole))
    half = h.nudged(ep.Holomorphic(beta, points), case)
    assert h.error(half, whole) < 1e-12
    # The contrast is a real part; that of −i times the weights is the imaginary one.
    imaginary = contrasted(
        [ep.Phase(*part, -1j * w) for part, w in zip(parts, weights, strict=True)]
    )
    assert np.max(np.abs(h.flat(imaginary))) < 1e-13
    # One point is the one-sided rule; in the mean over the circle its free phase,
    # weighted Σ 1/β_k = 0, drops out.
    rest = (ep.Landscape(case.model, case.x).continued(), as_complex(free))
    one_sided = [
        phase
        for part, w in zip(parts, weights, strict=True)
        for phase in (ep.Phase(*rest, -w), ep.Phase(*part, w))
    ]
    assert h.error(contrasted(one_sided), whole) < 1e-12


def test_states_of_conjugate_nudges_are_conjugate_and_their_mean_is_the_free_one():
    case, points, errors = CASES["tanh units"](), 3, []
    radii = [0.2, 0.13, 0.08]
    for beta in radii:
        _, _, states, free = circle(case, beta, points)
        flat = [h.flat(state) for state in states]
        np.testing.assert_allclose(flat[1], flat[2].conj(), atol=1e-13)
        assert np.max(np.abs(flat[1].imag)) > 1e-3
        errors.append(np.linalg.norm(np.mean(flat, axis=0) - h.flat(free)))
    # Of the Taylor series of s^β the mean keeps the powers 0, n, 2n, …
    assert abs(h.slope(radii, errors) - points) < 0.1


def test_outputs_without_couplings_have_the_closed_form():
    # s^β = (b + βy)/(1 + β), and ∂F/∂b = −s: all of the n-th power's bias is known,
    # (b − y)·Σ_j (−1)^{jn} β^{jn} = (b − y)/(1 − (−β)ⁿ).
    layers = (ep.Layer("output", ep.Linear(), (3,)),)
    bias, y = jnp.asarray([0.7, -0.2, 0.4]), jnp.asarray([[1.0, 0.0, 0.0]])
    energy = ep.Network(layers, (ep.Edge(("output",), ep.Bias(bias)),))
    case = h.Case(ep.Model(energy, ep.SquaredError()), h.SWEEPS, jnp.ones((1, 2)), y)
    for points in (2, 3, 4):
        found = h.nudged(ep.Holomorphic(0.5, points), case)
        expected = (bias - y[0]) / (1 - (-0.5) ** points)
        np.testing.assert_allclose(h.flat(found), expected, rtol=1e-12)


def test_only_half_of_the_circle_is_relaxed():
    case = CASES["sigmoid units"]()
    for points, count in ((3, 2), (4, 3)):
        outcome, _ = h.run(ep.Holomorphic(0.2, points), case)
        kinds = [jnp.iscomplexobj(p.state[0]) for p in outcome.nudged]
        assert len(kinds) == count
        assert kinds == [False, True, False][:count]


@pytest.mark.parametrize("beta, settled", [(0.3, [1, 1, 1]), (1.5, [1, 1, 0])])
def test_a_circle_around_a_lost_minimum_is_reported(beta, settled):
    # At −1.5 the output's curvature 1 + β is negative.
    case = tanh_squared()
    method = ep.EquilibriumProp(ep.Holomorphic(beta, 4), case.solver)
    outcome, _ = h.estimate(method, case.model, case.x, case.y)
    assert [int(jnp.all(p.converged)) for p in outcome.nudged] == settled


def tanh_squared() -> h.Case:
    # Damped: off the real line the nudge turns the output's own dynamics.
    solver = ep.FixedPoint(damping=0.2, max_steps=600, certify=1e-9)
    return h.mlp([5, 6, 3], ep.Tanh(), solver=solver)


def test_a_circle_past_a_pole_is_reported():
    # Steep sigmoids have poles close to the real line: states that reach them run.
    case = h.mlp([5, 6, 3], ep.Sigmoid(20.0, 0.5), solver=h.DAMPED)
    method = ep.EquilibriumProp(ep.Holomorphic(0.9, 3), case.solver)
    outcome, _ = h.estimate(method, case.model, case.x, case.y)
    assert bool(jnp.all(outcome.free.converged))
    assert not bool(jnp.all(outcome.nudged[1].converged))


def test_an_equilibrium_is_differentiated_by_it():
    case = CASES["own energy"]()
    reads = jax.tree.map(
        lambda s: h.normal(3, *s.shape), ep.Landscape(case.model, case.x).init()
    )

    @eqx.filter_jit
    def pulled(method):
        def downstream(parts):
            state = method.equilibrium(*parts, throw=False).state
            terms = jax.tree.map(lambda s, w: jnp.sum(jnp.sin(2 * s) * w), state, reads)
            return 1e-6 * sum(jax.tree.leaves(terms))

        return eqx.filter_grad(downstream)((case.model.energy, case.x))

    exact = pulled(ep.BackpropThroughTime(case.solver))
    betas = [0.12, 0.08, 0.05]
    errors = [
        h.error(pulled(ep.EquilibriumProp(ep.Holomorphic(b, 4), case.solver)), exact)
        for b in betas
    ]
    assert abs(h.slope(betas, errors) - 4) < 0.2
    assert errors[-1] < 1e-3
    centered = pulled(ep.EquilibriumProp(ep.Centered(betas[-1]), case.solver))
    assert errors[-1] < 0.1 * h.error(centered, exact)


def test_single_precision_gives_single_precision():
    case = tanh_logits()
    exact = h.exact(case)
    model, x, y = jax.tree.map(
        lambda a: a.astype(jnp.float32), (case.model, case.x, case.y)
    )
    method = ep.EquilibriumProp(ep.Holomorphic(0.1, 4), ep.FixedPoint(max_steps=60))
    _, grad = h.estimate(method, model, x, y)
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(grad))
    assert jax.tree.structure(grad) == jax.tree.structure(exact)
    # A bias of 2e-5 at β = 0.1, and round-off of 6e-8/0.1 a few times over.
    assert h.error(grad, exact) < 5e-5


@pytest.mark.parametrize("points", [2, 3, 4])
def test_clipped_units_are_refused_with_any_number_of_points(points):
    case = h.CASES["one hidden layer"]()
    method = ep.EquilibriumProp(ep.Holomorphic(0.2, points))
    message = r"`HardSigmoid\(\)`, which is clipped.*Use `ep\.Sigmoid.*`ep\.Centered"
    with pytest.raises(ValueError, match=message):
        method.value_and_grad(case.model, case.x, case.y)


@pytest.mark.parametrize("points", [1, 0, -4, 2.5, True, "4"])
def test_fewer_than_two_points_are_refused(points):
    with pytest.raises((ValueError, TypeError), match="points"):
        ep.Holomorphic(0.2, points)


@pytest.mark.parametrize("beta", [0.0, -0.2, float("nan")])
def test_a_radius_that_is_not_positive_is_refused(beta):
    with pytest.raises(ValueError, match="`beta` of `Holomorphic` must be a finite"):
        ep.Holomorphic(beta)
