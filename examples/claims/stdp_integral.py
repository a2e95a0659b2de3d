"""The STDP integral: followed through the second phase, the symmetric rule adds up to
the update.

    python examples/claims/stdp_integral.py docs/claims/stdp_integral.png

Sums the plasticity rules of eqs. 11 to 13 over every step of the second phase, with
the nudge constant or too strong at first, in steps of several sizes, and holds each
sum against the contrast of the two ends (eq. 14). Needs matplotlib.
"""

import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


BETA = 0.5
STEP_SIZES = (0.2, 0.1, 0.05, 0.025)
SHOWN = 1
STEPS = 2000
RULES = {
    "eq. 11, one way": ep.MembraneSTDP(),
    "eq. 12, one way": ep.RateSTDP(),
    "eq. 12, both ways": ep.RateSTDP(both_ways=True),
    "eq. 13, symmetric": ep.SymmetricSTDP(),
}
# The nudge of each path, as a factor of β at a time.
PATHS = {
    "constant": lambda time: np.ones_like(time),
    "too strong at first": lambda time: 1 + 4 * np.exp(-time),
}
SETTLING = ep.Euler(0.4, max_steps=5000, stop=ep.Tolerance(1e-15), certify=1e-12)


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
def second_phase(landscape: ep.Landscape, solver: ep.Euler, state, y, betas):
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
def gradient(method: ep.AbstractEstimator, model: ep.Model, x, y, state) -> ep.Model:
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
    energy = ep.nets.hopfield(
        (4, 6, 6, 3),
        key=jax.random.key(0),
        rho=ep.Sigmoid(slope=4.0, center=0.5),
        init=ep.FanInUniform(1.0),
    )
    x, y = jnp.asarray([[0.9, 0.1, 0.6, 0.4]]), jnp.asarray([[1.0, -0.5, 0.5]])
    model = ep.Model(energy, ep.SquaredError())
    landscape = ep.Landscape(model, x)
    state = ep.relax(landscape, SETTLING).state
    course, ends, cross = {}, {name: [] for name in RULES}, []
    for path, factor in PATHS.items():
        for step_size in STEP_SIZES:
            betas = BETA * factor(step_size * np.arange(STEPS))
            old, new, changes = second_phase(
                landscape, ep.Euler(step_size), state, y, jnp.asarray(betas)
            )
            cross.append(products(old, new) / BETA)
            for name, change in changes.items():
                sums = np.cumsum(synapses(change, (STEPS,)), axis=0) / BETA
                ends[name].append(sums[-1])
                if step_size == STEP_SIZES[SHOWN]:
                    course[path, name] = sums
    shape = (len(PATHS), len(STEP_SIZES), -1)
    two_phases = ep.EquilibriumProp(ep.OneSided(BETA), SETTLING)
    online = ep.ContinualEP(
        BETA, SETTLING, ep.Euler(STEP_SIZES[SHOWN], max_steps=STEPS)
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


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    shown = 150
    time = STEP_SIZES[SHOWN] * np.arange(1, shown + 1)
    symmetric, one_way = "eq. 13, symmetric", "eq. 12, one way"
    gaps = np.abs(found.ends[one_way][0, -1] - found.contrast)
    some = np.argsort(-gaps)[:4]
    for k, (name, style) in enumerate(zip(PATHS, ("-", "--"), strict=True)):
        for axis, rule in zip(axes, (symmetric, one_way), strict=False):
            axis.plot([], [], "k" + style, label=f"nudge {name}")
            for j, synapse in enumerate(some):
                sums = found.course[name, rule][:shown, synapse]
                axis.plot(time, sums, style, color=f"C{j}", lw=1.5 - 0.3 * k)
    for axis, rule in zip(axes, (symmetric, one_way), strict=False):
        for j, synapse in enumerate(some):
            end = [time[-1]], [found.contrast[synapse]]
            axis.plot(*end, "o", color=f"C{j}", mfc="none", ms=8, clip_on=False)
        axis.plot([], [], "ko", mfc="none", ms=8, label="contrast of both ends")
        axis.set(xlabel="time (time constants)", xlim=(0, time[-1]))
        axis.set_title(f"sum over time, {rule}")
    axes[1].sharey(axes[0])
    axes[0].legend(frameon=False, fontsize=8)
    for (rule, gaps), style in zip(
        ((rule, found.gaps(rule)[0]) for rule in RULES),
        ("C3^-", "C1s-", "C0o-", "kD-"),
        strict=True,
    ):
        axes[2].loglog(STEP_SIZES, gaps, style, ms=5, label=rule)
    axes[2].set_xticks(STEP_SIZES, labels=[f"{e:g}" for e in STEP_SIZES])
    axes[2].minorticks_off()
    axes[2].set(xlabel="step size ε", title="gap to the contrast, constant nudge")
    axes[2].legend(frameon=False, fontsize=8, loc="center left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for rule in RULES:
        for way, gaps in zip(PATHS, found.gaps(rule), strict=True):
            slope = np.polyfit(np.log(STEP_SIZES), np.log(gaps), 1)[0]
            print(f"{rule}, {way}: gaps", *(f"{g:.1e}" for g in gaps), end="")
            print(f", slope {slope:.3f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "stdp_integral.png")
