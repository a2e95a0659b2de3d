"""The tutorials, run; what they found beside the same in plain NumPy."""

import itertools

import jax
import numpy as np
import pytest

from helpers_tutorials import read


def arrays(tree) -> list[np.ndarray]:
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def sigmoid(u, slope=4):
    return 1 / (1 + np.exp(-slope * (u - 0.5)))


def test_the_paper_in_one_hour():
    found = read("paper_in_one_hour")
    names = found.names
    W, b, V, c = arrays(names["energy"].edges)
    x, y = arrays((names["x"][0], names["y"][0]))

    def settled(W, b, V, c, beta):
        """u = ρ′(u)·(what the neighbors send), the outputs pulled by β(y − u)."""
        h, o = np.zeros(6), np.zeros(3)
        for _ in range(600):
            up, down = sigmoid(x) @ W + sigmoid(o) @ V.T + b, sigmoid(h) @ V + c
            r, s = sigmoid(h), sigmoid(o)
            goal = (4 * s * (1 - s) * down + beta * y) / (1 + beta)
            h, o = 0.5 * (h + 4 * r * (1 - r) * up), 0.5 * (o + goal)
        return h, o

    def cost(*parameters):
        return 0.5 * np.sum((settled(*parameters, 0.0)[1] - y) ** 2)

    for state, beta in ((names["settled"], 0.0), (names["nudged"], names["small"])):
        for ours, theirs in zip(settled(W, b, V, c, beta), state, strict=True):
            np.testing.assert_allclose(theirs[0], ours, rtol=0, atol=1e-12)
    slopes = []
    for k, parameter in enumerate((W, b, V, c)):
        for index in np.ndindex(parameter.shape):
            moved = [np.copy(p) for p in (W, b, V, c)]
            moved[k][index] += 1e-5
            up = cost(*moved)
            moved[k][index] -= 2e-5
            slopes.append((up - cost(*moved)) / 2e-5)
    # Round-off of the cost over 1e-5, here and there.
    np.testing.assert_allclose(names["exact"], slopes, rtol=0, atol=1e-9)
    assert np.sum(np.abs(slopes) > 0.01) > 10
    # Of the two ends: the sums of the symmetric rule reach the contrast, by 50 time
    # constants' remains; the one-way rule lacks the other side's change.
    assert names["gaps"]["both ways"] < 1e-9
    assert found.number(r"OneSided: .* slope (\S+)") == pytest.approx(1, abs=0.1)
    assert found.number(r"Centered: .* slope (\S+)") == pytest.approx(2, abs=0.1)
    digits_in_numpy(names, found.number(r"test error (\S+) %"))


def digits_in_numpy(names, printed: float):
    """The trained network's errors and the branch of its worst digit."""
    W, b, V, c = arrays(names["run"].model.energy.edges)

    def outputs(x, y, beta):
        o = np.zeros((len(x), 10))
        for _ in range(300):
            h = np.clip(x @ W + b + o @ V.T, 0, 1)
            o = (h @ V + c + beta * y) / (1 + beta)
        return o

    test = names["data"].test
    x, y = arrays((test.x, test.y))
    guess = np.argmax(outputs(x, y, 0.0), axis=1)
    wrong = np.sum(guess != np.argmax(y, axis=1))
    # Training predicts after 12 sweeps: one undecided digit may fall otherwise.
    assert abs(printed * len(x) / 100 - wrong) <= 1.5
    k = names["worst"]
    beta = names["strengths"][:, None]
    branch = outputs(x[k : k + 1].repeat(13, 0), y[k : k + 1].repeat(13, 0), beta)
    np.testing.assert_allclose(names["outputs"], branch, rtol=0, atol=1e-8)


def test_your_own_energy():
    found = read("your_own_energy")
    names = found.names
    p = {name: np.asarray(a, np.float64) for name, a in names["params"].items()}
    x = np.asarray(names["x"], np.float64)
    gamma = names["GAMMA"]

    def settled(w, v, b, c, x, low, high):
        """Unit by unit to its own minimum, given all others."""
        h, o = np.zeros((len(x), 4, 16)), np.zeros((len(x), 10))
        for _ in range(300):
            for k in range(4):
                rivals = h.sum(axis=1) - h[:, k]
                h[:, k] = x @ w[k] + b[k] + o @ v[k].T - gamma * rivals
                h[:, k] = np.clip(h[:, k], low, high)
            o = np.einsum("nkg,kgo->no", h, v) + c
        return h, o

    free, _ = settled(**p, x=x, low=-np.inf, high=np.inf)
    walled, out = settled(**p, x=x, low=0, high=1)
    # Tolerances of 1e-4 and 1e-5, over the smallest curvature 1 − γ and less.
    np.testing.assert_allclose(names["settled"].state["hidden"], free, atol=1e-3)
    state = names["by_blocks"].state
    np.testing.assert_allclose(np.stack(state["hidden"], 1), walled, atol=1e-4)
    np.testing.assert_allclose(state["output"], out, atol=1e-4)
    assert np.max(np.abs(free - walled)) > 0.1
    fn = names["loaded"].energy.fn
    learned = {name: np.asarray(getattr(fn, name), np.float64) for name in "wvbc"}
    test = names["data"].test
    hidden, out = settled(**learned, x=np.asarray(test.x, float), low=0, high=1)
    wrong = np.sum(np.argmax(out, axis=1) != np.asarray(test.labels))
    errors = found.number(r"test error (\S+) %") * len(test) / 100
    assert abs(errors - wrong) <= 1.5
    share = found.number(r"(\d+) % of the hidden units are active")
    assert share == pytest.approx(100 * np.mean(hidden > 0), abs=1)


def test_gradient_checking():
    found = read("gradient_checking")
    names = found.names
    W, b, V, c = arrays(names["model"].energy.edges)
    x, y = arrays((names["x"], names["y"]))
    gradients, limits = [], []
    for one, target in zip(x, y, strict=True):
        h, o = np.zeros(24), np.zeros(10)
        for _ in range(2000):
            h = np.tanh(one @ W + b + V @ o)
            o = V.T @ h + c
        J = np.block([[np.diag(1 / (1 - h**2)), -V], [-V.T, np.eye(10)]])
        inverse = np.linalg.inv(J)
        m = inverse @ np.concatenate([np.zeros(24), o - target])
        mh, mo = m[:24], m[24:]
        parts = np.outer(one, mh), mh, np.outer(mh, o) + np.outer(h, mo), mo
        gradients.append(np.concatenate([part.ravel() for part in parts]))
        # J − βP turns singular where β times this eigenvalue is 1.
        limits.append(1 / np.max(np.linalg.eigvalsh(inverse[24:, 24:])))
    exact = np.concatenate([a.ravel() for a in arrays(names["exact"])])
    np.testing.assert_allclose(exact, np.mean(gradients, axis=0), atol=1e-10)
    assert np.linalg.norm(exact) > 1e-2
    np.testing.assert_allclose(names["limits"], limits, rtol=1e-5)
    for name, order in (
        ("one-sided", 1),
        ("centered", 2),
        ("holomorphic, 4 points", 4),
    ):
        assert found.number(rf"{name} +order (\S+)") == pytest.approx(order, rel=0.1)
    changed = np.asarray(names["clipped"].bias["centered"].changed)
    assert changed[0] == 0
    assert changed[-1] > 0


def test_hybrid_networks():
    found = read("hybrid_networks")
    names = found.names
    net, test = names["trained"], names["data"].test
    weight, bias = arrays(net.filters)
    W, b, V, c = arrays(net.block.edges)
    out, shift = arrays(net.readout)
    images = np.pad(
        np.asarray(test.x, float).reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1))
    )
    response = np.zeros((len(images), 8, 8, 8)) + bias[None]
    for i, j in itertools.product(range(3), repeat=2):
        patch = images[:, None, i : i + 8, j : j + 8]
        response += weight[None, :, 0, i, j, None, None] * patch
    pooled = np.maximum(response, 0).reshape(-1, 8, 4, 2, 4, 2).mean(axis=(3, 5))
    x, o = pooled.reshape(len(images), -1), np.full((len(images), 24), 0.5)
    for _ in range(500):
        h = sigmoid(x @ W + b + o @ V.T, slope=1)
        o = sigmoid(h @ V + c, slope=1)
    logits = np.concatenate([h, o], axis=1) @ out.T + shift
    wrong = np.sum(np.argmax(logits, axis=1) != np.asarray(test.labels))
    errors = found.number(r"Equilibrium Propagation  loss .* error (\S+) %")
    assert abs(errors * len(test) / 100 - wrong) <= 1.5
    before = found.number(r"mean activity (\S+) →")
    assert before == pytest.approx(np.mean(h), abs=2e-3)


def test_stochastic_ep():
    found = read("stochastic_ep")
    names = found.names
    parameters = arrays(names["model"].energy.edges)
    x, y = arrays((names["x"], names["y"]))
    T = names["T"]
    # All hidden states, and the outputs by the midpoint rule: no algebra.
    hidden = np.asarray(list(itertools.product((0.0, 1.0), repeat=3)))
    line = np.linspace(-8, 8, 161)
    outputs = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)

    def expected_cost(W, b, V, c):
        costs = []
        for one, target in zip(x, y, strict=True):
            energy = 0.5 * np.sum(outputs**2, axis=1) - outputs @ c
            energy = energy[None] - hidden @ V @ outputs.T
            energy = energy - (hidden @ (one @ W + b))[:, None]
            chance = np.exp(-(energy - energy.min()) / T)
            cost = 0.5 * np.sum((outputs - target) ** 2, axis=1)
            costs.append(np.sum(chance * cost) / np.sum(chance))
        return np.mean(costs)

    slopes = []
    for k, parameter in enumerate(parameters):
        for index in np.ndindex(parameter.shape):
            moved = [np.copy(p) for p in parameters]
            moved[k][index] += 1e-4
            up = expected_cost(*moved)
            moved[k][index] -= 2e-4
            slopes.append((up - expected_cost(*moved)) / 2e-4)
    # Differences err by the square of 1e-4.
    np.testing.assert_allclose(names["truth"], slopes, rtol=1e-5, atol=1e-6)
    cost = expected_cost(*parameters)
    assert found.number(r"expected cost (\S+),") == pytest.approx(cost, abs=1e-4)
    # Mean of the sampled cost: its gradient's relative error is larger.
    assert found.number(r"expected cost \S+, sampled (\S+)") == pytest.approx(
        cost, 0.02
    )
    off = np.linalg.norm(names["found"] - slopes) / np.linalg.norm(slopes)
    # β² = 0.01 of bias times what the tutorial finds, and its standard error.
    assert off < 0.05
