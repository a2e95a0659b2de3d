"""The STDP integral: followed through the second phase, the symmetric rule adds up to
the update.

Sums the plasticity rules of eqs. 11 to 13 over every step of the second phase, with
the nudge constant or too strong at first, in steps of several sizes, and holds each
sum against the contrast of the two ends (eq. 14).
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ....energies import FanInUniform, Model, nets, Sigmoid, SquaredError
from ....learning import (
    AbstractEstimator,
    ContinualEP,
    EquilibriumProp,
    MembraneSTDP,
    OneSided,
    RateSTDP,
    SymmetricSTDP,
)
from ....relaxation import Euler, Landscape, relax, Tolerance
from ._measured import line, Measured, panel


BETA = 0.5
STEP_SIZES = (0.2, 0.1, 0.05, 0.025)
SHOWN = 1
STEPS = 2000
RULES = {
    "eq. 11, one way": MembraneSTDP(),
    "eq. 12, one way": RateSTDP(),
    "eq. 12, both ways": RateSTDP(both_ways=True),
    "eq. 13, symmetric": SymmetricSTDP(),
}
# The nudge of each path, as a factor of β at a time.
PATHS = {
    "constant": lambda time: np.ones_like(time),
    "too strong at first": lambda time: 1 + 4 * np.exp(-time),
}
SETTLING = Euler(step_size=0.4, max_steps=5000, stop=Tolerance(1e-15), certify=1e-12)


class Found(NamedTuple):
    """Of the synapses between units that move, as changes of weights. `course` holds
    the running sum of every path and rule for the size that is shown, `[step,
    synapse]`, and `ends` all ends, `[path, step size, synapse]`; `products` are the
    sums of Δρ_i·Δρ_j. `contrast` is the one-sided one of `EquilibriumProp`, `online`
    the sum of `ContinualEP`."""

    course: dict[tuple[str, str], np.ndarray]
    ends: dict[str, np.ndarray]
    products: np.ndarray
    contrast: np.ndarray
    online: np.ndarray

    def gaps(self, rule: str) -> np.ndarray:
        """Distances of the ends from the contrast, relative to it."""
        gap = np.linalg.norm(self.ends[rule] - self.contrast, axis=-1)
        return gap / np.linalg.norm(self.contrast)


def synapses(gradient, shape=()) -> np.ndarray:
    """The weights whose both sides move, as what descent adds to them."""
    weights = [gradient.energy.edges[k].interaction.weight for k in (2, 4)]
    return -np.concatenate([np.reshape(w, (*shape, -1)) for w in weights], axis=-1)


@eqx.filter_jit
def second_phase(landscape: Landscape, solver: Euler, state, y, betas):
    """Every state that the network passes through, β given for each step, and what
    each rule changes in each step."""

    def step(state, beta):
        new = solver.step(landscape.nudge(y, beta), state, None)[0]
        return new, (state, new)

    _, (old, new) = jax.lax.scan(step, state, betas)
    changes = {
        name: jax.vmap(lambda a, b, r=rule: r.change(landscape, a, b))(old, new)
        for name, rule in RULES.items()
    }
    return old, new, changes


@eqx.filter_jit
def gradient(method: AbstractEstimator, model: Model, x, y, state) -> Model:
    return method.value_and_grad(model, x, y, state0=state)[1]


def rate(u) -> np.ndarray:
    """ρ(u), by hand."""
    return 1 / (1 + np.exp(-4 * (np.asarray(u)[:, 0] - 0.5)))


def products(old, new) -> np.ndarray:
    """Σ Δρ_i·Δρ_j over the steps of a phase."""
    moves = [rate(b) - rate(a) for a, b in zip(old, new, strict=True)]
    pairs = zip(moves[:-1], moves[1:], strict=True)
    return np.concatenate([np.einsum("ti,tj->ij", a, b).ravel() for a, b in pairs])


def measure() -> Found:
    energy = nets.hopfield(
        (4, 6, 6, 3),
        key=jax.random.key(0),
        rho=Sigmoid(slope=4.0, center=0.5),
        init=FanInUniform(1.0),
    )
    x, y = jnp.asarray([[0.9, 0.1, 0.6, 0.4]]), jnp.asarray([[1.0, -0.5, 0.5]])
    model = Model(energy, SquaredError())
    landscape = Landscape(model, x)
    state = relax(landscape, SETTLING).state
    course, ends, cross = {}, {name: [] for name in RULES}, []
    for path, factor in PATHS.items():
        for step_size in STEP_SIZES:
            betas = BETA * factor(step_size * np.arange(STEPS))
            old, new, changes = second_phase(
                landscape, Euler(step_size=step_size), state, y, jnp.asarray(betas)
            )
            cross.append(products(old, new) / BETA)
            for name, change in changes.items():
                sums = np.cumsum(synapses(change, (STEPS,)), axis=0) / BETA
                ends[name].append(sums[-1])
                if step_size == STEP_SIZES[SHOWN]:
                    course[path, name] = sums
    shape = (len(PATHS), len(STEP_SIZES), -1)
    two_phases = EquilibriumProp(OneSided(BETA), SETTLING)
    online = ContinualEP(
        BETA, SETTLING, Euler(step_size=STEP_SIZES[SHOWN], max_steps=STEPS)
    )
    return Found(
        course,
        {name: np.reshape(rows, shape) for name, rows in ends.items()},
        np.reshape(cross, shape),
        *(
            synapses(gradient(method, model, x, y, state))
            for method in (two_phases, online)
        ),
    )


def measured() -> Measured:
    """How far the sum of each rule is from the contrast, and its order in ε."""
    found = measure()
    gaps = {rule: found.gaps(rule) for rule in RULES}
    # With the nudge constant: too strong at first, the next order in ε shows.
    both = gaps["eq. 12, both ways"][0]
    order = np.polyfit(np.log(STEP_SIZES), np.log(both), 1)[0]
    lines = [line(rule, STEP_SIZES, rows[0]) for rule, rows in gaps.items()]
    return Measured(
        {
            "symmetric_gap": float(gaps["eq. 13, symmetric"].max()),
            "one_way_gap": float(gaps["eq. 12, one way"].min()),
            "both_ways_order": float(order),
        },
        [panel("step size ε", "gap to the contrast, relative", lines, log=("x", "y"))],
    )
