"""Examples as columns: the same equilibria as by rows, for any energy and solver."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.relaxation import _phases
from eqprop.relaxation.columns import _columns, as_lanes, Columns, from_lanes
from helpers import inputs, network, targets


@pytest.fixture
def by_columns(monkeypatch):
    """Takes columns wherever a step can be taken by them; lists the steps that were."""
    taken = []
    prepared = Columns.prepared

    def spy(self, known, still):
        taken.append(self)
        return prepared(self, known, still)

    def on():
        monkeypatch.setattr(_phases, "pays", lambda *_: True)
        monkeypatch.setattr(_columns, "_LARGE_MATRIX", 0)
        monkeypatch.setattr(Columns, "prepared", spy)
        jax.clear_caches()
        return taken

    yield on
    jax.clear_caches()


def assert_same(found, expected, tolerance=1e-12):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), 0, tolerance)


def own_energy() -> ep.FunctionEnergy:
    """Layers of two axes, einsum, concatenation, slices, a curved coupling."""
    rng = np.random.default_rng(5)
    params = {
        "w": jnp.asarray(0.3 * rng.normal(size=(6, 3, 4))),
        "v": jnp.asarray(0.3 * rng.normal(size=(3, 4, 4))),
        "u": jnp.asarray(0.2 * rng.normal(size=(7, 5))),
        "q": jnp.asarray(0.2 * rng.normal(size=(3, 2))),
    }

    def fn(params, state, x):
        h, o = state
        up = jnp.einsum("i,ijk->jk", jnp.concatenate([x[:2], x[2:6]]), params["w"])
        both = jnp.concatenate([jnp.tanh(h[0]), o[:3]])
        return (
            -jnp.sum(up * h)
            - jnp.einsum("jk,jkl->l", h, params["v"]) @ o
            + 0.1 * jnp.mean(jnp.tanh(both @ params["u"]) ** 2)
            - 0.1 * jnp.sum(jnp.tanh(h.T @ params["q"]))
        )

    def init(x):
        return jnp.zeros((3, 4), x.dtype), jnp.zeros(4, x.dtype)

    return ep.FunctionEnergy(
        fn, params, init=init, output=lambda s: s[1], units=ep.HardSigmoid()
    )


ENERGIES = {
    "chain": lambda: network("chain"),
    "skips": lambda: network("skip"),
    "curved units": lambda: network("skip", ["sigmoid", "tanh"]),
    "lateral": lambda: network("lateral"),
}
SOLVERS = {
    "sweeps": ep.BlockCoordinate(relaxation=1.3, max_steps=7),
    "sweeps to a tolerance": ep.BlockCoordinate(
        relaxation=1.2, max_steps=60, stop=ep.Tolerance(1e-6)
    ),
    "Euler": ep.Euler(step_size=0.3, max_steps=9),
    "damped": ep.FixedPoint(damping=0.5, max_steps=9),
    "momentum": ep.Nesterov(step_size=0.2, max_steps=40, stop=ep.Tolerance(1e-5)),
    "adaptive": ep.AdaptiveEuler(max_steps=9),
    "conjugate": ep.ConjugateSweeps(max_steps=7, stop=None),
}
PAIRS = [
    *(("chain", solver) for solver in SOLVERS),
    ("skips", "sweeps to a tolerance"),
    ("curved units", "sweeps"),
    ("lateral", "momentum"),
]


@pytest.mark.parametrize(("energy", "solver"), PAIRS)
def test_columns_settle_as_rows_do(by_columns, energy, solver):
    model = ep.Model(ENERGIES[energy](), ep.SquaredError())
    landscape = ep.Landscape(model, inputs(5))
    nudged = landscape.nudge(targets(5), jnp.asarray([0.3, -0.2, 0.1, 0.0, 0.5]))
    scapes = (landscape, nudged)
    rows = [ep.relax(scape, SOLVERS[solver], throw=False) for scape in scapes]
    taken = by_columns()
    columns = [ep.relax(scape, SOLVERS[solver], throw=False) for scape in scapes]
    assert len(taken) == 2
    assert_same(columns, rows)


def gradient(method, model, x, y):
    return eqx.filter_jit(method.value_and_grad)(model, x, y, key=jax.random.key(0))


METHODS = {
    "centered": ep.EquilibriumProp(ep.Centered(beta=0.2), SOLVERS["sweeps"]),
    "to a tolerance": ep.EquilibriumProp(
        ep.Centered(beta=0.2), SOLVERS["sweeps to a tolerance"]
    ),
    "coupled": ep.EquilibriumProp(ep.Coupled(eta=0.3), SOLVERS["sweeps"]),
    "coarse first": ep.EquilibriumProp(
        ep.Centered(beta=0.2), ep.CoarseFirst(SOLVERS["sweeps"], coarse_steps=3)
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_gradients_by_columns_are_those_by_rows(by_columns, name):
    model = ep.Model(network("skip"), ep.SquaredError())
    x, y, method = inputs(5), targets(5), METHODS[name]
    rows = gradient(method, model, x, y)
    taken = by_columns()
    columns = gradient(method, model, x, y)
    assert taken
    assert_same(columns, rows)


def test_complex_states_settle_by_columns(by_columns):
    model = ep.Model(network("chain", ["tanh"]), ep.SquaredError())
    method = ep.EquilibriumProp(
        ep.Holomorphic(beta=0.4, points=4), ep.FixedPoint(damping=0.7, max_steps=30)
    )
    rows = gradient(method, model, inputs(5), targets(5))
    taken = by_columns()
    columns = gradient(method, model, inputs(5), targets(5))
    assert len(taken) > 1
    assert_same(columns, rows)


def test_a_users_own_energy_settles_by_columns(by_columns):
    model = ep.Model(own_energy(), ep.SquaredError())
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 6)))
    free = ep.Landscape(model, x)
    scapes = (free, free.clamp(lambda s: s[1], jnp.full((5, 4), 0.3)))
    solver = ep.Euler(step_size=0.3, max_steps=12)
    rows = [ep.relax(scape, solver, throw=False) for scape in scapes]
    taken = by_columns()
    columns = [ep.relax(scape, solver, throw=False) for scape in scapes]
    assert len(taken) == 2
    assert_same(columns, rows)


def test_fixed_steps_by_columns_are_differentiable(by_columns):
    x, y = inputs(5), targets(5)

    def loss(energy):
        model = ep.Model(energy, ep.SquaredError())
        landscape = ep.Landscape(model, x)
        free = ep.relax(landscape, SOLVERS["sweeps"], throw=False)
        return jnp.sum(landscape.cost(free.state, y))

    rows = eqx.filter_grad(loss)(network("chain"))
    taken = by_columns()
    assert_same(eqx.filter_grad(loss)(network("chain")), rows)
    assert taken


def test_a_step_that_no_column_can_take_is_taken_by_rows(by_columns):
    def fn(params, state, x):
        # Sorting is none of the operations whose columns are known.
        return -jnp.sort(state) @ params @ x

    energy = ep.FunctionEnergy(
        fn,
        jnp.asarray(np.random.default_rng(2).normal(size=(4, 3))),
        init=lambda x: jnp.linspace(0.1, 0.4, 4),
        output=lambda s: s,
        units=ep.HardSigmoid(),
    )
    landscape = ep.Landscape(energy, jnp.ones((5, 3)))
    solver = ep.Euler(step_size=0.1, max_steps=5)
    rows = ep.relax(landscape, solver, throw=False)
    taken = by_columns()
    assert_same(ep.relax(landscape, solver, throw=False), rows, 0)
    assert not taken


def test_samples_are_drawn_as_ever(by_columns):
    landscape = ep.Landscape(network("chain"), inputs(5))
    sampler = ep.Langevin(step_size=0.01, temperature=0.1, max_steps=5)
    key = jax.random.key(7)
    rows = ep.relax(landscape, sampler, key=key, throw=False)
    taken = by_columns()
    again = ep.relax(landscape, sampler, key=key, throw=False)
    assert_same(again.state, rows.state, 0)
    assert not taken


@pytest.mark.parametrize(("phases", "examples"), [(3, 1), (1, 4), (2, 5)])
def test_lanes_and_back(phases, examples):
    values = jnp.arange(phases * examples * 6.0).reshape(phases, examples, 2, 3)
    lanes = as_lanes(values, phases=True, examples=True)
    assert lanes.shape == (1, 2, 3, phases, examples)
    np.testing.assert_array_equal(from_lanes(lanes), values)
    shared = as_lanes(values[0], phases=False, examples=True)
    assert shared.shape == (1, 2, 3, 1, examples)
    assert as_lanes(jnp.ones(phases), phases=True, examples=False).shape == (phases, 1)


@pytest.mark.parametrize(
    ("phases", "examples", "width", "expected"),
    [
        (1, 16, 1024, True),
        (2, 16, 1024, True),
        (2, 64, 1024, False),
        (1, 1, 1024, False),
        (1, 16, 128, False),
    ],
)
def test_columns_are_for_few_examples_of_wide_layers(phases, examples, width, expected):
    parameters = {"w": jnp.zeros((width, width)), "b": jnp.zeros(width)}
    cpu = jax.default_backend() == "cpu"
    assert _columns.pays(phases, examples, parameters) == (expected and cpu)
