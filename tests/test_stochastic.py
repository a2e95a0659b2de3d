"""Stochastic EP against enumeration, quadrature and closed forms, within the standard
errors that it reports itself."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import annotations_unchecked
from helpers_stochastic import as_vector, Pair, pair, rows, scores
from oracles import gaussian


T = 0.6
KEY = jax.random.key(5)
OPTIONS = {"samples": 60, "chains": 48}
GIBBS = ep.Gibbs(T, max_steps=15)


def estimate(method, case: Pair, key=KEY, **options):
    x, y = jnp.asarray(case.x), jnp.asarray(case.y)
    return method.value_and_grad(case.model, x, y, key=key, **options)


@pytest.fixture(scope="module")
def six() -> Pair:
    """Six binary units, four of them hidden."""
    return pair(4, 2, T, [ep.Binary()])


def by_differences(of, net, names=("j", "u", "b")) -> np.ndarray:
    """The gradient of a function of a net's parameters, in the oracle's order."""
    parts = []
    for name in names:
        at = getattr(net, name)
        indices = list(np.ndindex(at.shape))
        if name == "j":
            indices = list(zip(*np.triu_indices(len(at), 1), strict=True))
        for index in indices:
            both = []
            for step in (1e-5, -1e-5):
                moved = at.copy()
                moved[index] += step
                if name == "j":
                    moved[index[::-1]] += step
                setattr(net, name, moved)
                both.append(of(net))
            setattr(net, name, at)
            parts.append((both[0] - both[1]) / 2e-5)
    return np.array(parts)


@pytest.mark.parametrize("units", [[ep.Binary()], [ep.HardSigmoid()]])
def test_the_oracle_obeys_the_identities_of_free_energies(units):
    net, x, y = (case := pair(1, 1, T, units)).net, case.x, case.y

    def free_energy(beta, net=net):
        return np.mean(net.free_energy(x, y, beta))

    def mean_cost(beta):
        return np.mean(net.mean_cost(x, y, beta))

    # ∂A/∂β = E_β[C] and ∂E_β[C]/∂β = −Var_β(C)/T; differences err by 1e-10.
    step = 1e-5
    slope = (free_energy(0.4 + step) - free_energy(0.4 - step)) / (2 * step)
    assert abs(slope - mean_cost(0.4)) < 1e-9
    p, c = net.probability(x, y, 0.4), net.cost(y)
    variance = np.mean(np.sum(p * c**2, 1) - np.sum(p * c, 1) ** 2)
    slope = (mean_cost(0.4 + step) - mean_cost(0.4 - step)) / (2 * step)
    assert abs(slope + variance / T) < 1e-9
    assert slope < 0
    # The contrast is the gradient of (A_β − A_−β)/2β, and of E_0[C] as β → 0.
    found = net.contrast(x, y, 0.4, -0.4)
    exact = by_differences(
        lambda n: (free_energy(0.4, n) - free_energy(-0.4, n)) / 0.8, net
    )
    np.testing.assert_allclose(found, exact, atol=1e-9)
    limit = by_differences(lambda n: np.mean(n.mean_cost(x, y)), net)
    np.testing.assert_allclose(net.gradient(x, y), limit, atol=1e-9)
    # The centered bias is of order β².
    np.testing.assert_allclose(net.contrast(x, y, 1e-3, -1e-3), limit, atol=1e-6)


NUDGINGS = {
    "one-sided": (ep.OneSided(0.8), 0.8, 0.0),
    "one-sided, negative": (ep.OneSided(-0.8), -0.8, 0.0),
    "centered": (ep.Centered(0.8), 0.8, -0.8),
}


@pytest.mark.parametrize("nudging, up, down", NUDGINGS.values(), ids=NUDGINGS)
def test_gradients_of_six_binary_units_are_those_of_the_free_energy(
    six, nudging, up, down
):
    outcome, grad = estimate(ep.StochasticEP(nudging, GIBBS, **OPTIONS), six)
    exact = six.net.contrast(six.x, six.y, up, down)
    found = scores(outcome, grad, exact, six)
    assert len(found) == 8 + 8 + 6
    assert np.max(np.abs(found)) < 3
    # The signal is many standard errors: a wrong factor would show.
    assert np.max(np.abs(scores(outcome, grad, 0 * exact, six))) > 20


def test_small_nudges_give_the_gradient_of_the_expected_cost(six):
    method = ep.StochasticEP(ep.Centered(0.1), GIBBS, **OPTIONS)
    outcome, grad = estimate(method, six)
    found = scores(outcome, grad, six.net.gradient(six.x, six.y), six)
    assert np.max(np.abs(found)) < 3
    # The cost has no standard error of its own: three of independent samples.
    expected = six.net.mean_cost(six.x, six.y)
    p, c = six.net.probability(six.x, six.y, 0.0), six.net.cost(six.y)
    spread = np.sqrt(np.sum(p * c**2) - np.sum(expected**2)) / 3
    assert abs(outcome.cost - np.mean(expected)) < 3 * spread / np.sqrt(48 * 10)


CONTINUOUS = {
    "two binary units": ([ep.Binary()], ep.Gibbs(T, max_steps=15)),
    "walls, Langevin": ([ep.HardSigmoid()], ep.Langevin(T, 0.02, max_steps=150)),
    "binary and linear": ([ep.Binary(), ep.Linear()], ep.Gibbs(T, max_steps=15)),
}


@pytest.mark.parametrize("units, sampler", CONTINUOUS.values(), ids=CONTINUOUS)
def test_gradients_of_two_units_are_those_of_the_free_energy(units, sampler):
    case = pair(1, 1, T, units, scale=0.7, seed=2)
    method = ep.StochasticEP(ep.OneSided(0.7), sampler, thinning=2, **OPTIONS)
    outcome, grad = estimate(method, case)
    found = scores(outcome, grad, case.net.contrast(case.x, case.y, 0.7, 0.0), case)
    assert np.max(np.abs(found)) < 3


def test_without_walls_the_gradient_is_that_of_the_gaussian_in_closed_form():
    case = pair(1, 1, 0.1, [ep.Linear()], scale=0.5, seed=2)
    net, p = case.net, np.array([[0.0, 1.0]])

    def cost(net):
        drive = case.x @ net.u + net.b
        return gaussian.mean_cost(np.eye(2) - net.j, drive, p, case.y, 0.1)

    method = ep.StochasticEP(ep.Centered(0.05), ep.Gibbs(0.1, max_steps=15), **OPTIONS)
    outcome, grad = estimate(method, case)
    # What the bias of β = 0.05 may be: its square, times slopes of order one.
    wrong = as_vector(grad, case) - by_differences(cost, net)
    error = as_vector(outcome.stderr, case)
    there = np.isfinite(wrong)
    assert np.all(np.abs(wrong[there]) < 3 * error[there] + 0.05**2)


def test_clamped_learns_the_likelihood_of_the_targets(six):
    y = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    case = six._replace(y=y)
    method = ep.StochasticEP(ep.Clamped(), GIBBS, **OPTIONS)
    outcome, grad = estimate(method, case)

    def surprise(net):
        p = net.probability(case.x, y, 0.0)
        match = np.all(net.states[None, :, -2:] == y[:, None], axis=2)
        return -T * np.mean(np.log(np.sum(p * match, axis=1)))

    found = scores(outcome, grad, by_differences(surprise, case.net), case)
    assert np.max(np.abs(found)) < 3


def test_standard_errors_are_honest():
    # Continuous units: of binary ones a rare flip is missed by all of 24 chains.
    case = pair(1, 1, T, [ep.HardSigmoid()], scale=0.7, seed=2)
    method = ep.StochasticEP(ep.OneSided(0.7), GIBBS, samples=20, chains=24)
    x, y = jnp.asarray(case.x), jnp.asarray(case.y)

    @jax.jit
    @jax.vmap
    def repeated(key):
        outcome, grad = method.value_and_grad(case.model, x, y, key=key)
        return grad, outcome.stderr

    count = 200
    found = repeated(jax.random.split(KEY, count))
    pick = [jax.tree.map(lambda a, k=k: a[k], found) for k in range(count)]
    exact = case.net.contrast(case.x, case.y, 0.7, 0.0)
    z = np.array([(as_vector(g, case) - exact) / as_vector(e, case) for g, e in pick])
    z = z[:, np.isfinite(z[0])]
    # Student's t with 23 degrees of freedom has variance 23/21. 200 scores find it
    # within 10 %, whose double is allowed; those of one draw are much alike.
    assert abs(np.mean(z**2) * 21 / 23 - 1) < 0.2
    assert abs(np.mean(z)) < 3 / np.sqrt(count)


def test_phases_share_their_random_numbers(six):
    beta = 0.02
    method = ep.StochasticEP(ep.OneSided(beta), GIBBS, **OPTIONS)
    outcome, _ = estimate(method, six)
    # Phases of independent, perfectly mixing chains would have this error at least.
    p, slopes = six.net.probability(six.x, six.y, 0.0), six.net.slopes(six.x)
    mean = np.einsum("bs,bsk->bk", p, slopes)
    variance = np.einsum("bs,bsk->bk", p, slopes**2) - mean**2
    count = OPTIONS["samples"] * OPTIONS["chains"] * len(six.x) ** 2
    independent = np.sqrt(2 * variance.sum(0) / count) / beta
    found = as_vector(outcome.stderr, six)
    there = np.isfinite(found)
    assert np.all(found[there] < 0.5 * independent[there])


def test_as_the_temperature_falls_it_becomes_deterministic():
    case = pair(3, 2, T, [ep.HardSigmoid(), ep.Linear()], scale=0.4)
    sampler = ep.Gibbs(1e-9, max_steps=60)
    method = ep.StochasticEP(ep.Centered(0.3), sampler, samples=4)
    outcome, grad = estimate(method, case)
    settled = ep.BlockCoordinate(max_steps=60)
    deterministic = ep.EquilibriumProp(ep.Centered(0.3), settled)
    plain, exact = eqx.filter_jit(lambda m: estimate(m, case))(deterministic)
    # Fluctuations are of the order of √T/β at most.
    for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(exact), strict=True):
        np.testing.assert_allclose(a, b, atol=3e-4)
    np.testing.assert_allclose(outcome.cost, plain.cost, atol=3e-4)


def test_the_outcome_holds_one_sample_of_every_phase(six):
    method = ep.StochasticEP(
        ep.Centered(0.5), ep.Gibbs(T, max_steps=7), samples=3, thinning=2, chains=2
    )
    outcome, grad = estimate(method, six)
    assert [jnp.shape(s) for s in outcome.free.state] == [(3, 4), (3, 2)]
    assert len(outcome.nudged) == 2
    np.testing.assert_array_equal(outcome.free.num_steps, 2 * 7 + 6)
    np.testing.assert_array_equal(outcome.nudged[0].num_steps, 7 + 6)
    for phase in (outcome.free, *outcome.nudged):
        assert np.all(phase.result == ep.RESULTS.steps_completed)
        assert not np.any(phase.converged)
    assert jax.tree.structure(grad) == jax.tree.structure(outcome.stderr)
    again, same = estimate(method, six)
    other, different = estimate(method, six, jax.random.key(6))
    np.testing.assert_array_equal(as_vector(grad, six), as_vector(same, six))
    assert np.nanmax(np.abs(as_vector(grad, six) - as_vector(different, six))) > 0
    one = ep.StochasticEP(ep.Centered(0.5), ep.Gibbs(T, max_steps=7), samples=3)
    assert eqx.filter_eval_shape(estimate, one, six)[0].stderr is None


def test_examples_of_weight_zero_count_nothing_and_chains_start_at_state0():
    case = pair(1, 1, T, [ep.Linear()], scale=0.5)
    # Hardly moving: what is measured is where the chains started.
    still = ep.Langevin(1e-12, 1e-9, max_steps=1)
    method = ep.StochasticEP(ep.OneSided(0.5), still, samples=1)
    start = (jnp.asarray([[0.1], [0.2], [0.9]]), jnp.asarray([[0.3], [0.4], [9.0]]))
    weight = jnp.asarray([1.0, 3.0, 0.0])
    outcome, _ = estimate(method, case, state0=start, weight=weight)
    costs = 0.5 * np.sum((np.asarray(start[1]) - case.y) ** 2, axis=1)
    np.testing.assert_allclose(outcome.cost, (costs[0] + 3 * costs[1]) / 4, atol=1e-5)
    np.testing.assert_allclose(rows(outcome.free.state), rows(start), atol=1e-5)
    # A bias's slope is −s: the contrast of states that stay is nothing.
    outcome, grad = estimate(method, case, state0=start, weight=jnp.zeros(3))
    assert outcome.cost == 0
    assert np.nanmax(np.abs(as_vector(grad, case))) == 0


def test_what_cannot_be_sampled_is_refused(six):
    with pytest.raises(ValueError, match=r"needs a `key`.*jax.random.key\(0\)"):
        estimate(ep.StochasticEP(ep.Centered(0.1), GIBBS), six, key=None)
    for name in ("samples", "chains", "thinning"):
        with pytest.raises(ValueError, match=f"`{name}`.*positive integer"):
            ep.StochasticEP(ep.Centered(0.1), GIBBS, **{name: 0})
    with pytest.raises(TypeError, match="`solver`.*no random key"):
        ep.StochasticEP(ep.Centered(0.1), GIBBS, solver=GIBBS)
    with pytest.raises(ValueError, match=r"`Coupled`.*no gradient.*Centered"):
        ep.StochasticEP(ep.Coupled(0.1), GIBBS)
    with pytest.raises(TypeError, match=r"`sampler`.*ep\.Gibbs.*EquilibriumProp"):
        with annotations_unchecked():
            ep.StochasticEP(ep.Centered(0.1), ep.BlockCoordinate())
    method = ep.StochasticEP(ep.Holomorphic(0.1, 3), GIBBS)
    case = pair(1, 1, T, [ep.Linear()])
    with pytest.raises(ValueError, match=r"samples real states.*Centered"):
        eqx.filter_eval_shape(estimate, method, case)
    method = ep.StochasticEP(ep.Centered(0.1), GIBBS)
    assert isinstance(method.free_solver(), ep.BlockCoordinate)
    found = method.equilibrium(six.model.energy, jnp.asarray(six.x))
    assert np.all(found.converged)

    @eqx.filter_grad
    def slope(energy):
        return jnp.sum(method.equilibrium(energy, jnp.asarray(six.x)).state[1])

    with pytest.raises(ValueError, match=r"no gradient for `equilibrium`.*Centered"):
        slope(six.model.energy)


@pytest.mark.long
def test_a_network_of_binary_units_learns_the_digits():
    data = ep.data.digits()
    energy = ep.nets.mlp([64, 64, 10], key=jax.random.key(0), unit=ep.Binary())
    method = ep.StochasticEP(ep.Centered(0.5), ep.Gibbs(0.05, max_steps=6), samples=6)
    model = ep.Model(energy, ep.SquaredError())
    run = ep.fit(model, data, method, ep.Adam(5e-3), epochs=3, batch_size=32)
    # Chance is 90 %.
    assert run.metrics[-1]["validation_error"] < 30
    assert run.metrics[-1]["converged"] == 0
