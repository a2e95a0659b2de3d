"""The adjoint's linear system: its solvers, its failures, its scale."""

import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h
from eqprop.relaxation import certified


SOLVERS = {
    "dense": ep.DenseLU(),
    "gmres": ep.GMRES(),
    "cg": ep.ConjugateGradient(),
}
Q = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
B = np.random.default_rng(1).normal(size=6)


def spectral(params, state, x):
    """½ sᵀQ diag(x) Qᵀs − bᵀs: every example's input is the spectrum of its J."""
    turned = state @ params["q"]
    return 0.5 * jnp.sum(x * turned * turned) - params["b"] @ state


def energy_of(dtype=float, axes=Q) -> ep.FunctionEnergy:
    params = {"q": jnp.asarray(axes, dtype), "b": jnp.asarray(B, dtype)}
    return ep.FunctionEnergy(
        spectral, params, init=lambda x: jnp.zeros(6, x.dtype), output=lambda s: s
    )


SPECTRA = np.asarray(
    [
        [1.0, 2.0, 0.5, 1.5, 3.0, 0.7],
        [1.0, 1e-3, 5.0, 1.5, 3.0, 0.7],
        [1.0, 2.0, -0.5, 1.5, -3.0, 0.7],
        [1.0, 2.0, 0.0, 1.5, 3.0, 0.7],
    ]
)
COTANGENT = np.random.default_rng(2).normal(size=(4, 6))


@eqx.filter_jit
def pulled(linear_solver, axes, x, state, cotangent):
    solver = ep.Euler(max_steps=1)
    landscape = ep.Landscape(energy_of(axes=axes), x)
    free = certified(landscape, solver, state, jnp.ones(4, jnp.int32))
    method = ep.ImplicitDifferentiation(solver, linear_solver)
    return method.pull_back(landscape, free, cotangent)


def solved(name: str, spectra=SPECTRA, cotangent=COTANGENT, axes=Q):
    """The adjoint phase, and the cotangents of b and of x."""
    inverse = np.divide(1, spectra, where=spectra != 0, out=np.zeros((4, 6)))
    states = (B @ axes * inverse) @ axes.T
    arrays = (jnp.asarray(a) for a in (axes, spectra, states, cotangent))
    phases, energy_bar, x_bar = pulled(SOLVERS[name], *arrays)
    return phases[0], energy_bar.params["b"], x_bar


def adjoints(spectra=SPECTRA, cotangent=COTANGENT) -> np.ndarray:
    return (cotangent @ Q / spectra) @ Q.T


def is_singular(phase) -> np.ndarray:
    return np.asarray(phase.result == ep.RESULTS.singular)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_adjoint_is_the_closed_form(name):
    spectra = SPECTRA[[0, 1, 0, 1]]
    phase, b_bar, x_bar = solved(name, spectra)
    expected = adjoints(spectra)
    assert np.all(phase.converged)
    assert np.all(phase.result == ep.RESULTS.converged)
    # A tolerance of 1e-10, a condition of 5e3.
    np.testing.assert_allclose(phase.state, expected, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(b_bar, expected.sum(0), rtol=1e-5, atol=1e-7)
    # ∂²E/∂x_k∂s = q_k (q_k·s), with q_k·s = q_k·b/x_k.
    along = -(expected @ Q) * (B @ Q) / spectra
    np.testing.assert_allclose(x_bar, along, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_curvature_that_cannot_be_inverted_is_reported_in_its_example(name):
    phase, b_bar, x_bar = solved(name)
    np.testing.assert_array_equal(is_singular(phase)[[0, 1, 3]], [0, 0, 1])
    np.testing.assert_array_equal(phase.converged[jnp.asarray([0, 1, 3])], [1, 1, 0])
    assert np.all(np.isnan(phase.state[3]))
    assert np.all(np.isnan(x_bar[3]))
    assert np.all(np.isnan(b_bar))
    assert not np.any(np.isnan(x_bar[:2]))
    # At a saddle the theorem holds; conjugate gradients may break down, but aloud.
    if name == "cg" and is_singular(phase)[2]:
        assert np.all(np.isnan(phase.state[2]))
    else:
        expected = adjoints(SPECTRA[2:3], COTANGENT[2:3])[0]
        np.testing.assert_allclose(phase.state[2], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_breakdown_is_no_number(name):
    # cᵀJc = 0: the first step of conjugate gradients divides by it.
    spectra = np.tile([1.0, -1.0, 1.0, 1.0, 1.0, 1.0], (4, 1))
    cotangent = np.tile((Q[:, 0] + Q[:, 1]), (4, 1))
    phase, _, _ = solved(name, spectra, cotangent)
    if name == "cg":
        assert np.all(is_singular(phase))
        assert np.all(np.isnan(phase.state))
    else:
        expected = adjoints(spectra, cotangent)
        np.testing.assert_allclose(phase.state, expected, atol=1e-8)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_nearly_flat_direction_is_no_number(name):
    # Round-off leaves a pivot of 1e-17, by which dense elimination would divide.
    spectra = np.tile(SPECTRA[3], (4, 1))
    spectra[:, 2] = [1e-17, -1e-16, 2.0**-50, 1e-14]
    # Along the axes 1/2⁻⁵⁰ is exact, and no residual would tell.
    for axes, cotangent in ((Q, COTANGENT), (np.eye(6), np.ones((4, 6)))):
        phase, _, _ = solved(name, spectra, cotangent, axes)
        assert np.all(is_singular(phase))
        assert np.all(np.isnan(phase.state))


@pytest.mark.parametrize("name", SOLVERS)
def test_no_example_depends_on_its_batch_mates(name):
    together, _, together_x = solved(name)
    for k in range(4):
        rows = [k] * 4
        alone, _, alone_x = solved(name, SPECTRA[rows], COTANGENT[rows])
        np.testing.assert_array_equal(alone.num_steps, together.num_steps[k])
        np.testing.assert_array_equal(alone.converged, together.converged[k])
        if together.converged[k]:
            np.testing.assert_allclose(alone.state[0], together.state[k], rtol=1e-12)
            np.testing.assert_allclose(alone_x[0], together_x[k], rtol=1e-12)


@pytest.mark.parametrize("name", SOLVERS)
def test_nothing_comes_of_a_zero_cotangent_whatever_the_curvature(name):
    phase, b_bar, x_bar = solved(name, cotangent=0 * COTANGENT, axes=np.eye(6))
    assert np.all(phase.converged)
    for found in (phase.state, b_bar, x_bar):
        np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_state_that_is_not_finite_is_reported_as_such(name):
    broken = np.array(COTANGENT)
    broken[1, 2] = np.nan
    phase, _, _ = solved(name, SPECTRA[[0, 0, 0, 0]], broken)
    nonfinite = np.asarray(phase.result == ep.RESULTS.nonfinite)
    np.testing.assert_array_equal(nonfinite, [0, 1, 0, 0])
    np.testing.assert_array_equal(phase.converged, [1, 0, 1, 1])


def test_padding_of_a_singular_curvature_counts_nothing():
    model = ep.Model(energy_of(), ep.SquaredError())
    method = ep.ImplicitDifferentiation(ep.Euler(step_size=0.3, max_steps=300))
    # At rest in the flat direction, where nothing drives it.
    flat = SPECTRA[[0, 0, 0, 3]]
    y = jnp.asarray(COTANGENT)
    weight = jnp.asarray([1.0, 1.0, 1.0, 0.0])
    _, with_it = h.estimate(method, model, jnp.asarray(flat), y, weight=weight)
    sound = jnp.asarray(SPECTRA[[0, 0, 0, 0]])
    _, without = h.estimate(method, model, sound, y, weight=weight)
    np.testing.assert_allclose(h.flat(with_it), h.flat(without), rtol=1e-12)
    outcome, grad = h.estimate(method, model, jnp.asarray(flat), y, weight=1 - weight)
    assert np.all(np.isnan(grad.energy.params["b"]))
    assert outcome.nudged[0].worst() == ep.RESULTS.singular


def test_a_flat_direction_raises_where_failures_do():
    method = ep.ImplicitDifferentiation(ep.Euler(step_size=0.3, max_steps=10))

    @eqx.filter_jit
    @eqx.filter_grad
    def slopes(energy):
        return jnp.sum(method.equilibrium(energy, jnp.asarray(SPECTRA)).state ** 2)

    with pytest.raises(RuntimeError, match="singular .the energy has a flat direction"):
        jax.block_until_ready(slopes(energy_of()))


METHODS = {
    **{
        name: ep.ImplicitDifferentiation(ep.Euler(max_steps=60), solver)
        for name, solver in SOLVERS.items()
    },
    "series": ep.RecurrentBackprop(ep.Euler(max_steps=60)),
    "stopped series": ep.RecurrentBackprop(
        ep.Euler(max_steps=60), stop=ep.Tolerance(1e-7)
    ),
    "unrolled": ep.BackpropThroughTime(ep.Euler(max_steps=60)),
}


@pytest.mark.parametrize("name", METHODS)
def test_the_size_of_a_cotangent_does_not_matter_in_float32(name):
    x = jnp.asarray(SPECTRA[[0, 0, 0, 0]], jnp.float32)
    goal = jnp.asarray(COTANGENT, jnp.float32)

    @jax.jit
    def slopes(scale):
        def loss(x):
            found = METHODS[name].equilibrium(energy_of(jnp.float32), x)
            return jnp.sum(scale[:, None] * goal * found.state)

        return jax.grad(loss)(x)

    scale = np.asarray([1.0, 1e-20, 1e10, 1e-5])
    found = slopes(jnp.asarray(scale, jnp.float32))
    assert found.dtype == jnp.float32
    expected = np.asarray(slopes(jnp.ones(4, jnp.float32)), float) * scale[:, None]
    assert np.min(np.abs(expected[0])) > 1e-3
    # A few roundings of float32, of sums that cancel in part.
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
    "output", [ep.HardSigmoid(), ep.Sigmoid(4.0, 10.0)], ids=["clipped", "saturated"]
)
def test_linear_solvers_agree_on_curved_units(output):
    # Curved hidden units, and outputs some of which are at a wall; or all so far out
    # that their slope is 1e-16, and with it every right-hand side.
    case = h.mlp([5, 6, 6, 3], ep.Sigmoid(4.0, 0.5), output, h.DAMPED)
    grads = {}
    for name, solver in SOLVERS.items():
        method = ep.ImplicitDifferentiation(case.solver, solver)
        outcome, grads[name] = h.estimate(method, case.model, case.x, case.y)
        assert np.all(outcome.nudged[0].converged)
    out = np.asarray(outcome.free.state[-1])
    assert np.any((out <= 1e-16) | (out == 1))
    assert h.error(grads["gmres"], grads["dense"]) < 1e-8
    assert h.error(grads["cg"], grads["dense"]) < 1e-8


def test_softmax_layers_pull_back_through_their_coupled_slope():
    case = h.mlp([5, 6, 3], ep.Softmax(), solver=h.DAMPED)
    method = ep.ImplicitDifferentiation(case.solver, ep.GMRES())
    assert h.error(h.gradient(method, case), h.exact(case)) < 1e-8
    method = ep.ImplicitDifferentiation(case.solver, ep.ConjugateGradient())
    with pytest.raises(ValueError, match=r"one by one.*Softmax.*ep\.GMRES\(\)"):
        h.gradient(method, case)


def test_large_nets_are_solved_by_products():
    case = h.mlp([5, 510, 3])
    steps = []
    grads = []
    for solver in (None, ep.DenseLU()):
        method = ep.ImplicitDifferentiation(case.solver, solver)
        outcome, grad = h.estimate(method, case.model, case.x, case.y)
        steps.append(int(outcome.nudged[0].num_steps[0]))
        grads.append(grad)
    assert steps[0] > steps[1] == 1
    assert h.error(*grads) < 1e-9


def test_lineax_is_asked_for_where_it_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "lineax", None)
    case = h.mlp([5, 3])
    dense = ep.ImplicitDifferentiation(case.solver)
    dense.value_and_grad(case.model, case.x, case.y)
    for solver in (ep.GMRES(), ep.ConjugateGradient()):
        method = ep.ImplicitDifferentiation(case.solver, solver)
        message = rf"`ep.{type(solver).__name__}` needs the lineax.*eqprop\[solvers\]"
        with pytest.raises(ImportError, match=message):
            method.value_and_grad(case.model, case.x, case.y)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ep.GMRES(rtol=0.0), "`rtol` of `GMRES`.*above 0"),
        (lambda: ep.ConjugateGradient(rtol=2.0), "`rtol` of `Conj.*below 1"),
        (lambda: ep.GMRES(restart=0), "`restart` of `GMRES`.*positive integer"),
        (lambda: ep.GMRES(max_steps=-1), "`max_steps` of `GMRES`.*-1"),
        (lambda: ep.ConjugateGradient(max_steps=True), "`max_steps` of `Conj.*True"),
        (lambda: ep.ImplicitDifferentiation(certify=0.0), "`certify` of `Implicit"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
