"""Complex states: analytic continuations against NumPy, and what has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

import eqprop as ep
import helpers as h
from eqprop.relaxation import as_complex


BETA = 0.3 - 0.4j
# To 1e-15: two orders below what is asserted.
SOLVERS = {
    "euler": ep.Euler(step_size=0.5, max_steps=200, certify=1e-12),
    "fixed point": ep.FixedPoint(damping=0.7, max_steps=200, certify=1e-12),
    "blocks": ep.BlockCoordinate(max_steps=100, certify=1e-12),
    "over-relaxed": ep.BlockCoordinate(relaxation=1.2, max_steps=100, certify=1e-12),
}


def nudged(energy, cost=None, beta=BETA) -> ep.Landscape:
    model = ep.Model(energy, cost or ep.SquaredError())
    return ep.Landscape(model, h.inputs()).continued().nudge(h.targets(), beta)


@pytest.mark.parametrize(
    "graph, solver", [("lateral", "euler"), *(("chain", name) for name in SOLVERS)]
)
def test_linear_units_settle_at_the_closed_form(graph, solver):
    energy = h.network(graph, ["linear"])
    landscape = nudged(energy)
    found = ep.relax(landscape, SOLVERS[solver])
    matrix, bias = h.full_matrix(graph, energy.edges)
    x, y = np.asarray(h.inputs()), np.asarray(h.targets())
    # (A + βPᵀP) s = Bx + b + βPᵀy
    pick = np.zeros((y.shape[1], len(bias) - x.shape[1]))
    pick[:, -y.shape[1] :] = np.eye(y.shape[1])
    nx = x.shape[1]
    curvature = np.eye(len(bias) - nx) - matrix[nx:, nx:] + BETA * pick.T @ pick
    drive = x @ matrix[:nx, nx:] + bias[nx:] + BETA * y @ pick
    expected = np.linalg.solve(curvature, drive.T).T
    np.testing.assert_allclose(h.flat(found.state), expected, atol=1e-12)
    assert found.residual.dtype == jnp.float64
    assert bool(jnp.all(found.converged))


@pytest.mark.parametrize("cost", [ep.SquaredError(), ep.CrossEntropy()])
@pytest.mark.parametrize("units", [("sigmoid", "tanh", "linear"), ("softmax", "tanh")])
def test_solvers_agree_on_curved_units_with_a_loop_in_numpy(units, cost):
    energy = h.network("chain", units)
    landscape = nudged(energy, cost)
    expected = settled_by_hand(energy, units, cost)
    for name in ("fixed point", "blocks"):
        found = ep.relax(landscape, SOLVERS[name])
        np.testing.assert_allclose(h.flat(found.state), expected, atol=1e-11)
        assert bool(jnp.all(found.converged))


def settled_by_hand(energy, units, cost) -> np.ndarray:
    """s ← s + ½(activate(drive) − s) in complex NumPy, example by example."""
    matrix, bias = h.full_matrix("chain", energy.edges)
    cases, stops = h.cases_of("chain", units), 5 + np.cumsum([0, 4, 4, 3])
    rows = []
    for x, y in zip(np.asarray(h.inputs()), np.asarray(h.targets()), strict=True):
        u = np.concatenate([x, np.full(len(bias) - 5, 0.3)]).astype(complex)
        for _ in range(300):
            drive = matrix @ u + bias
            o = u[-3:]
            logits = isinstance(cost, ep.CrossEntropy)
            p = np.exp(o) / np.sum(np.exp(o)) if logits else o
            drive[-3:] -= BETA * (p - y)
            for case, a, b in zip(cases, stops[:-1], stops[1:], strict=True):
                u[a:b] += 0.5 * (activate(case, drive[a:b]) - u[a:b])
        rows.append(u[5:])
    return np.stack(rows)


def activate(case: h.UnitCase, drive: np.ndarray) -> np.ndarray:
    if isinstance(case.unit, ep.Softmax):
        return np.exp(drive) / np.sum(np.exp(drive))
    return case.activate(drive)


@pytest.mark.parametrize("name", h.CURVED)
def test_potentials_continue_and_activation_inverts_their_slope(name):
    unit = h.UNITS[name].unit
    z = jnp.asarray([0.2 + 0.1j, 0.5 - 0.3j, 0.3 + 0.2j])
    entropy = z * np.log(z)
    mirror = (1 - z) * np.log(1 - z)
    expected = {
        "sigmoid": entropy + mirror,
        "steep_sigmoid": (entropy + mirror) / 4 + 0.5 * z,
        "tanh": z * np.arctanh(z) + 0.5 * np.log(1 - z * z),
        "softmax": entropy,
    }[name]
    np.testing.assert_allclose(unit.potential(z), np.sum(expected), rtol=1e-14)
    if name == "softmax":
        z = z / jnp.sum(z)
    drive = jax.grad(unit.potential, holomorphic=True)(z)
    np.testing.assert_allclose(unit.activate(drive), z, rtol=1e-13)
    # No walls: a state outside of the interval stays.
    np.testing.assert_array_equal(unit.project(3 * z), 3 * z)


def test_conjugate_nudges_give_conjugate_states_and_real_ones_real_states():
    energy, solver = h.network("cycle", ["tanh", "linear"]), SOLVERS["blocks"]
    above = ep.relax(nudged(energy), solver).state
    below = ep.relax(nudged(energy, beta=BETA.conjugate()), solver).state
    np.testing.assert_allclose(h.flat(above), h.flat(below).conj(), atol=1e-14)
    assert np.max(np.abs(h.flat(above).imag)) > 1e-2
    real = ep.Landscape(ep.Model(energy, ep.SquaredError()), h.inputs())
    expected = ep.relax(real.nudge(h.targets(), 0.3), solver).state
    found = ep.relax(nudged(energy, beta=0.3), solver).state
    np.testing.assert_allclose(h.flat(found), h.flat(expected), atol=1e-13)


def test_energy_and_force_are_the_continuation_of_the_real_ones():
    # E(s + δ) − E(s) along the line, from the real Taylor series: for a polynomial
    # energy of degree 3 it ends, and complex δ may stand in it.
    def energy(w, s, x):
        return jnp.sum(w * s**3) + s @ s - jnp.sum(x * s)

    own = ep.FunctionEnergy(
        energy, jnp.asarray([0.1, -0.2, 0.3]), init=jnp.zeros_like, output=lambda s: s
    )
    x = jnp.asarray([[0.3, -0.5, 0.7]])
    landscape = ep.Landscape(own, x).continued()
    z = jnp.asarray([[0.2 + 0.5j, -0.4j, 1.0 + 0.1j]])
    w, z0, x0 = np.asarray([0.1, -0.2, 0.3]), np.asarray(z[0]), np.asarray(x[0])
    value = np.sum(w * z0**3) + np.sum(z0**2) - np.sum(x0 * z0)
    np.testing.assert_allclose(landscape.energy(z)[0], value, rtol=1e-14)
    slope = 3 * w * z0**2 + 2 * z0 - x0
    np.testing.assert_allclose(landscape.force(z)[0], -slope, rtol=1e-14)


def test_the_residual_sees_the_imaginary_part():
    landscape = nudged(h.network("chain", ["linear"]))
    state = ep.relax(landscape, SOLVERS["blocks"]).state
    off = (*state[:-1], state[-1] + 0.1j)
    # Of the output alone: −0.1j of its own, and −β·0.1j more drive.
    size = landscape.residual(off)
    assert size.dtype == jnp.float64
    assert bool(jnp.all(size >= abs(1 + BETA) * 0.1 - 1e-12))


def test_a_continuation_rests_where_the_real_landscape_does_and_starts_from_there():
    energy = h.network("chain", ["softmax", "sigmoid"])
    real = ep.Landscape(ep.Model(energy, ep.SquaredError()), h.inputs())
    landscape = real.continued()
    np.testing.assert_array_equal(h.flat(landscape.init()), h.flat(real.init()))
    one = ep.FixedPoint(max_steps=1)
    state = ep.relax(landscape, one, real.init(), throw=False).state
    assert all(s.dtype == jnp.complex128 for s in state)
    clamped = landscape.clamp(lambda s: s[0], real.init()[0])
    assert clamped.init()[0].dtype == jnp.complex128


def test_single_precision_stays_single():
    energy = h.network("chain", ["tanh", "linear"])
    model = ep.Model(energy, ep.CrossEntropy())
    model, x, y = jax.tree.map(
        lambda a: a.astype(jnp.float32), (model, h.inputs(), h.targets())
    )
    exact = ep.relax(nudged(energy, ep.CrossEntropy()), SOLVERS["blocks"]).state
    landscape = ep.Landscape(model, x).continued().nudge(y, BETA)
    for solver in (ep.BlockCoordinate(max_steps=40), ep.FixedPoint(max_steps=60)):
        found = ep.relax(landscape, solver)
        assert all(s.dtype == jnp.complex64 for s in found.state)
        assert found.residual.dtype == jnp.float32
        # Round-off of 6e-8, a few times over.
        np.testing.assert_allclose(h.flat(found.state), h.flat(exact), atol=2e-6)


def own(term, units=ep.Tanh()) -> ep.FunctionEnergy:
    return ep.FunctionEnergy(
        lambda w, s, x: term(s @ w) + jnp.sum(x * s),
        jnp.eye(5) + 0.1,
        init=jnp.zeros_like,
        output=lambda s: s,
        units=units,
    )


def looped(s):
    return jax.lax.fori_loop(0, 3, lambda k, t: jnp.tanh(t), s)[0]


def guarded(s):
    safe = jnp.where(s == 0, 1, s)
    return jnp.sum(jnp.where(s == 0, 1, jnp.sin(safe) / safe))


ANALYTIC = {
    "tanh": lambda s: jnp.sum(jnp.tanh(s)),
    "sin, exp": lambda s: jnp.sum(jnp.sin(s) * jnp.exp(s)),
    "polynomial": lambda s: jnp.sum(s**4 - 2 * s * s) + s @ s,
    "logsumexp": logsumexp,
    "softmax": lambda s: jax.nn.softmax(s) @ s,
    "log-softmax": lambda s: jax.nn.log_softmax(s)[0],
    "softplus": lambda s: jnp.sum(jax.nn.softplus(s)),
    "sigmoid": lambda s: jnp.sum(jax.nn.silu(s)),
    "nested": lambda s: jnp.sum(jax.jit(jax.checkpoint(jnp.cos))(s)),
    "loop": looped,
    "guard": guarded,
}
KINKED = {
    "relu": (lambda s: jnp.sum(jax.nn.relu(s)), "`max` in `relu`"),
    "abs": (lambda s: jnp.sum(jnp.abs(s)), "`abs`"),
    "clip": (lambda s: jnp.sum(jnp.clip(s, 0, 1)), "can't be evaluated"),
    "norm": (jnp.linalg.norm, "`conj` in `norm`"),
    "vdot": (lambda s: jnp.vdot(s, s), "`conj`"),
    "conj": (lambda s: jnp.sum(jnp.conj(s) * s), "`conj`"),
    "switch": (lambda s: jnp.sum(jnp.where(s > 0, s, 0)), "`(lt|gt|real)`"),
    "largest": (jnp.max, "`reduce_max`"),
    "sort": (lambda s: jnp.sort(s)[0], "`sort`"),
    "sign": (lambda s: jnp.sum(jnp.sign(s) * s), "`sign`"),
    "nested": (jax.jit(lambda s: jax.checkpoint(jax.nn.relu)(s)[0]), "`max`"),
    "loop": (lambda s: jax.lax.fori_loop(0, 2, lambda k, t: abs(t) * t, s)[0], "`abs`"),
    "branch": (
        lambda s: jax.lax.cond(s[0].real > 0, jnp.sum, lambda s: s[0], s),
        "`real`",
    ),
}


@pytest.mark.parametrize("name", ANALYTIC)
def test_analytic_functions_are_continued(name):
    landscape = ep.Landscape(own(ANALYTIC[name]), h.inputs(1)).continued()
    # The Cauchy–Riemann equations, by steps in two directions.
    z = as_complex(h.inputs(1)) * (1 + 0.2j)
    across = [landscape.energy(z + e) - landscape.energy(z - e) for e in (1e-5, 1e-5j)]
    np.testing.assert_allclose(across[1], 1j * across[0], atol=1e-13)


@pytest.mark.parametrize("name", KINKED)
def test_functions_that_are_not_analytic_are_refused_by_name(name):
    term, culprit = KINKED[name]
    real = ep.Landscape(own(term), h.inputs(1))
    with pytest.raises(ValueError, match=f"but the energy .*own.*{culprit}.*Centered"):
        real.continued()


def test_a_cost_that_is_not_analytic_is_refused_when_it_nudges():
    class Distance(ep.AbstractCost):
        def __call__(self, output, y):
            return jnp.sum(jnp.abs(output - y))

        def predict(self, output):
            return output

        def curvature(self):
            return (0.0, 0.0)

        def check(self, output, y):
            return None

    with pytest.raises(ValueError, match="the cost `Distance` of the output uses `abs"):
        nudged(h.network("chain", ["tanh"]), Distance())


@pytest.mark.parametrize("unit", ["hard_sigmoid", "relu", "clipped_relu"])
def test_clipped_units_are_refused(unit):
    with pytest.raises(ValueError, match=r"which is clipped.*Use `ep\.Sigmoid"):
        nudged(h.network("chain", [unit, "linear"]))


def test_a_hopfield_rho_with_kinks_is_refused():
    layers = (ep.Layer("output", ep.Linear(), (5,)),)
    edges = (ep.Edge(("input", "output"), ep.Dense(jnp.eye(5))),)
    smooth = ep.Hopfield(layers, edges, jnp.tanh)
    ep.Landscape(smooth, h.inputs()).continued()
    kinked = ep.Hopfield(layers, edges, jax.nn.relu)
    with pytest.raises(ValueError, match="the energy `Hopfield` uses `max` in `relu`"):
        ep.Landscape(kinked, h.inputs()).continued()


def test_complex_numbers_where_states_are_real_are_refused():
    energy = h.network("chain", ["tanh"])
    real = ep.Landscape(ep.Model(energy, ep.SquaredError()), h.inputs())
    for beta in (0.1j, jnp.asarray(0.1j), np.asarray(0.1j), jnp.full(3, 0.1j)):
        with pytest.raises(ValueError, match=r"`landscape\.continued\(\)\.nudge"):
            real.nudge(h.targets(), beta)
    with pytest.raises(ValueError, match=r"`x` is complex, but the parameters are"):
        ep.Landscape(energy, as_complex(h.inputs()))
    with pytest.raises(ValueError, match="targets must be floating-point numbers"):
        real.nudge(as_complex(h.targets()), 0.1)
    with pytest.raises(ValueError, match="`beta` of `nudge` must be a finite number"):
        real.continued().nudge(h.targets(), complex(0, np.nan))


def test_a_step_that_goes_by_the_energy_is_refused():
    landscape = ep.Landscape(own(lambda s: s @ s), h.inputs()).continued()
    with pytest.raises(ValueError, match="`AdaptiveEuler` takes steps that lower"):
        ep.relax(landscape, ep.AdaptiveEuler())
