"""Error derivatives: the second phase's velocities are what backpropagation computes.

Nudges the paper's network at its free equilibrium and compares the velocity of every
unit, step by step, with the derivative of the cost in that unit's state as many steps
before the end: backpropagation through time, by `jax.vjp` of the same step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ....energies import FanInUniform, Hopfield, Model, nets, Sigmoid, SquaredError
from ....relaxation import Euler, Landscape, relax, Tolerance
from ._measured import line, Measured, panel


SIZES = (4, 6, 6, 6, 3)
STEP_SIZE = 0.02
STEPS = 500
BETAS = (1e-3, 1e-4)


class Found(NamedTuple):
    """Of the layers, the output first. Velocities and error derivatives are
    `[step, unit]`; velocities are per unit of time and of β, for each β."""

    time: np.ndarray
    velocities: tuple[tuple[np.ndarray, ...], ...]
    derivatives: tuple[np.ndarray, ...]
    chain: tuple[np.ndarray, ...]


def second_phase(landscape: Landscape, state, y, beta: float):
    """The velocities (s_{t+1} − s_t)/(βε) of the nudged dynamics."""
    solver = Euler(step_size=STEP_SIZE, max_steps=STEPS)
    seen = relax(
        landscape.nudge(y, beta), solver, state, observe=lambda _, state: state
    ).observations
    return [np.diff(s[:, 0], axis=0) / (beta * STEP_SIZE) for s in seen]


def backward_pass(landscape: Landscape, state, y):
    """The error derivatives ∂L/∂s_{T−t}: t steps back from ∂C/∂s at the end."""
    solver = Euler(step_size=STEP_SIZE)
    _, pull = jax.vjp(lambda state: solver.step(landscape, state, None)[0], state)

    def back(delta, _):
        return pull(delta)[0], delta

    delta = jax.grad(lambda state: jnp.sum(landscape.cost(state, y)))(state)
    deltas = jax.lax.scan(back, delta, length=STEPS)[1]
    return [np.asarray(d[:, 0]) for d in deltas]


def feedforward_errors(energy: Hopfield, state, y) -> list[np.ndarray]:
    """The output's error sent down by the textbook's chain rule: times ρ', times the
    weights, times ρ', layer by layer."""
    slopes = [
        np.asarray(jax.vmap(jax.vmap(jax.grad(energy.rate)))(u)[0]) for u in state
    ]
    weights = [np.asarray(jax.tree.leaves(e)[0]) for e in energy.edges[2::2]]
    errors = [np.asarray(state[-1] - y)[0]]
    for k in reversed(range(len(weights))):
        errors.append(slopes[k] * (weights[k] @ (slopes[k + 1] * errors[-1])))
    return errors


def measure() -> Found:
    energy = nets.hopfield(
        SIZES,
        key=jax.random.key(0),
        rho=Sigmoid(slope=4.0, center=0.5),
        init=FanInUniform(1.5),
    )
    x = jnp.asarray([[0.9, 0.1, 0.6, 0.4]])
    y = jnp.asarray([[1.0, -0.5, 0.5]])
    landscape = Landscape(Model(energy, SquaredError()), x)
    settling = Euler(
        step_size=0.2, max_steps=5000, stop=Tolerance(1e-15), certify=1e-12
    )
    state = relax(landscape, settling).state
    velocities = [second_phase(landscape, state, y, beta)[::-1] for beta in BETAS]
    return Found(
        STEP_SIZE * np.arange(STEPS),
        tuple(tuple(v) for v in velocities),
        tuple(backward_pass(landscape, state, y)[::-1]),
        tuple(feedforward_errors(energy, state, y)),
    )


def errors(found: Found) -> np.ndarray:
    """For every β and layer the relative distance of −ds/dt from the derivatives."""
    return np.asarray(
        [
            [
                np.linalg.norm(v + d) / np.linalg.norm(d)
                for v, d in zip(velocities, found.derivatives, strict=True)
            ]
            for velocities in found.velocities
        ]
    )


def measured() -> Measured:
    """How far velocities are from derivatives, and the norm of both in each layer."""
    found = measure()
    rows = errors(found)
    names = ("output", "hidden 3", "hidden 2", "hidden 1")
    lines = []
    for k, name in enumerate(names):
        # A layer k below the output stands still for k steps.
        speed = np.linalg.norm(found.velocities[-1][k], axis=1)[k + 1 :]
        lines.append(line(f"−ds/dt, {name}", found.time[k + 1 :], speed))
    for k, name in enumerate(names):
        size = np.linalg.norm(found.derivatives[k], axis=1)
        late = np.unique(np.geomspace(k + 1, STEPS - 1, 14).astype(int))
        lines.append(line(f"∂L/∂s, {name}", found.time[late], size[late], points=True))
    return Measured(
        {
            "largest_error": float(rows[-1].max()),
            # O(β): as many times nearer as β is smaller.
            "order": float(
                np.log(rows[0].max() / rows[-1].max()) / np.log(BETAS[0] / BETAS[-1])
            ),
        },
        [
            panel(
                "time (time constants)",
                "norm over a layer's units",
                lines,
                log=("x", "y"),
            )
        ],
    )
