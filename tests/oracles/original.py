"""The equations of the code published with Scellier & Bengio (2017), in NumPy.

With s_0 = x, ρ(s) = clip(s, 0, 1), and one row an example:

    E = ½ Σ_k ‖ρ(s_k)‖² − Σ_k b_k·ρ(s_k) − Σ_k ρ(s_{k−1}) W_k ρ(s_k)ᵀ
    C = ‖s_K − y‖²                      (no ½)
    s_k ← clip(s_k − ε ∂(E + βC)/∂s_k, 0, 1)      all layers k ≥ 1 at once
    θ ← θ − α mean[∂E/∂θ(nudged) − ∂E/∂θ(free)]/β

The free phase starts at the batch's particles and is written back to them; the nudged
phase starts where the free one ended and is not. W_k and b_k share the rate α_k. The
input's bias is left out: it never changes and moves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]


def rho(s: Floats) -> Floats:
    return np.clip(s, 0, 1)


def rho_slope(s: Floats) -> Floats:
    # 1 at the corners, where the particles start.
    return ((s >= 0) & (s <= 1)).astype(s.dtype)


@dataclass
class OriginalNet:
    """`weights[k]` couples layer k to layer k + 1, whose bias is `biases[k]`."""

    weights: list[Floats]
    biases: list[Floats]

    def energy(self, layers: Sequence[Floats]) -> Floats:
        rates = [rho(s) for s in layers]
        total = sum(0.5 * np.sum(r * r, axis=1) for r in rates)
        parts = zip(pairwise(rates), self.weights, self.biases, strict=True)
        for (below, above), w, b in parts:
            total = total - above @ b - np.sum((below @ w) * above, axis=1)
        return np.asarray(total)

    def cost(self, layers: Sequence[Floats], y: Floats) -> Floats:
        return np.sum((layers[-1] - y) ** 2, axis=1)

    def slopes(self, layers: Sequence[Floats], y: Floats, beta: float) -> list[Floats]:
        """∂(E + βC)/∂s of every layer above the input."""
        rates = [rho(s) for s in layers]
        out = []
        for k in range(1, len(layers)):
            field = rates[k] - self.biases[k - 1] - rates[k - 1] @ self.weights[k - 1]
            if k + 1 < len(layers):
                field = field - rates[k + 1] @ self.weights[k].T
            out.append(rho_slope(layers[k]) * field)
        out[-1] = out[-1] + 2 * beta * (layers[-1] - y)
        return out

    def settle(
        self, layers: list[Floats], y: Floats, beta: float, steps: int, epsilon: float
    ) -> list[Floats]:
        for _ in range(steps):
            slopes = self.slopes(layers, y, beta)
            pairs = zip(layers[1:], slopes, strict=True)
            layers = [layers[0], *(np.clip(s - epsilon * g, 0, 1) for s, g in pairs)]
        return layers

    def learn(
        self,
        free: list[Floats],
        nudged: list[Floats],
        beta: float,
        rates: Sequence[float],
    ) -> None:
        before, after = [rho(s) for s in free], [rho(s) for s in nudged]
        count = len(free[0])
        for k, alpha in enumerate(rates):
            product = after[k].T @ after[k + 1] - before[k].T @ before[k + 1]
            change = np.sum(after[k + 1] - before[k + 1], axis=0)
            self.weights[k] = self.weights[k] + alpha * product / (beta * count)
            self.biases[k] = self.biases[k] + alpha * change / (beta * count)


def train(
    net: OriginalNet,
    x: Floats,
    y: Floats,
    batches: Sequence[NDArray[np.integer]],
    signs: Sequence[int],
    *,
    beta: float,
    rates: Sequence[float],
    free_steps: int,
    nudged_steps: int,
    epsilon: float = 0.5,
) -> list[Floats]:
    """Trains `net` in place, and returns the particles of all examples.

    `batches` holds the indices of each batch's examples, `signs` the sign of its β.
    """
    particles = [np.zeros((len(x), len(b)), x.dtype) for b in net.biases]
    for batch, sign in zip(batches, signs, strict=True):
        start = [x[batch], *(p[batch] for p in particles)]
        free = net.settle(start, y[batch], 0.0, free_steps, epsilon)
        for p, s in zip(particles, free[1:], strict=True):
            p[batch] = s
        nudged = net.settle(free, y[batch], sign * beta, nudged_steps, epsilon)
        net.learn(free, nudged, sign * beta, rates)
    return particles
