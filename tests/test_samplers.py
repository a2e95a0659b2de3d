"""Samplers have the stationary distribution they claim, judged by enumeration,
quadrature and closed forms. Chains are examples: thousands of copies of one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import eqprop as ep
from eqprop.relaxation.samplers._truncated import truncated_normal
from eqprop.relaxation.samplers._walls import reflect, walls
from helpers_stochastic import moment_scores, Pair, pair, rows
from oracles import gaussian


T = 0.6
KEY = jax.random.key(3)
# Fixed seeds: 3.5 standard errors is rarer than 1 in 2000 for a right sampler.
LIMIT = 3.5


COUNT = 4000


def sampled(case: Pair, sampler, beta=None) -> np.ndarray:
    return rows(ep.relax(case.repeated(COUNT, beta), sampler, key=KEY).state)


def codes(s: np.ndarray) -> np.ndarray:
    """The number of each binary state in the oracle's order."""
    assert np.all((s == 0) | (s == 1))
    return (s @ 2 ** np.arange(s.shape[1])[::-1]).astype(int)


BINARY = {
    "nudged": ({"hidden": 4, "outputs": 2}, 1.5),
    "nudged away": ({"hidden": 4, "outputs": 2}, -1.5),
    "lateral": ({"hidden": 4, "outputs": 2, "lateral": True}, None),
    "nudged by cross-entropy": (
        {"hidden": 3, "outputs": 3, "cost": ep.CrossEntropy()},
        1.5,
    ),
}


@pytest.mark.parametrize("options, beta", BINARY.values(), ids=BINARY)
def test_gibbs_visits_binary_states_as_often_as_enumeration_says(options, beta):
    case = pair(units=[ep.Binary()], temperature=T, **options)
    s = sampled(case, ep.Gibbs(T, max_steps=25), beta)
    p = case.net.probability(case.x, case.y, beta or 0.0)[0]
    assert agree(np.bincount(codes(s), minlength=len(p)), p)


def agree(counts: np.ndarray, p: np.ndarray) -> bool:
    """By a χ² test, for which rare states are thrown together."""
    rare = p * counts.sum() < 5
    p = np.append(p[~rare], p[rare].sum() + 1e-12)
    counts = np.append(counts[~rare], counts[rare].sum())
    return stats.chisquare(counts, p / p.sum() * counts.sum()).pvalue > 1e-3


def test_gibbs_holds_what_is_clamped_and_samples_the_rest():
    case = pair(4, 2, T, [ep.Binary()])
    held = jnp.tile(jnp.asarray([[1.0, 0.0]]), (COUNT, 1))
    at = case.repeated(COUNT).clamp(lambda s: s[1], held)
    s = rows(ep.relax(at, ep.Gibbs(T, max_steps=2), key=KEY).state)
    np.testing.assert_array_equal(s[:, 4:], held)
    chosen = np.all(case.net.states[:, 4:] == [1, 0], axis=1)
    p = case.net.probability(case.x, case.y, 0.0)[0][chosen]
    assert agree(np.bincount(codes(s[:, :4]), minlength=16), p / p.sum())


# The units of two coupled layers of one unit each, the sampler, and β.
CONTINUOUS = {
    "Gibbs": (ep.HardSigmoid(), ep.Linear(), ep.Gibbs(0.1, max_steps=12), -0.4),
    "Gibbs, mixed": (ep.Binary(), ep.ReLU(), ep.Gibbs(0.6, max_steps=12), 2.0),
    "MALA": (
        ep.HardSigmoid(),
        ep.Linear(),
        ep.MetropolisLangevin(0.1, 0.4, max_steps=60),
        -0.4,
    ),
    "MALA, one wall": (
        ep.ReLU(),
        ep.HardSigmoid(),
        ep.MetropolisLangevin(0.1, 1.0, max_steps=60),
        2.0,
    ),
}


@pytest.mark.parametrize(
    "hidden, output, sampler, beta", CONTINUOUS.values(), ids=CONTINUOUS
)
def test_unbiased_samplers_have_the_moments_of_the_quadrature(
    hidden, output, sampler, beta
):
    temperature = float(sampler.temperature)
    case = pair(1, 1, temperature, [hidden, output], scale=0.6, seed=1)
    exact = case.net.moments(case.x, case.y, beta)
    found = moment_scores(sampled(case, sampler, beta), *exact)
    assert np.max(np.abs(found)) < LIMIT


def test_metropolis_samples_sigmoid_units_from_rest_at_their_wall():
    # G = s ln s + (1 − s) ln(1 − s) under a constant drive d: a density on [0, 1].
    layer = ep.Layer("output", ep.Sigmoid(), (1,))
    energy = ep.Network(
        [layer], [ep.Edge(("input", "output"), ep.Dense(jnp.ones((1, 1))))]
    )
    at = ep.Landscape(energy, jnp.full((COUNT, 1), 0.7))
    sampler = ep.MetropolisLangevin(0.3, 0.05, max_steps=120)
    s = rows(ep.relax(at, sampler, key=KEY).state)[:, 0]
    t = np.linspace(0, 1, 20001)[1:-1]
    potential = t * np.log(t) + (1 - t) * np.log(1 - t) - 0.7 * t
    p = np.cumsum(np.exp(-potential / 0.3))
    assert stats.kstest(s, lambda q: np.interp(q, t, p / p[-1])).pvalue > 1e-3


def test_metropolis_counts_the_steps_that_it_accepted():
    case = pair(1, 1, T, [ep.HardSigmoid()])
    sampler, state = ep.MetropolisLangevin(0.1, 0.5), case.free.init()
    memory, moved = sampler.init(case.free, state, KEY), np.zeros(3, int)
    step = eqx.filter_jit(sampler.step)
    for _ in range(12):
        new, memory, _ = step(case.free, state, memory)
        moved += np.any(rows(new) != rows(state), axis=1)
        state = new
    np.testing.assert_array_equal(memory.accepted, moved)
    assert 0 < np.sum(moved) < 36


def test_langevin_without_walls_has_the_covariance_of_its_step_size():
    case = pair(1, 1, 0.1, [ep.Linear()], scale=0.6, seed=1)
    a = np.eye(2) - case.net.j
    mean = np.linalg.solve(a, (case.x[0] @ case.net.u + case.net.b))
    for step_size in (0.2, 0.8):
        s = sampled(case, ep.Langevin(0.1, step_size, max_steps=60))
        exact = gaussian.covariance(a, 0.1, step_size)
        assert np.max(np.abs(moment_scores(s, mean, exact))) < LIMIT
    # The test can see the bias of the step.
    unbiased = gaussian.covariance(a, 0.1)
    assert np.max(np.abs(moment_scores(s, mean, unbiased))) > 10


def test_langevin_between_walls_approaches_the_quadrature():
    case = pair(1, 1, 0.1, [ep.HardSigmoid()], scale=0.6, seed=1)
    exact = case.net.moments(case.x, case.y, 2.0)
    # Small steps: the bias stays under the noise of so many chains.
    s = sampled(case, ep.Langevin(0.1, 0.005, max_steps=600), beta=2.0)
    assert np.max(np.abs(moment_scores(s, *exact))) < LIMIT
    coarse = sampled(case, ep.Langevin(0.1, 0.5, max_steps=600), beta=2.0)
    assert np.max(np.abs(moment_scores(coarse, *exact))) > LIMIT


def flat_energy(unit, size=1) -> ep.FunctionEnergy:
    """F constant between the walls: −G cancels the unit's own potential."""
    return ep.FunctionEnergy(
        lambda _, s, x: -0.5 * jnp.sum(s * s) + 0 * jnp.sum(x),
        jnp.zeros(()),
        init=lambda x: jnp.zeros(size),
        output=lambda s: s,
        units=unit,
    )


def test_without_force_the_density_is_uniform_and_the_walls_hold_no_atoms():
    sampler = ep.Langevin(0.5, 0.1, max_steps=40)
    at = ep.Landscape(flat_energy(ep.ClippedReLU(2.0)), jnp.zeros((COUNT, 1)))
    s = rows(ep.relax(at, sampler, key=KEY).state)[:, 0]
    assert not np.any((s == 0) | (s == 2))
    assert stats.kstest(s, stats.uniform(0, 2).cdf).pvalue > 1e-3


def test_reflection_folds_like_a_billiard():
    s = np.linspace(-7.3, 9.1, 301)
    expected = s.copy()
    for _ in range(20):
        expected = np.where(expected < -1, -2 - expected, expected)
        expected = np.where(expected > 0.5, 1 - expected, expected)
    found = np.asarray(reflect(jnp.asarray(s), -1.0, 0.5))
    np.testing.assert_allclose(found, expected, atol=1e-14)
    inf = np.inf
    np.testing.assert_allclose(reflect(jnp.asarray(s), 1.0, inf), 1 + np.abs(s - 1))
    np.testing.assert_allclose(reflect(jnp.asarray(s), -inf, 1.0), 1 - np.abs(s - 1))
    np.testing.assert_array_equal(reflect(jnp.asarray(s), -inf, inf), s)


def test_walls_are_read_off_the_projection():
    inf = np.inf
    assert walls(ep.HardSigmoid()) == (0, 1)
    assert walls(ep.Tanh()) == (-1, 1)
    assert walls(ep.ReLU()) == (0, inf)
    assert walls(ep.Unconstrained()) == (-inf, inf)


def test_the_truncated_normal_is_exact_in_its_tails():
    u, mean, spread = (
        a.reshape(-1)
        for a in np.meshgrid(
            [1e-6, 1e-3, 0.2, 0.5, 0.9, 0.999, 1 - 1e-6],
            [-50.0, -2.0, 0.2, 0.5, 0.8, 3.0, 50.0],
            [0.05, 0.1, 2.0],
        )
    )
    for high in (1.0, np.inf):
        a, b = (0 - mean) / spread, (high - mean) / spread
        expected = stats.truncnorm(a, b, mean, spread).ppf(u)
        found = truncated_normal(
            jnp.asarray(u), jnp.asarray(mean), jnp.asarray(spread), 0.0, high
        )
        # A thousand deviations out, z²/2 rounds; scipy's own error is like it.
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


SAMPLERS = [
    ep.Gibbs(T, max_steps=3),
    ep.Langevin(T, max_steps=3),
    ep.MetropolisLangevin(T, max_steps=3),
]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_chain_is_its_keys_alone_and_never_converged(sampler):
    case = pair(1, 1, T, [ep.HardSigmoid()])
    free = case.free.clamp(lambda s: s[1], jnp.full((3, 1), 0.25))
    found = ep.relax(free, sampler, key=KEY)
    again = ep.relax(free, sampler, key=KEY)
    other = ep.relax(free, sampler, key=jax.random.key(4))
    np.testing.assert_array_equal(rows(found.state), rows(again.state))
    np.testing.assert_array_equal(found.state[1], 0.25)
    assert not np.any(found.state[0] == other.state[0])
    assert not np.any(found.converged)
    assert np.all(found.result == ep.RESULTS.steps_completed)
    mates = ep.Landscape(case.model, jnp.asarray(case.x).at[1:].set(7.0))
    mates = mates.clamp(lambda s: s[1], jnp.full((3, 1), 0.25))
    moved = ep.relax(mates, sampler, key=KEY)
    np.testing.assert_array_equal(moved.state[0][0], found.state[0][0])
    assert not np.any(moved.state[0][1:] == found.state[0][1:])
    # Examples alike run chains of their own.
    assert len(np.unique(rows(ep.relax(case.repeated(3), sampler, key=KEY).state))) > 3


@pytest.mark.parametrize("units", [[ep.HardSigmoid()], [ep.Binary(), ep.Linear()]])
def test_gibbs_becomes_block_descent_as_the_temperature_falls(units):
    case = pair(4, 2, T, units, scale=0.4)
    at = case.free.nudge(jnp.asarray(case.y), 0.7)
    cold = ep.relax(at, ep.Gibbs(1e-10, max_steps=40), key=KEY)
    settled = ep.relax(at, ep.BlockCoordinate(max_steps=40))
    assert np.all(settled.converged)
    # Fluctuations are of the order of √T.
    np.testing.assert_allclose(rows(cold.state), rows(settled.state), atol=1e-4)


def test_langevin_becomes_euler_as_the_temperature_falls():
    case = pair(4, 2, T, [ep.HardSigmoid()], scale=0.4)
    cold = ep.relax(case.free, ep.Langevin(1e-12, 0.2, max_steps=60), key=KEY)
    settled = ep.relax(case.free, ep.Euler(0.2, max_steps=60))
    np.testing.assert_allclose(rows(cold.state), rows(settled.state), atol=1e-5)


@pytest.mark.parametrize(
    "units, sampler",
    [
        ([ep.Binary(), ep.HardSigmoid()], ep.Gibbs(T, max_steps=3)),
        ([ep.HardSigmoid(), ep.Linear()], ep.Langevin(T, max_steps=3)),
    ],
)
def test_chains_of_one_key_differ_by_nothing_but_the_nudge(units, sampler):
    case = pair(4, 2, T, units)
    free = ep.relax(case.free, sampler, key=KEY)
    barely = ep.relax(case.free.nudge(jnp.asarray(case.y), 1e-9), sampler, key=KEY)
    # Independent chains would differ by √T, and so would other orders of the blocks.
    np.testing.assert_allclose(rows(barely.state), rows(free.state), atol=1e-7)


@pytest.mark.parametrize("beta", [1.5, -1.5])
def test_block_descent_ends_where_no_flip_of_a_binary_unit_helps(beta):
    case = pair(4, 2, T, [ep.Binary()])
    net, at = case.net, case.repeated(64, beta)
    f = (net.energy(case.x) + beta * net.cost(case.y))[0]
    flips = np.sum(np.abs(net.states[:, None] - net.states[None]), axis=2) <= 1
    lowest = f == np.min(np.where(flips, f, np.inf), axis=1)
    # The certificate knows these states, and from everywhere the sweeps end in one.
    everywhere = (jnp.asarray(net.states[:, :4]), jnp.asarray(net.states[:, 4:]))
    np.testing.assert_array_equal(at.residual(everywhere) == 0, lowest)
    found = ep.relax(at, ep.BlockCoordinate(max_steps=30), everywhere)
    assert np.all(found.converged)
    assert np.all(lowest[codes(rows(found.state))])


def test_a_nudge_that_leaves_no_distribution_is_reported():
    case = pair(1, 1, T, [ep.Linear()])
    away = case.free.nudge(jnp.asarray(case.y), -1.5)
    with pytest.raises(ep.RelaxationError, match="no minimum"):
        ep.relax(away, ep.Gibbs(T), key=KEY)


@pytest.mark.parametrize("kind", [ep.Gibbs, ep.Langevin, ep.MetropolisLangevin])
def test_a_temperature_that_is_not_positive_points_to_the_solvers(kind):
    for value in (0.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=r"above 0.*T → 0.*BlockCoordinate"):
            kind(value)
    with pytest.raises(ValueError, match="positive integer"):
        kind(0.1, max_steps=0)
    case = pair(1, 1, T, [ep.HardSigmoid()])
    with pytest.raises(ValueError, match=r"needs a `key`.*jax.random.key\(0\)"):
        ep.relax(case.free, kind(0.1))


def test_step_sizes_must_be_positive():
    for kind in (ep.Langevin, ep.MetropolisLangevin):
        with pytest.raises(ValueError, match="`step_size`"):
            kind(0.1, 0.0)


REFUSED = [
    ([ep.Binary()], ep.Langevin(0.1), r"Langevin.*states are 0 and 1.*ep\.Gibbs"),
    ([ep.Binary()], ep.MetropolisLangevin(0.1), r"states are 0 and 1.*ep\.Gibbs"),
    ([ep.Binary()], ep.Euler(), r"`Euler`.*states are 0 and 1.*ep\.Gibbs"),
    ([ep.Binary()], ep.AdaptiveEuler(), r"states are 0 and 1.*ep\.Gibbs"),
    ([ep.Binary()], ep.FixedPoint(), r"states are 0 and 1.*ep\.Gibbs"),
    ([ep.Tanh()], ep.Langevin(0.1), r"bounded curvature.*MetropolisLangevin"),
    ([ep.Tanh()], ep.Gibbs(0.1), r"no closed form.*MetropolisLangevin"),
    ([ep.Softmax()], ep.MetropolisLangevin(0.1), r"sum to one.*CrossEntropy"),
]


@pytest.mark.parametrize("units, solver, message", REFUSED)
def test_units_a_solver_cannot_move_are_refused(units, solver, message):
    layer = ep.Layer("output", units[0], (2,))
    energy = ep.Network([layer], [ep.Edge(("output",), ep.Bias(jnp.ones(2)))])
    with pytest.raises(ValueError, match=message):
        ep.relax(ep.Landscape(energy, jnp.ones((1, 2))), solver, key=KEY)


def test_gibbs_refuses_continuous_layers_whose_units_depend_on_each_other():
    case = pair(2, 1, T, [ep.HardSigmoid()], lateral=True)
    with pytest.raises(ValueError, match=r"layer 0.*lateral.*ep\.Langevin"):
        ep.relax(case.free, ep.Gibbs(T), key=KEY)
    case = pair(2, 2, T, [ep.Linear()], cost=ep.CrossEntropy())
    with pytest.raises(ValueError, match=r"layer 1.*nudge.*ep\.Langevin"):
        ep.relax(case.free.nudge(jnp.asarray(case.y), 0.1), ep.Gibbs(T), key=KEY)
    case = pair(2, 2, T, [ep.Binary()], cost=ep.CrossEntropy())
    nudged = case.free.nudge(jnp.asarray(case.y), 0.1)
    with pytest.raises(ValueError, match=r"CrossEntropy.*ep\.Gibbs"):
        ep.relax(nudged, ep.BlockCoordinate())


def test_complex_landscapes_have_no_distribution():
    case = pair(1, 1, T, [ep.Linear()])
    with pytest.raises(ValueError, match="samples real states"):
        ep.relax(case.free.continued(), ep.Langevin(0.1), key=KEY)
