"""Plasticity at every step of the nudged phase, against NumPy and path identities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


BETA = 0.1
# An odd number of steps, far from settled: what holds, holds for any number.
BRIEF: dict[str, tuple[str, ep.AbstractSolver]] = {
    "chain by sweeps": ("two hidden layers", ep.BlockCoordinate(max_steps=3)),
    "membrane": ("hopfield, sigmoid", ep.Euler(max_steps=7)),
    "readout": ("readout of logits", ep.FixedPoint(max_steps=7)),
    "memory": ("own energy", ep.AdaptiveEuler(max_steps=7, stop=None)),
}


@pytest.mark.parametrize("name", BRIEF)
def test_the_symmetric_rule_telescopes_to_one_sided_ep(name):
    case, brief = h.CASES[BRIEF[name][0]](), BRIEF[name][1]
    weight = jnp.asarray([1.0, 0.0, 2.0, 0.5])
    for beta in (BETA, -0.3):
        two = ep.EquilibriumProp(ep.OneSided(beta), case.solver, brief)
        one = ep.ContinualEP(beta, case.solver, brief)
        outcome, found = h.estimate(one, *case[:1], *case[2:], weight=weight)
        expected, gradient = h.estimate(two, *case[:1], *case[2:], weight=weight)
        # Round-off over β.
        np.testing.assert_allclose(h.flat(found), h.flat(gradient), atol=1e-12)
        assert h.error(outcome.nudged[0].state, expected.nudged[0].state) < 1e-14
        residuals = (outcome.nudged[0].residual, expected.nudged[0].residual)
        np.testing.assert_allclose(*residuals, atol=1e-14)
        assert outcome.cost == expected.cost


# Continual EP on input → h → output, clipped and linear, by hand.
EPSILON, RATE, STEPS = 0.4, 0.05, 6


def clip(s):
    return np.clip(s, 0.0, 1.0)


def forces(theta, x, h_, o, miss):
    w1, b1, w2, b2 = theta
    drive = x @ w1 + o @ w2.T + b1
    return drive - h_, h_ @ w2 + b2 - o - miss


def moved(theta, x, h_, o, miss):
    up, out = forces(theta, x, h_, o, miss)
    return clip(h_ + EPSILON * up), o + EPSILON * out


def changes(rule, share, x, old, new):
    (h0, o0), (h1, o1) = old, new
    w1 = -(x * share).T @ (h1 - h0)
    products = {
        "symmetric": (h1 * share).T @ o1 - (h0 * share).T @ o0,
        "one way": (h0 * share).T @ (o1 - o0),
        "both ways": (h0 * share).T @ (o1 - o0) + ((h1 - h0) * share).T @ o0,
    }
    b1, b2 = (-(share * (n - m)).sum(0) for m, n in ((h0, h1), (o0, o1)))
    return [w1, b1, -products[rule], b2]


def by_hand(rule, theta, x, y, weight, beta, rate):
    """The sum over the phase, the last state and the weights at the end."""
    h_, o = np.zeros((len(x), theta[0].shape[1])), np.zeros_like(y)
    for _ in range(400):
        h_, o = moved(theta, x, h_, o, 0.0)
    share = (weight / weight.sum())[:, None]
    total = [np.zeros_like(p) for p in theta]
    for _ in range(STEPS):
        new = moved(theta, x, h_, o, beta * (o - y))
        found = changes(rule, share, x, (h_, o), new)
        h_, o = new
        theta = [p - rate / beta * d for p, d in zip(theta, found, strict=True)]
        total = [t + d / beta for t, d in zip(total, found, strict=True)]
    return total, (h_, o), theta


RULES = {
    "symmetric": ep.SymmetricSTDP(),
    "one way": ep.RateSTDP(),
    "both ways": ep.RateSTDP(both_ways=True),
}


@pytest.mark.parametrize("rule", RULES)
def test_continual_ep_is_the_one_written_out_in_numpy(rule):
    case = h.mlp([5, 6, 3])
    theta = [np.asarray(p) for p in jax.tree.leaves(case.model)]
    weight = np.asarray([1.0, 0.5, 0.0, 2.0])
    method = ep.ContinualEP(
        BETA,
        ep.Euler(EPSILON, max_steps=400),
        ep.Euler(EPSILON, max_steps=STEPS),
        RULES[rule],
        rate=RATE,
    )
    outcome, gradient = h.estimate(
        method, case.model, case.x, case.y, weight=jnp.asarray(weight)
    )
    x, y = np.asarray(case.x), np.asarray(case.y)
    total, state, end = by_hand(rule, theta, x, y, weight, BETA, RATE)
    for found, expected in zip(jax.tree.leaves(gradient), total, strict=True):
        # Free states to 1e-15, over β.
        np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(h.flat(outcome.nudged[0].state), h.flat(state))
    # Plain SGD outside makes the displacement that was made inside.
    stepped = eqx.apply_updates(case.model, jax.tree.map(lambda g: -RATE * g, gradient))
    for found, expected in zip(jax.tree.leaves(stepped), end, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-13)
    # The residual is that of the end's weights.
    ups = forces(end, x, *state, BETA * (state[1] - y))
    residual = [clip(state[0] + ups[0]) - state[0], ups[1]]
    largest = np.abs(np.concatenate(residual, axis=1)).max(1)
    np.testing.assert_allclose(outcome.nudged[0].residual, largest, atol=1e-12)


def test_a_readout_learns_from_the_moment_the_nudge_sets_in():
    case = h.readout(ep.SquaredError())
    brief = ep.Euler(EPSILON, max_steps=3)
    method = ep.ContinualEP(BETA, case.solver, brief, rate=RATE)
    found = h.gradient(method, case)

    def at(model):
        return ep.Landscape(model, case.x).nudge(case.y, BETA)

    @eqx.filter_jit
    @eqx.filter_grad
    def onset(model, state):
        return BETA * jnp.mean(at(model).cost(state))

    @eqx.filter_jit
    @eqx.filter_grad
    def change(model, old, new):
        return jnp.mean(at(model).energy(new) - at(model).energy(old))

    model, state = case.model, h.settled(case)[1]
    steps = [onset(model, state)]
    for _ in range(brief.max_steps):
        update = jax.tree.map(lambda d: -RATE / BETA * d, steps[-1])
        model = eqx.apply_updates(model, update)
        new = brief.step(at(model), state, None)[0]
        steps.append(change(model, state, new))
        state = new
    expected = jax.tree.map(lambda *d: sum(d) / BETA, *steps)
    np.testing.assert_allclose(h.flat(found), h.flat(expected), atol=1e-12)
    # The cost's own slope, which the energy's differences lack.
    assert h.error(found.cost, steps[0].cost) > 0.1


def tracked(case, solver):
    """The nudged landscape, and the states at every moment of that phase."""
    landscape, free = h.settled(case)
    landscape = landscape.nudge(case.y, BETA)
    seen = ep.relax(landscape, solver, free, observe=lambda _, state: state)
    return landscape, seen.observations


@eqx.filter_jit
def summed(plasticity, landscape, path):
    """The sum of a rule's changes along a path, over β."""
    old = jax.tree.map(lambda s: s[OLD], path)
    new = jax.tree.map(lambda s: s[NEW], path)
    changes = jax.vmap(lambda a, b: plasticity.change(landscape, a, b))(old, new)
    return jax.tree.map(lambda d: jnp.sum(d, axis=0) / BETA, changes)


OLD, NEW = slice(None, -1), slice(1, None)
# By what both sides of a coupling hold, and how that which counts as moving moves.
PAIRINGS = {
    "left": lambda a, b, da, db: [(a[OLD], db)],
    "left, both ways": lambda a, b, da, db: [(a[OLD], db), (da, b[OLD])],
    "middle": lambda a, b, da, db: [
        ((a[OLD] + a[NEW]) / 2, db),
        (da, (b[OLD] + b[NEW]) / 2),
    ],
    "product": lambda a, b, da, db: [(da, db)],
}


def path_sum(edge, rates, moving, pairing):
    """−Σ_t mean_b of a pairing, over β."""
    a, b = (rates[edge.layers[k]] for k in (0, -1))
    da, db = (np.diff(moving[edge.layers[k]], axis=0) for k in (0, -1))
    if isinstance(edge.interaction, ep.Bias):
        return -db.sum(0).mean(0) / BETA
    pairs = PAIRINGS[pairing](a, b, da, db)
    total = sum(np.einsum("tni,tnj->ij", p, q) for p, q in pairs)
    lateral = isinstance(edge.interaction, ep.Lateral)
    return -(np.triu(total, 1) if lateral else total) / a.shape[1] / BETA


RATES = {
    "skips": lambda s: s,
    "lateral": lambda s: s,
    "hopfield, sigmoid": lambda u: 1 / (1 + np.exp(-4 * (u - 0.5))),
}


@pytest.mark.parametrize("name", RATES)
def test_the_rules_are_sums_along_the_path(name):
    case = h.CASES[name]()
    landscape, path = tracked(case, ep.Euler(EPSILON, max_steps=STEPS))
    names = [layer.name for layer in case.model.energy.layers]
    potentials = dict(zip(names, map(np.asarray, path), strict=True))
    potentials["input"] = np.broadcast_to(case.x, (STEPS + 1, *case.x.shape))
    rates = {layer: RATES[name](held) for layer, held in potentials.items()}

    def learned(plasticity):
        return jax.tree.leaves(summed(plasticity, landscape, path))

    def expected(pairing, moving=rates):
        edges = case.model.energy.edges
        return [path_sum(edge, rates, moving, pairing) for edge in edges]

    pairs = [
        (ep.RateSTDP(), expected("left")),
        (ep.RateSTDP(both_ways=True), expected("left, both ways")),
        # Midpoint sums are the differences of the ends.
        (ep.SymmetricSTDP(), expected("middle")),
    ]
    if "hopfield" in name:
        both = expected("left, both ways", potentials)
        pairs += [(ep.MembraneSTDP(), expected("left", potentials))]
        pairs += [(ep.MembraneSTDP(both_ways=True), both)]
    for plasticity, sums in pairs:
        for found, wanted in zip(learned(plasticity), sums, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-12)
    # Left-point sums lack the product of the steps, exactly.
    symmetric, both = learned(ep.SymmetricSTDP()), learned(pairs[1][0])
    for a, b, missing in zip(symmetric, both, expected("product"), strict=True):
        if a.ndim == 2:
            np.testing.assert_allclose(a - b, missing, atol=1e-12)
            assert np.any(np.abs(a) > 1e-3)


@eqx.filter_jit
def learned_at(step_size, case, plasticity):
    nudged = ep.Euler(step_size, max_steps=1000)
    method = ep.ContinualEP(BETA, case.solver, nudged, plasticity)
    outcome, gradient = method.value_and_grad(case.model, case.x, case.y)
    return gradient, outcome.nudged[0].residual


def test_one_way_the_sum_depends_on_the_path():
    case = h.mlp([5, 6, 5, 3], ep.Linear())
    steps = np.asarray([0.4, 0.2, 0.1])

    def along(plasticity):
        found = [learned_at(jnp.asarray(step), case, plasticity) for step in steps]
        assert all(np.all(residual < 1e-9) for _, residual in found)
        return [gradient for gradient, _ in found]

    symmetric = along(ep.SymmetricSTDP())
    one_way = along(ep.RateSTDP())
    both = along(ep.RateSTDP(both_ways=True))
    # All paths have the same ends.
    assert h.error(symmetric[0], symmetric[-1]) < 1e-8
    assert h.error(one_way[0], one_way[-1]) > 1e-3
    # What is missing of both ways vanishes with the step; of one way it doesn't.
    errors = [h.error(g, symmetric[-1]) for g in both]
    assert abs(h.slope(steps, errors) - 1) < 0.1
    hidden, exact = one_way[-1].energy.edges[2], symmetric[-1].energy.edges[2]
    assert h.error(hidden, exact) > 0.1
    # Couplings with the clamped input and biases have one way only.
    for k in (0, 1, 3, 5):
        edge = one_way[0].energy.edges[k]
        assert h.error(edge, symmetric[0].energy.edges[k]) < 1e-10


def test_continual_ep_deviates_in_proportion_to_the_rate_over_beta():
    case = h.mlp([5, 6, 3], ep.Tanh(), solver=h.DAMPED)
    brief = ep.FixedPoint(damping=0.5, max_steps=40)

    @eqx.filter_jit
    def learned(rate, beta):
        method = ep.ContinualEP(beta, case.solver, brief, rate=rate)
        return method.value_and_grad(case.model, case.x, case.y)[1]

    def deviation(rate, beta):
        still = learned(jnp.asarray(0.0), jnp.asarray(beta))
        return h.error(learned(jnp.asarray(rate), jnp.asarray(beta)), still)

    rates = np.asarray([1e-3, 3e-4, 1e-4])
    errors = [deviation(rate, BETA) for rate in rates]
    assert abs(h.slope(rates, errors) - 1) < 0.03
    # To leading order: β itself changes the path by a tenth.
    np.testing.assert_allclose(deviation(1e-5, 1e-2), deviation(1e-4, 0.1), rtol=0.2)


def test_a_rate_of_zero_keeps_the_weights_still():
    case = h.mlp([5, 6, 3])
    brief = ep.Euler(max_steps=5)
    still = h.gradient(ep.ContinualEP(BETA, case.solver, brief), case)
    zero = h.gradient(ep.ContinualEP(BETA, case.solver, brief, rate=0.0), case)
    np.testing.assert_allclose(h.flat(zero), h.flat(still), atol=1e-14)


def test_what_cannot_work_is_refused():
    waiting = ep.Euler(stop=ep.Tolerance())
    with pytest.raises(ValueError, match="`beta` of `ContinualEP`"):
        ep.ContinualEP(0.0)
    with pytest.raises(ValueError, match="`rate` of `ContinualEP`"):
        ep.ContinualEP(BETA, rate=-0.1)
    with pytest.raises(ValueError, match="`solver` of `ContinualEP` moves.*stops"):
        ep.ContinualEP(BETA, waiting)
    with pytest.raises(ValueError, match="`nudged_solver` of `ContinualEP`.*stops"):
        ep.ContinualEP(BETA, nudged_solver=waiting)
    ep.ContinualEP(BETA, waiting, ep.Euler())
    own = h.own_energy()
    method = ep.ContinualEP(BETA, own.solver, plasticity=ep.RateSTDP())
    with pytest.raises(ValueError, match=r"an `ep\.Network` or `ep\.Hopfield`, but"):
        h.gradient(method, own)
    chain = h.mlp([5, 6, 3])
    method = ep.ContinualEP(BETA, chain.solver, plasticity=ep.MembraneSTDP())
    with pytest.raises(ValueError, match=r"`MembraneSTDP`.*Use `ep\.RateSTDP\(\)`"):
        h.gradient(method, chain)


def test_nothing_is_passed_back():
    case = h.mlp([5, 6, 3])
    method = ep.ContinualEP(BETA, case.solver)

    def loss(energy):
        return jnp.sum(method.equilibrium(energy, case.x).state[-1])

    assert np.isfinite(loss(case.model.energy))
    with pytest.raises(ValueError, match=r"ContinualEP.*ep\.OneSided\(beta\)"):
        eqx.filter_grad(loss)(case.model.energy)
