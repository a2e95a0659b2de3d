"""The plasticity switch: both phases are one dynamics, learning is on in the second.

    python examples/claims/plasticity_switch.py docs/claims/plasticity_switch.png

Runs both phases as one relaxation in which β is turned on, holds the force on every
unit in the one against that in the other, and sums the symmetric plasticity rule over
the second phase alone or over both. Needs matplotlib.
"""

import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


BETAS = (0.1, 0.01)
SOLVER = ep.Euler(step_size=0.1)
STEPS = 300
# How far the first phase starts from its end, as a share of the way to the state that
# another input had left behind.
STARTS = (0.0, *(float(a) for a in np.geomspace(1e-4, 1, 9)))
SETTLING = ep.Euler(0.4, max_steps=3000, stop=ep.Tolerance(1e-15), certify=1e-12)


class Found(NamedTuple):
    """`states` is the run from the other input's state with the first β, one array a
    layer, `[step, unit]`; `settled` the ends of its phases by two relaxations. `sums`
    of weight changes are `[β, start, parameter]`; `exact` is minus the cost's gradient,
    by finite differences. `hebbian` are differences of products of activities, by
    hand: of the ends of the phases, and of the first phase's end and start. `forces`
    are those at random states, nudged and free, by layers; `pull` is the cost's."""

    states: list[np.ndarray]
    settled: list[list[np.ndarray]]
    sums: dict[str, np.ndarray]
    exact: np.ndarray
    hebbian: tuple[np.ndarray, np.ndarray]
    forces: list[tuple[np.ndarray, np.ndarray]]
    pull: np.ndarray

    def cosines(self, when: str) -> np.ndarray:
        """To minus the gradient, for every β and start."""
        found = self.sums[when]
        sizes = np.linalg.norm(found, axis=-1) * np.linalg.norm(self.exact)
        return found @ self.exact / sizes


def row(gradient, shape=()) -> np.ndarray:
    """All entries, as what descent adds to the parameters."""
    leaves = [np.reshape(a, (*shape, -1)) for a in jax.tree.leaves(gradient)]
    return -np.concatenate(leaves, axis=-1)


@eqx.filter_jit
def both_phases(landscape: ep.Landscape, y, start, betas):
    """One run: every step is the same but for the number β. Returns the states after
    each, and what the symmetric rule would change in it."""

    def step(state, beta):
        nudged = landscape.nudge(y, beta)
        new = SOLVER.step(nudged, state, None)[0]
        return new, (new, ep.SymmetricSTDP().change(nudged, state, new))

    return jax.lax.scan(step, start, betas)[1]


def between(a, b, share: float):
    return jax.tree.map(lambda p, q: p + share * (q - p), a, b)


@eqx.filter_jit
def forces(landscape: ep.Landscape, y, state):
    """On every layer, nudged and free."""
    nudged = landscape.nudge(y, BETAS[0]).force(state)
    return list(zip(nudged, landscape.force(state), strict=True))


def hebbian(x, before, after) -> np.ndarray:
    """The product of both activities at each synapse after, minus that before."""

    def products(state):
        found = []
        rates = [1 / (1 + np.exp(-4 * (np.asarray(u)[0] - 0.5))) for u in (x, *state)]
        for below, above in zip(rates[:-1], rates[1:], strict=True):
            found += [np.outer(below, above).ravel(), above]
        return np.concatenate(found)

    return (products(after) - products(before)) / BETAS[0]


def measure() -> Found:
    energy = ep.nets.hopfield(
        (4, 6, 3),
        key=jax.random.key(0),
        rho=ep.Sigmoid(slope=4.0, center=0.5),
        init=ep.FanInUniform(1.2),
    )
    model = ep.Model(energy, ep.SquaredError())
    x, y = jnp.asarray([[0.9, 0.1, 0.6, 0.4]]), jnp.asarray([[1.0, -0.5, 0.5]])
    landscape = ep.Landscape(model, x)
    other = ep.relax(ep.Landscape(model, 1 - x), SETTLING).state
    free = ep.relax(landscape, SETTLING).state
    nudged = ep.relax(landscape.nudge(y, BETAS[0]), SETTLING, free).state
    runs = [every_start(landscape, y, free, other, beta) for beta in BETAS]
    rng = np.random.default_rng(0)
    anywhere = jax.tree.map(lambda s: rng.normal(size=s.shape), free)
    exact, _ = ep.diagnostics.finite_difference(model, x, y, SETTLING, entries=1000)
    return Found(
        runs[0][0],
        [[np.asarray(s)[0] for s in state] for state in (free, nudged)],
        {when: np.stack([sums[when] for _, sums in runs]) for when in runs[0][1]},
        row(exact),
        (hebbian(x, free, nudged), hebbian(x, other, free)),
        [
            (np.asarray(a)[0], np.asarray(b)[0])
            for a, b in forces(landscape, y, anywhere)
        ],
        BETAS[0] * (np.asarray(y) - anywhere[-1])[0],
    )


def every_start(landscape: ep.Landscape, y, free, other, beta: float):
    """The last run's states, and of all of them the changes summed over the second
    phase and over both."""
    betas = np.repeat([0.0, beta], STEPS)
    free, other = ([np.asarray(s) for s in state] for state in (free, other))
    sums = {"second phase": [], "both phases": []}
    for share in STARTS:
        start = [p + share * (q - p) for p, q in zip(free, other, strict=True)]
        states, change = both_phases(landscape, y, tuple(start), betas)
        changes = row(change, (2 * STEPS,)) / beta
        sums["second phase"].append(changes[STEPS:].sum(axis=0))
        sums["both phases"].append(changes.sum(axis=0))
    return [np.asarray(s)[:, 0] for s in states], sums


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(
        1, 3, figsize=(11.5, 3.5), width_ratios=(1.2, 1, 1), layout="constrained"
    )
    draw_run(found, axes[0])
    exact = found.exact / np.linalg.norm(found.exact)
    axes[1].plot([-0.55, 0.4], [-0.55, 0.4], color="0.7", lw=1)
    for (when, sums), style in zip(found.sums.items(), ("C0o", "C3x"), strict=True):
        along = sums[0, -1] / np.linalg.norm(sums[0, -1])
        axes[1].plot(exact, along, style, mfc="none", label=f"on in {when}")
        for beta, cosines, line in zip(BETAS, found.cosines(when), "-:", strict=True):
            name = f"{when}, β = {beta:g}"
            axes[2].semilogx(STARTS[1:], cosines[1:], style + line, ms=5, mfc="none")
            axes[2].lines[-1].set_label(name)
    axes[1].set(xlabel="minus gradient of the cost", ylabel="sum of the rule")
    axes[1].set_title("each parameter, scaled to norm 1")
    axes[1].legend(frameon=False, fontsize=8, loc="upper left")
    axes[2].set(xlabel="start's distance from equilibrium", ylim=(0, 1.05))
    axes[2].set_title("cosine to minus the gradient")
    axes[2].legend(frameon=False, fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_run(found: Found, axis) -> None:
    """Every unit's state through both phases."""
    time = 0.1 * np.arange(1, 2 * STEPS + 1)
    shown = time < 1.7 * time[STEPS]
    for k, (layer, style) in enumerate(zip(found.states, ("-", "--"), strict=True)):
        lines = axis.plot(time[shown], layer[shown], style, color=f"C{k}", lw=1.2)
        lines[0].set_label(("hidden units", "output units")[k])
    axis.axvspan(time[STEPS], time[shown][-1], color="tab:orange", alpha=0.12, lw=0)
    axis.set(xlabel="time (time constants)", title="one run, a new input at time 0")
    axis.set(xlim=(0, time[shown][-1]), ylim=(-0.2, 1.05))
    axis.text(0.5 * time[STEPS], 1.0, "first phase\nβ = 0", ha="center", va="top")
    place = 1.35 * time[STEPS], 1.0
    axis.text(*place, f"second phase\nβ = {BETAS[0]}", ha="center", va="top")
    axis.legend(frameon=False, loc=(0.2, 0.45), fontsize=8)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for when in found.sums:
        for beta, cosines in zip(BETAS, found.cosines(when), strict=True):
            print(f"plasticity on in {when}, β = {beta:g}: cosine", end="")
            print(f" {cosines[0]:.4f} from equilibrium, {cosines[-1]:.4f} from afar")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "plasticity_switch.png")
