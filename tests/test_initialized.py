"""Relaxations that start where a predictor says, and how it learns to."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


SIZES = [5, 6, 4, 3]
METHOD = ep.EquilibriumProp(ep.Centered(0.01), h.SWEEPS)


def case(unit=None, output=None, sizes=SIZES, solver=h.SWEEPS) -> h.Case:
    """A network beside a predictor of other weights, biases and all."""
    plain = h.mlp(sizes, unit, output, solver=solver)
    shapes = list(zip(sizes[:-1], sizes[1:], strict=True))
    weights = [0.8 * h.normal(20 + k, m, n) for k, (m, n) in enumerate(shapes)]
    biases = [0.5 * h.normal(30 + k, n) for k, (_, n) in enumerate(shapes)]
    energy = plain.model.energy
    predictor = ep.Feedforward(weights, biases, energy.units)
    model = ep.Model(ep.Initialized(energy, predictor), plain.model.cost)
    return h.Case(model, plain.solver, plain.x, plain.y)


def plain(model: ep.Model) -> ep.Model:
    return ep.Model(model.energy.energy, model.cost)


def forward_by_hand(model: ep.Model, x) -> tuple[list, list]:
    """The drives and the states of a feedforward net of hard-sigmoid hidden units and
    linear outputs."""
    predictor = model.energy.predictor
    below, drives, states = np.asarray(x), [], []
    for k, weight in enumerate(predictor.weights):
        drive = below @ np.asarray(weight) + np.asarray(predictor.biases[k])
        last = k + 1 == len(predictor.weights)
        below = drive if last else np.minimum(np.maximum(drive, 0), 1)
        drives.append(drive)
        states.append(below)
    return drives, states


def test_relaxations_start_at_the_feedforward_pass():
    one = case()
    start = ep.Landscape(one.model, one.x).init()
    drives, states = forward_by_hand(one.model, one.x)
    for found, wanted in zip(start, states, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    clipped = [np.mean((d < 0) | (d > 1)) for d in drives[:-1]]
    assert all(0 < share < 1 for share in clipped)
    few = ep.relax(
        ep.Landscape(one.model, one.x), ep.Euler(0.1, max_steps=1), throw=False
    )
    by_hand = ep.relax(
        ep.Landscape(plain(one.model), one.x),
        ep.Euler(0.1, max_steps=1),
        tuple(map(jnp.asarray, states)),
        throw=False,
    )
    for found, wanted in zip(few.state, by_hand.state, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_energy_and_its_equilibria_stay_the_same():
    one = case()
    with_start, without = (
        ep.Landscape(model, one.x) for model in (one.model, plain(one.model))
    )
    state = jax.tree.map(lambda s: s + 0.1, with_start.init())
    np.testing.assert_array_equal(with_start.energy(state), without.energy(state))
    np.testing.assert_array_equal(with_start.output(state), without.output(state))
    ends = [ep.relax(scape, h.SWEEPS).state for scape in (with_start, without)]
    for found, wanted in zip(*ends, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("weight", [None, [1.0, 0.0, 3.0, 0.5]])
def test_the_predictor_learns_by_the_delta_rule_of_each_layer(weight):
    """By hand: the states below, times the error of the layer, and nothing from the
    layers above."""
    one = case()
    weight = None if weight is None else jnp.asarray(weight)
    outcome, gradient = ep.InitializedEP(METHOD).value_and_grad(
        one.model, one.x, one.y, weight=weight
    )
    share = np.full(len(one.x), 1.0) if weight is None else np.asarray(weight)
    share = share / share.sum()
    _, states = forward_by_hand(one.model, one.x)
    below = [np.asarray(one.x), *states[:-1]]
    found = gradient.energy.predictor
    for k, settled in enumerate(outcome.free.state):
        error = share[:, None] * (states[k] - np.asarray(settled))
        assert np.abs(error).max() > 1e-2
        np.testing.assert_allclose(found.weights[k], below[k].T @ error, rtol=1e-11)
        np.testing.assert_allclose(found.biases[k], error.sum(axis=0), rtol=1e-11)


LOSSES = {
    "linear": (ep.Linear(), lambda d: 0.5 * d @ d),
    "sigmoid": (ep.Sigmoid(), lambda d: jnp.sum(jnp.logaddexp(0, d))),
    "tanh": (ep.Tanh(), lambda d: jnp.sum(jnp.log(jnp.cosh(d)))),
    "hard sigmoid": (
        ep.HardSigmoid(),
        lambda d: jnp.sum(0.5 * jnp.clip(d, 0, 1) ** 2 + jnp.maximum(d - 1, 0)),
    ),
    "softmax": (ep.Softmax(), jax.nn.logsumexp),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_delta_rule_descends_a_convex_loss(name):
    """The convex conjugate of the unit's potential, minus ⟨s⁰, d⟩, written out for each
    unit and differentiated by finite differences."""
    unit, conjugate = LOSSES[name]
    one = case(output=unit, sizes=[5, 3], solver=h.DAMPED)
    outcome, gradient = ep.InitializedEP(
        ep.EquilibriumProp(ep.OneSided(0.01), h.DAMPED)
    ).value_and_grad(one.model, one.x, one.y)
    (settled,) = outcome.free.state
    predictor = one.model.energy.predictor

    def loss(weight):
        drives = [x @ weight + predictor.biases[0] for x in one.x]
        values = [conjugate(d) - s @ d for d, s in zip(drives, settled, strict=True)]
        return float(sum(values) / len(values))

    weight, found = predictor.weights[0], gradient.energy.predictor.weights[0]
    for at in ((0, 0), (3, 1), (4, 2)):
        step = jnp.zeros_like(weight).at[at].set(1e-5)
        slope = (loss(weight + step) - loss(weight - step)) / 2e-5
        np.testing.assert_allclose(found[at], slope, rtol=1e-6, atol=1e-9)


def test_a_saturated_unit_still_learns():
    """A drive far beyond the wall, of a unit that settles inside: the squared error's
    slope is zero there."""
    one = case()
    far = eqx.tree_at(
        lambda m: m.energy.predictor.biases[0], one.model, jnp.full(6, 50.0)
    )
    outcome, gradient = ep.InitializedEP(METHOD).value_and_grad(far, one.x, one.y)
    inside = np.mean(np.asarray(outcome.free.state[0]), axis=0) < 1
    assert inside.any()
    assert np.all(np.asarray(gradient.energy.predictor.biases[0])[inside] > 0)


@pytest.mark.parametrize(
    "method", [METHOD, ep.ImplicitDifferentiation(h.SWEEPS)], ids=["nudged", "exact"]
)
def test_the_energy_learns_by_the_method_inside(method):
    one = case()
    outcome, gradient = ep.InitializedEP(method).value_and_grad(one.model, one.x, one.y)
    alone, wanted = method.value_and_grad(plain(one.model), one.x, one.y)
    assert h.error(plain(gradient), wanted) < 1e-9
    assert len(outcome.nudged) == len(alone.nudged)
    np.testing.assert_allclose(outcome.cost, alone.cost, rtol=1e-12)


def test_a_given_start_comes_before_the_prediction():
    one = case()
    solver = ep.BlockCoordinate(max_steps=1, certify=1e3)
    method = ep.InitializedEP(ep.EquilibriumProp(ep.OneSided(0.1), solver))
    start = jax.tree.map(jnp.zeros_like, ep.Landscape(one.model, one.x).init())
    given, _ = method.value_and_grad(one.model, one.x, one.y, state0=start)
    rest, _ = method.method.value_and_grad(plain(one.model), one.x, one.y)
    for found, wanted in zip(given.free.state, rest.free.state, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_other_methods_leave_the_predictor_as_it_is():
    one = case()
    _, gradient = METHOD.value_and_grad(one.model, one.x, one.y)
    assert all(not np.any(g) for g in jax.tree.leaves(gradient.energy.predictor))


def test_sampled_gradients_keep_their_standard_errors():
    one = case()
    sampler = ep.Langevin(0.1, 0.05, max_steps=20)
    method = ep.InitializedEP(
        ep.StochasticEP(ep.OneSided(0.5), sampler, h.SWEEPS, samples=5, chains=2)
    )
    key = jax.random.key(0)
    outcome, gradient = method.value_and_grad(one.model, one.x, one.y, key=key)
    alone, _ = method.method.value_and_grad(
        plain(one.model),
        one.x,
        one.y,
        state0=ep.Landscape(one.model, one.x).init(),
        key=key,
    )
    assert h.error(plain(outcome.stderr), alone.stderr) == 0
    assert len(jax.tree.leaves(gradient)) > len(jax.tree.leaves(outcome.stderr)) > 0


def test_a_layer_of_a_network_may_start_at_a_prediction():
    one = case()

    def loss(x, method, energy):
        return jnp.sum(jnp.sin(method.equilibrium(energy, x).state[-1]))

    slope, energy = jax.grad(loss), one.model.energy
    found = slope(one.x, ep.InitializedEP(METHOD), energy)
    wanted = slope(one.x, METHOD, energy.energy)
    np.testing.assert_allclose(found, wanted, rtol=1e-8)


def predicting(x):
    """A predictor of one's own, of units that have no potential: it gives states."""
    return (0.1 * jnp.ones(6), 0.2 * jnp.ones(3))


def test_an_energy_of_ones_own_starts_at_a_prediction_of_its_states():
    own = h.own_energy()
    model = ep.Model(ep.Initialized(own.model.energy, predicting), own.model.cost)
    start = ep.Landscape(model, own.x).init()
    np.testing.assert_array_equal(start[0], np.full((len(own.x), 6), 0.1))
    method = ep.EquilibriumProp(ep.Centered(0.01), own.solver)
    _, found = ep.InitializedEP(method).value_and_grad(model, own.x, own.y)
    _, wanted = method.value_and_grad(own.model, own.x, own.y)
    assert h.error(plain(found), wanted) < 1e-7


def test_layers_that_do_not_fit_are_refused():
    one = h.mlp([5, 6, 3])
    units = one.model.energy.units
    with pytest.raises(ValueError, match="there are 1, 2 and 2"):
        ep.Feedforward([jnp.zeros((5, 6))], [jnp.zeros(6), jnp.zeros(3)], units)
    shapes = jnp.zeros((5, 6)), jnp.zeros((4, 3))
    with pytest.raises(
        ValueError, match=r"`weights\[1\]`.*\(4, 3\), but there are 6 units"
    ):
        ep.Feedforward(shapes, [jnp.zeros(6), jnp.zeros(3)], units)
    with pytest.raises(
        ValueError, match=r"`weights\[0\]`.*\(5, 6\), but there are 5 units.*\(4,\)"
    ):
        ep.Feedforward(shapes[:1], [jnp.zeros(4)], units[:1])
    wide = ep.nets.initialized_mlp([7, 6, 3], key=jax.random.key(0)).predictor
    with pytest.raises(ValueError, match=r"takes 7 inputs.*\(5,\), which are 5"):
        ep.Landscape(ep.Initialized(one.model.energy, wide), one.x)
    other = case().model.energy.predictor
    with pytest.raises(ValueError, match=r"`predictor` of `Initialized` returned.*6"):
        ep.Landscape(ep.Initialized(one.model.energy, other), one.x)
    with pytest.raises(ValueError, match="a `Network` has none"):
        ep.InitializedEP(METHOD).value_and_grad(one.model, one.x, one.y)


def test_both_networks_begin_with_equal_weights():
    key = jax.random.key(7)
    energy = ep.nets.initialized_mlp(SIZES, key=key, unit=ep.Tanh())
    alone = ep.nets.mlp(SIZES, key=key, unit=ep.Tanh())
    assert h.error(energy.energy, alone) == 0
    dense = [e.interaction.weight for e in alone.edges if len(e.layers) == 2]
    for found, wanted in zip(energy.predictor.weights, dense, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_a_gradient_is_checked_without_its_predictor():
    """What it learns is no gradient of the cost."""
    one = case()
    method = ep.InitializedEP(METHOD)
    check = ep.diagnostics.check_gradient(
        one.model, one.x, one.y, {"own": method}, [0.01], solver=h.SWEEPS
    )
    assert not check.problems(0.999)
    names = list(check.bias["own"].likeness[0])
    assert names[:-1] == list(ep.diagnostics.parameters_by_name(plain(one.model)))


def test_it_learns_digits_and_where_they_settle():
    """The nearest class mean errs on 10.28 % (test_reproduce_command.py): the network
    does better, and its prediction too, before a single sweep. Most examples settle
    sooner from there than from rest, in the same energy."""
    data = ep.data.digits()
    labels = np.asarray(data.test.labels)
    inner = ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate(max_steps=10))
    energy = ep.nets.initialized_mlp([64, 64, 64, 10], key=jax.random.key(0))
    model = ep.Model(energy, ep.SquaredError())
    method, adam = ep.InitializedEP(inner), ep.Adam(3e-3)
    run = ep.fit(model, data.train, method, adam, epochs=10, seed=0)
    stop = ep.Tolerance(1e-3)
    solver = ep.BlockCoordinate(1.3, max_steps=200, stop=stop, certify=1e-2)
    predicted, rest = (
        ep.Landscape(one, data.test.x) for one in (run.model, plain(run.model))
    )
    ahead, cold = (ep.relax(scape, solver) for scape in (predicted, rest))
    assert np.mean(ahead.num_steps < cold.num_steps) > 0.5
    assert float(ahead.num_steps.mean()) < 0.9 * float(cold.num_steps.mean())
    for state in (predicted.init(), ahead.state):
        answers = np.asarray(predicted.output(state)).argmax(axis=1)
        assert 100 * np.mean(answers != labels) < 10.28
