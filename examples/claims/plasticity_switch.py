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


BETAS = (0.5, 0.05)
SOLVER = ep.Euler(step_size=0.1)
STEPS = 450
# How far the first phase starts from its end, as a share of the way to the state that
# another input had left behind.
STARTS = (0.0, *(float(a) for a in np.geomspace(1e-4, 1, 9)))
SETTLING = ep.Euler(0.4, max_steps=3000, stop=ep.Tolerance(1e-15), certify=1e-12)


class Found(NamedTuple):
    """`states` is the run from the other input's state, β the first of them: one array
    a layer, `[step, unit]`. `course` holds its running sums of weight changes, over the
    second phase and over both, `[step, parameter]`, and `sums` the ends of such runs
    for every β and start. `exact` is minus the cost's gradient, by finite differences;
    `hebbian` the two snapshots' products of activities, by hand. `forces` are nudged
    and free ones at random states, one array a layer, with `pull` that of the cost."""

    states: list[np.ndarray]
    relaxed: list[np.ndarray]
    course: dict[str, np.ndarray]
    sums: dict[str, np.ndarray]
    exact: np.ndarray
    hebbian: np.ndarray
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


def hebbian(energy: ep.Hopfield, free, nudged, x) -> np.ndarray:
    """Anti-Hebbian at the end of the first phase, Hebbian at the end of the second."""

    def products(state):
        rates = [1 / (1 + np.exp(-4 * (np.asarray(u)[0] - 0.5))) for u in (x, *state)]
        for below, above in zip(rates[:-1], rates[1:], strict=True):
            yield from (np.outer(below, above).ravel(), above)

    return np.concatenate([*products(nudged)]) - np.concatenate([*products(free)])


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
    sums = {"second phase": [], "both phases": []}
    for beta in BETAS:
        betas = jnp.asarray(np.repeat([0.0, beta], STEPS))
        for share in STARTS:
            start = between(free, other, share)
            states, change = both_phases(landscape, y, start, betas)
            changes = row(change, (2 * STEPS,)) / beta
            course = {"both phases": np.cumsum(changes, axis=0)}
            changes[:STEPS] = 0
            course["second phase"] = np.cumsum(changes, axis=0)
            for when, rows in sums.items():
                rows.append(course[when][-1])
            if beta == BETAS[0] and share == STARTS[-1]:
                shown = [np.asarray(s)[:, 0] for s in states], course
    rng = np.random.default_rng(0)
    anywhere = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape)), free)
    scapes = (landscape.nudge(y, BETAS[0]), landscape)
    forces = [[np.asarray(f)[0] for f in s.force(anywhere)] for s in scapes]
    exact, _ = ep.diagnostics.finite_difference(model, x, y, SETTLING, entries=1000)
    return Found(
        shown[0],
        [np.asarray(s)[0] for s in (*free, *nudged)],
        shown[1],
        {w: np.reshape(r, (len(BETAS), len(STARTS), -1)) for w, r in sums.items()},
        row(exact),
        hebbian(energy, free, nudged, x) / BETAS[0],
        list(zip(*forces, strict=True)),
        BETAS[0] * np.asarray(y - anywhere[-1])[0],
    )


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    ends = slice(STEPS - 150, STEPS + 150)
    axes[0].plot(found.states[0])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    np.set_printoptions(precision=6, suppress=True, linewidth=120)
    for when in found.sums:
        print(when, found.cosines(when))
    print(found.exact[:8]); print(found.sums["both phases"][0,-1,:8])
    print(np.abs(found.hebbian-found.sums["second phase"][0,-1]).max())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "plasticity_switch.png")
