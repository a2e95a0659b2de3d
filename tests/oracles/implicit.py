"""The gradient of the cost at equilibrium by the implicit function theorem, for a chain
of layers, in NumPy: every example's Hessian is written out and solved.

    E = ½ Σ_k ‖s_k‖² − Σ_k b_k·s_k − Σ_k s_{k−1} W_k s_kᵀ,    C = ½‖s_K − y‖²
    dL/dθ = −(∂²E/∂θ∂s) J⁻¹ ∂C/∂s,      J = ∂²E/∂s²

Units of the hidden layers live on [0, 1], those of the last on the line. A unit at a
wall doesn't move: its row and column are left out.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]


def settle(
    x: Floats,
    weights: list[Floats],
    biases: list[Floats],
    held: Floats | None = None,
    sweeps: int = 2000,
) -> list[Floats]:
    """One example's equilibrium: each layer in turn to its minimum, from the input up.
    With `held`, the last layer is fixed at it."""
    states = [x, *(np.zeros(len(b)) for b in biases)]
    last = len(biases)
    for _ in range(sweeps):
        for k in range(1, last):
            drive = biases[k - 1] + states[k - 1] @ weights[k - 1]
            states[k] = np.clip(drive + weights[k] @ states[k + 1], 0, 1)
        above = biases[-1] + states[last - 1] @ weights[-1]
        states[last] = above if held is None else held
    return states


def hessian(weights: list[Floats]) -> Floats:
    """J of all units above the input: ones, and minus the weights between layers."""
    sizes = [w.shape[1] for w in weights]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    matrix = np.eye(starts[-1])
    for k in range(1, len(weights)):
        below = slice(starts[k - 1], starts[k])
        above = slice(starts[k], starts[k + 1])
        matrix[below, above] = -weights[k]
        matrix[above, below] = -weights[k].T
    return matrix


def energy_slopes(states: list[Floats]) -> tuple[list[Floats], list[Floats]]:
    """∂E/∂W_k and ∂E/∂b_k of one example."""
    return [-np.outer(a, b) for a, b in pairwise(states)], [-s for s in states[1:]]


def gradient(
    x: Floats, y: Floats, weights: list[Floats], biases: list[Floats]
) -> tuple[list[Floats], list[Floats]]:
    """dL/dW_k and dL/db_k of the mean cost over a batch, one row an example."""
    weight_grads = [np.zeros_like(w) for w in weights]
    bias_grads = [np.zeros_like(b) for b in biases]
    bounds = np.cumsum([len(b) for b in biases])[:-1]
    for one, target in zip(x, y, strict=True):
        states = settle(one, weights, biases)
        flat = np.concatenate(states[1:])
        inside = (flat > 0) & (flat < 1)
        inside[bounds[-1] if len(bounds) else 0 :] = True
        slope = np.zeros(len(flat))
        slope[-len(target) :] = states[-1] - target
        adjoint = np.zeros(len(flat))
        solved = np.linalg.solve(
            hessian(weights)[np.ix_(inside, inside)], slope[inside]
        )
        adjoint[inside] = solved
        adjoints = [np.zeros(len(one)), *np.split(adjoint, bounds)]
        for k in range(len(weights)):
            # ∂E/∂W_k = −s_{k−1} ⊗ s_k, differentiated along the adjoint.
            change = np.outer(adjoints[k], states[k + 1])
            change = change + np.outer(states[k], adjoints[k + 1])
            weight_grads[k] += change / len(x)
            bias_grads[k] += adjoints[k + 1] / len(x)
    return weight_grads, bias_grads
