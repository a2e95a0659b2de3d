"""Contrastive Hebbian learning's objective goes wrong; Equilibrium Propagation's is the
cost.

A hidden and an output unit that excite each other have two modes. From rest they
settle in the upper one of the energy; clamping the output at its target takes them to
the other, deeper one. The contrastive objective is then negative, and descending it
strengthens the coupling that keeps the prediction wrong.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .... import diagnostics
from ....energies import FunctionEnergy, Linear, Model, SquaredError, Tanh
from ....learning import AbstractNudging, Centered, Clamped, EquilibriumProp, OneSided
from ....relaxation import FixedPoint, Landscape, relax, Tolerance
from ._measured import line, Measured, panel


FIELD = (-0.5, 0.45)
TARGET = 1.5
START = {"coupling": 1.4, "loop": 0.2}
RATE = 0.02
STEPS = 50
SOLVER = FixedPoint(damping=0.2, max_steps=4000, stop=Tolerance(1e-14), certify=1e-9)
RULES = {
    "contrastive Hebbian": Clamped(),
    "EP, one-sided": OneSided(1e-4),
    "EP, centered": Centered(1e-3),
}


class Found(NamedTuple):
    """At the start: the way from rest to the free state, the clamped state, the
    contrastive objective, and every gradient. Along training by two of the rules: the
    contrastive objective and the cost before every step."""

    path: np.ndarray
    clamped: np.ndarray
    objective: float
    gradients: dict[str, np.ndarray]
    exact: np.ndarray
    training: dict[str, np.ndarray]


def interaction(params, state, x):
    """Two units that excite each other, one of them also itself, in the field x."""
    h, o = state
    coupled = params["coupling"] * h * o + 0.5 * params["loop"] * h * h
    return -jnp.sum(coupled + x[0] * h + x[1] * o)


def network() -> Model:
    energy = FunctionEnergy(
        interaction,
        jax.tree.map(lambda value: jnp.asarray(value, float), START),
        init=lambda x: (jnp.zeros(1, x.dtype), jnp.zeros(1, x.dtype)),
        output=lambda state: state[1],
        units=(Tanh(), Linear()),
    )
    return Model(energy, SquaredError())


@eqx.filter_jit
def look(model: Model, x, y):
    """Both phases of contrastive Hebbian learning, its objective, and the cost."""
    landscape = Landscape(model, x)
    free = relax(landscape, SOLVER, throw=False).state
    held = landscape.clamp(lambda state: state[1], y)
    clamped = relax(held, SOLVER, free, throw=False).state
    objective = landscape.energy(clamped) - landscape.energy(free)
    return free, clamped, objective[0], landscape.cost(free, y)[0]


@eqx.filter_jit
def gradient(model: Model, nudging: AbstractNudging, x, y) -> Model:
    return EquilibriumProp(nudging, SOLVER).value_and_grad(model, x, y)[1]


def row(tree) -> np.ndarray:
    return np.asarray(jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))


def train(model: Model, nudging: AbstractNudging, x, y) -> np.ndarray:
    """Plain gradient descent: objective and cost before every step."""
    seen = []
    for _ in range(STEPS + 1):
        _, _, objective, cost = look(model, x, y)
        seen.append([objective, cost])
        step = jax.tree.map(lambda g: -RATE * g, gradient(model, nudging, x, y))
        model = eqx.apply_updates(model, step)
    return np.asarray(seen)


def way(model: Model, x) -> np.ndarray:
    """The states that the network passes through from rest."""
    solver = FixedPoint(damping=0.2, max_steps=100)
    seen = relax(
        Landscape(model, x), solver, observe=lambda _, state: state
    ).observations
    return np.stack([np.ravel(s) for s in seen])


def measure() -> Found:
    model = network()
    x, y = jnp.asarray([FIELD], float), jnp.asarray([[TARGET]], float)
    _, clamped, objective, _ = look(model, x, y)
    exact, _ = diagnostics.finite_difference(model, x, y, SOLVER)
    return Found(
        way(model, x),
        np.ravel(clamped),
        float(objective),
        {name: row(gradient(model, rule, x, y)) for name, rule in RULES.items()},
        row(exact),
        {
            name: train(model, RULES[name], x, y)
            for name in ("contrastive Hebbian", "EP, centered")
        },
    )


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def measured() -> Measured:
    """The contrastive objective, the angles of the gradients, and both trainings."""
    found = measure()
    alike = {name: cosine(g, found.exact) for name, g in found.gradients.items()}
    steps = np.arange(STEPS + 1)
    panels = [
        panel(
            "training step",
            label,
            [line(name, steps, seen[:, k]) for name, seen in found.training.items()],
        )
        for k, label in enumerate(
            ("objective E(clamped) − E(free)", "cost of the prediction")
        )
    ]
    costs = {name: seen[-1, 1] / seen[0, 1] for name, seen in found.training.items()}
    return Measured(
        {
            "objective": found.objective,
            "cosine_contrastive": alike["contrastive Hebbian"],
            "cosine_centered": alike["EP, centered"],
            "cost_contrastive": float(costs["contrastive Hebbian"]),
            "cost_centered": float(costs["EP, centered"]),
        },
        panels,
    )
