"""Conjugate sweeps: the same equilibria, in as few steps as theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import inputs, network, random_state, targets


UNITS = ("hard_sigmoid", "linear")
NUDGES = {
    "free": None,
    "nudged": 0.3,
    "nudged away": -0.3,
    "one beta each": jnp.asarray([0.3, -0.2, 0.0]),
}
EXACT = ep.BlockCoordinate(max_steps=2000, stop=ep.Tolerance(1e-13), certify=1e-12)


def landscape(graph: str, nudge: str = "free", units=UNITS) -> ep.Landscape:
    at = ep.Landscape(ep.Model(network(graph, units), ep.SquaredError()), inputs())
    beta = NUDGES[nudge]
    return at if beta is None else at.nudge(targets(), beta)


def mlp(sizes, gain: float, *, unit=None) -> ep.AbstractEnergy:
    return ep.nets.mlp(
        sizes,
        key=jax.random.key(3),
        init=ep.FanInUniform(gain),
        **({} if unit is None else {"unit": unit}),
    )


def assert_near(a, b, tolerance: float) -> None:
    for s, t in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(s, t, rtol=0, atol=tolerance)


@pytest.mark.parametrize("nudge", NUDGES)
def test_the_equilibrium_is_that_of_block_sweeps(nudge: str):
    at = landscape("chain", nudge)
    solver = ep.ConjugateSweeps(max_steps=200, stop=ep.Tolerance(1e-12), certify=1e-11)
    found = ep.relax(at, solver, random_state(at))
    assert jnp.all(found.converged)
    assert_near(found.state, ep.relax(at, EXACT, random_state(at)).state, 1e-10)


@pytest.mark.parametrize("nudge", NUDGES)
def test_the_residual_is_that_of_the_state(nudge: str):
    at = landscape("chain", nudge)
    for count in (1, 2, 3):
        solver = ep.ConjugateSweeps(max_steps=count, stop=None)
        found = ep.relax(at, solver, random_state(at), throw=False)
        np.testing.assert_allclose(
            found.residual, at.residual(found.state), rtol=0, atol=1e-13
        )


def test_without_walls_it_solves_the_linear_system():
    energy = mlp([5, 6, 4, 3], 0.6, unit=ep.Linear())
    assert isinstance(energy, ep.Network)
    at = ep.Landscape(energy, inputs())
    dense = [e.interaction for e in energy.edges if isinstance(e.interaction, ep.Dense)]
    w, v, u = (term.weight for term in dense)
    size = 6 + 4 + 3
    coupling = np.zeros((size, size))
    h1, h2, out = slice(0, 6), slice(6, 10), slice(10, 13)
    coupling[h1, h2], coupling[h2, out] = v, u
    coupling = coupling + coupling.T
    bias = np.zeros((3, size))
    bias[:, h1] = inputs() @ w
    exact = np.linalg.solve(np.eye(size) - coupling, bias.T).T
    layers = ep.relax(at, ep.ConjugateSweeps(max_steps=60, stop=ep.Tolerance(1e-13)))
    assert_near(layers.state, [exact[:, h1], exact[:, h2], exact[:, out]], 1e-11)


def test_it_ends_after_as_many_steps_as_units_step():
    # One step to settle the others, and one for each of the three outputs.
    energy = mlp([5, 8, 3], 0.4, unit=ep.Linear())
    at = ep.Landscape(energy, inputs())
    left = {
        count: ep.relax(
            at, ep.ConjugateSweeps(max_steps=count, stop=None), throw=False
        ).residual
        for count in (3, 4)
    }
    assert jnp.min(left[3]) > 1e-8
    assert jnp.max(left[4]) < 1e-14


def test_the_energy_falls_on_the_way():
    at = landscape("chain", "nudged away")
    strong = ep.Landscape(mlp([5, 12, 12, 3], 3.0), inputs())
    for scape in (at, strong):
        found = ep.relax(
            scape,
            ep.ConjugateSweeps(max_steps=40, stop=None),
            random_state(scape),
            observe=lambda landscape, state: landscape.energy(state),
            throw=False,
        )
        falls = np.diff(np.asarray(found.observations), axis=0)
        assert falls.max() <= 1e-12
        assert falls[0].max() < -1e-3


def test_fewer_steps_than_sweeps_of_any_constant_factor():
    # Stiff: the couplings are nearly as strong as the units' own potentials.
    energy = mlp([5, 40, 40, 3], 1.6)
    at = ep.Landscape(energy, inputs())
    stop = ep.Tolerance(1e-6)

    def steps(solver) -> int:
        return int(jnp.max(ep.relax(at, solver).num_steps))

    conjugate = steps(ep.ConjugateSweeps(max_steps=500, stop=stop))
    swept = [
        steps(ep.BlockCoordinate(relaxation=omega, max_steps=5000, stop=stop))
        for omega in np.arange(1.0, 1.95, 0.05)
    ]
    assert conjugate < min(swept) < 0.5 * swept[0]


def test_an_example_does_not_depend_on_its_batch_mates():
    at = landscape("chain", "nudged")
    solver = ep.ConjugateSweeps(stop=ep.Tolerance(1e-5))
    state = random_state(at)
    whole = ep.relax(at, solver, state)
    for k in range(at.batch):
        alone = ep.Landscape(at.model, at.x[k : k + 1]).nudge(targets()[k : k + 1], 0.3)
        own = ep.relax(alone, solver, jax.tree.map(lambda s, k=k: s[k : k + 1], state))
        assert own.num_steps[0] == whole.num_steps[k]
        assert_near(
            own.state, jax.tree.map(lambda s, k=k: s[k : k + 1], whole.state), 1e-13
        )


def test_gradients_are_those_of_block_sweeps():
    model = ep.Model(network("chain", UNITS), ep.SquaredError())
    x, y = inputs(), targets()
    stop = ep.Tolerance(1e-12)
    solvers = ep.ConjugateSweeps(max_steps=300, stop=stop), EXACT
    for nudging in (ep.Centered(0.2), ep.Clamped()):
        (one, a), (two, b) = (
            ep.EquilibriumProp(nudging, solver).value_and_grad(model, x, y)
            for solver in solvers
        )
        assert_near(a, b, 1e-9)
        np.testing.assert_allclose(one.cost, two.cost, rtol=1e-10)


def test_its_own_steps_are_those_of_a_relaxation():
    at = landscape("chain", "nudged")
    solver = ep.ConjugateSweeps(max_steps=4, stop=None)
    state = random_state(at)
    memory = solver.init(at, state, None)
    found = ep.relax(at, solver, state, throw=False)
    for _ in range(4):
        before = at.residual(state)
        state, memory, error = solver.step(at, state, memory)
        np.testing.assert_allclose(error, before, atol=1e-14)
    assert_near(found.state, state, 1e-12)


def test_a_fixed_number_of_steps_is_differentiable():
    at = landscape("chain")
    solver = ep.ConjugateSweeps(max_steps=4, stop=None)
    start = random_state(at)

    def total(x):
        found = ep.relax(ep.Landscape(at.model, x), solver, start, throw=False)
        return sum(jnp.sum(jnp.sin(s)) for s in jax.tree.leaves(found.state))

    way = jnp.cos(jnp.arange(at.x.size, dtype=float)).reshape(at.x.shape)
    slope = jnp.vdot(jax.grad(total)(at.x), way)
    step = 1e-6
    ahead, behind = total(at.x + step * way), total(at.x - step * way)
    np.testing.assert_allclose(slope, (ahead - behind) / (2 * step), rtol=1e-6)


def test_it_may_be_coarse_first():
    energy = jax.tree.map(lambda a: a.astype(jnp.float32), mlp([5, 6, 4, 3], 0.7))
    at = ep.Landscape(energy, inputs().astype(jnp.float32))
    inner = ep.ConjugateSweeps(max_steps=60, stop=ep.Tolerance(1e-5))
    found = ep.relax(at, ep.CoarseFirst(inner, coarse_steps=3))
    assert found.residual.dtype == jnp.float32
    assert jnp.max(at.residual(found.state)) < 2e-5


def test_layers_that_are_all_held_or_alone_settle_at_once():
    at = landscape("chain").clamp(lambda state: state[-1], targets())
    energy = mlp([5, 6, 3], 0.7)
    alone = ep.Landscape(energy, inputs()).clamp(lambda state: state[1], targets())
    for scape in (at, alone):
        found = ep.relax(scape, ep.ConjugateSweeps(stop=ep.Tolerance(1e-12)))
        assert_near(found.state, ep.relax(scape, EXACT).state, 1e-10)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        (lambda: landscape("cycle"), "two groups.*needs 3.*BlockCoordinate"),
        (
            lambda: landscape("chain", units=("sigmoid", "tanh")),
            "quadratic potential, but `units` holds `Tanh.*BlockCoordinate",
        ),
        (
            lambda: ep.Landscape(
                ep.Model(network("chain", UNITS), ep.CrossEntropy()), inputs()
            ).nudge(targets(), 0.3),
            "constant curvature, but the cost is `CrossEntropy`.*SquaredError",
        ),
        (
            lambda: landscape("chain", units=("linear", "linear")).continued(),
            "`ConjugateSweeps` takes steps that lower the energy",
        ),
        (
            lambda: ep.Landscape(
                ep.nets.hopfield([5, 4, 3], key=jax.random.key(0)), inputs()
            ),
            "`ConjugateSweeps` needs",
        ),
    ],
)
def test_what_does_not_suit_it_is_refused(at, message: str):
    with pytest.raises(ValueError, match=message):
        ep.relax(at(), ep.ConjugateSweeps())
