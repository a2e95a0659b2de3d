"""Expectations under p_β(s) ∝ exp(−F/T) of small networks, in NumPy: by enumeration of
all states of binary units, by quadrature of two or three units in a box.

    F = ½ s·s (not if binary) − ½ sᵀJs − s·(xᵀU + b) + β·C(s_out, y)

with J symmetric and of zero diagonal. The rows of x and y are examples.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]


def squared_error(o: Floats, y: Floats) -> Floats:
    return 0.5 * np.sum((o - y) ** 2, axis=-1)


def cross_entropy(o: Floats, y: Floats) -> Floats:
    return np.log(np.sum(np.exp(o), axis=-1)) - np.sum(y * o, axis=-1)


@dataclass
class Net:
    """`states` are rows with quadrature weights `measure`; `potential` is G of each."""

    j: Floats
    u: Floats
    b: Floats
    outputs: int
    temperature: float
    states: Floats
    measure: Floats
    potential: Floats
    loss: Callable[[Floats, Floats], Floats] = squared_error

    def cost(self, y: Floats) -> Floats:
        """C, for each example and state."""
        return self.loss(self.states[None, :, -self.outputs :], y[:, None])

    def energy(self, x: Floats) -> Floats:
        pairs = 0.5 * np.einsum("si,ij,sj->s", self.states, self.j, self.states)
        drive = x @ self.u + self.b
        return self.potential[None] - pairs[None] - drive @ self.states.T

    def free_energy(self, x: Floats, y: Floats, beta: float) -> Floats:
        """A_β = −T ln ∫ exp(−F/T), for each example."""
        f = self.energy(x) + beta * self.cost(y)
        low = f.min(axis=1)
        z = np.exp(-(f - low[:, None]) / self.temperature) @ self.measure
        return low - self.temperature * np.log(z)

    def probability(self, x: Floats, y: Floats, beta: float) -> Floats:
        """Of each state, its share of the measure included; rows sum to one."""
        f = self.energy(x) + beta * self.cost(y)
        p = np.exp(-(f - f.min(axis=1, keepdims=True)) / self.temperature)
        p = p * self.measure
        return p / p.sum(axis=1, keepdims=True)

    def mean_cost(self, x: Floats, y: Floats, beta: float = 0.0) -> Floats:
        """E_β[C] of each example."""
        return np.sum(self.probability(x, y, beta) * self.cost(y), axis=1)

    def moments(self, x: Floats, y: Floats, beta: float) -> tuple[Floats, Floats]:
        """Mean and covariance of the states of the first example."""
        p = self.probability(x, y, beta)[0]
        mean = p @ self.states
        centered = self.states - mean
        return mean, np.einsum("s,si,sj->ij", p, centered, centered)

    def slopes(self, x: Floats) -> Floats:
        """∂E/∂θ for each example, state and parameter: J above the diagonal, U, b."""
        s = self.states
        first, second = np.triu_indices(len(self.b), 1)
        pairs = -s[:, first] * s[:, second]
        inputs = -np.einsum("bi,sj->bsij", x, s).reshape(len(x), len(s), -1)

        def alike(slopes):
            return np.broadcast_to(slopes, (len(x), *slopes.shape))

        return np.concatenate([alike(pairs), inputs, alike(-s)], axis=2)

    def contrast(self, x: Floats, y: Floats, up: float, down: float) -> Floats:
        """(E_up[∂F/∂θ] − E_down[∂F/∂θ]) / (up − down), mean over the batch."""
        shift = self.probability(x, y, up) - self.probability(x, y, down)
        return np.einsum("bs,bsk->k", shift, self.slopes(x)) / (up - down) / len(x)

    def gradient(self, x: Floats, y: Floats) -> Floats:
        """d/dθ E_0[C] = −Cov_0(C, ∂E/∂θ)/T, mean over the batch."""
        p, c = self.probability(x, y, 0.0), self.cost(y)
        centered = p * (c - np.sum(p * c, axis=1, keepdims=True))
        total = np.einsum("bs,bsk->k", centered, self.slopes(x))
        return -total / self.temperature / len(x)


def binary_states(count: int) -> tuple[Floats, Floats, Floats]:
    """All states, their measure 1, and G = 0."""
    states = np.array(list(itertools.product([0.0, 1.0], repeat=count)))
    return states, np.ones(len(states)), np.zeros(len(states))


def box_states(
    count: int, low: float, high: float, nodes: int = 60
) -> tuple[Floats, Floats, Floats]:
    """Gauss-Legendre nodes in every direction, their weights, and G = ½ s·s."""
    points, weights = np.polynomial.legendre.leggauss(nodes)
    points = low + 0.5 * (high - low) * (points + 1)
    weights = 0.5 * (high - low) * weights
    states = np.array(list(itertools.product(points, repeat=count)))
    measure = np.prod(list(itertools.product(weights, repeat=count)), axis=1)
    return states, measure, 0.5 * np.sum(states**2, axis=1)


def joined(
    a: tuple[Floats, Floats, Floats], b: tuple[Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats]:
    """The states of two layers together."""
    many, few = len(a[0]), len(b[0])
    states = np.concatenate([np.repeat(a[0], few, 0), np.tile(b[0], (many, 1))], 1)
    potential = np.add.outer(a[2], b[2]).reshape(-1)
    return states, np.outer(a[1], b[1]).reshape(-1), potential
