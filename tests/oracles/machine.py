"""Expected updates of a restricted Boltzmann machine with clamped inputs, in NumPy."""

import numpy as np
from numpy.typing import NDArray

from .stationary import binary_states, Net


Floats = NDArray[np.floating]


def restricted(u: Floats, v: Floats, b: Floats, c: Floats, temperature: float) -> Net:
    """Of input × hidden and hidden × output weights, and both layers' biases."""
    h, n = len(v), sum(v.shape)
    j = np.zeros((n, n))
    j[:h, h:] = v
    inputs = np.concatenate([u, np.zeros((len(u), n - h))], axis=1)
    bias = np.concatenate([b, c])
    return Net(j + j.T, inputs, bias, n - h, temperature, *binary_states(n))


def in_order(net: Net, gradient: Floats) -> Floats:
    """From the net's order of parameters to that of `restricted`."""
    n = len(net.b)
    h = n - net.outputs
    pairs, inputs, bias = np.split(gradient, [n * (n - 1) // 2, len(gradient) - n])
    j = np.zeros((n, n))
    j[np.triu_indices(n, 1)] = pairs
    parts = inputs.reshape(-1, n)[:, :h], j[:h, h:], bias
    return np.concatenate([part.ravel() for part in parts])


def cd1(net: Net, x: Floats, y: Floats) -> Floats:
    """Contrastive divergence by the textbook: up from the target, down, up again."""
    h = len(net.b) - net.outputs
    v = net.j[:h, h:]

    def chances(states, drive):
        up = 1 / (1 + np.exp(-drive / net.temperature))
        return np.prod(np.where(states == 1, up, 1 - up), axis=1)

    hidden, outputs = (binary_states(count)[0] for count in (h, net.outputs))
    shift = np.zeros((len(x), len(hidden), len(outputs)))
    for k in range(len(x)):
        field = x[k] @ net.u[:, :h] + net.b[:h]
        first = chances(hidden, field + v @ y[k])
        seen = np.zeros(len(outputs))
        for p, state in zip(first, hidden, strict=True):
            seen += p * chances(outputs, state @ v + net.b[h:])
        for i, state in enumerate(outputs):
            shift[k, :, i] -= seen[i] * chances(hidden, field + v @ state)
            shift[k, :, i] += np.all(state == y[k]) * first
    expected = np.einsum("bs,bsk->k", shift.reshape(len(x), -1), net.slopes(x))
    return in_order(net, expected / len(x))
