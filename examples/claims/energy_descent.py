"""Energy descent: the dynamics lowers the energy, at the rate of its squared speed.

    python examples/claims/energy_descent.py docs/claims/energy_descent.png

Settles the paper's network from random states, in both phases, in small steps, and
holds the energy's rate of change against minus the squared speed (eq. 5). Then settles
a net of hard-sigmoid units by every solver and looks for a step that goes up. Needs
matplotlib.
"""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


PHASES = {"free phase": 0.0, "nudged phase": 0.5}
STEP_SIZES = (0.1, 0.05, 0.025, 0.0125)
STARTS = 8
SOLVERS = {
    "Euler": ep.Euler(step_size=0.5, max_steps=40),
    "FixedPoint": ep.FixedPoint(damping=0.5, max_steps=40),
    "AdaptiveEuler": ep.AdaptiveEuler(max_steps=40, stop=None),
    "BlockCoordinate": ep.BlockCoordinate(max_steps=40),
}


class Course(NamedTuple):
    """A phase in Euler steps: at every step the energy F and the squared speed, of
    every start."""

    step_size: float
    energy: np.ndarray
    power: np.ndarray

    @property
    def gap(self) -> float:
        """How far ΔF/ε is from −‖ds/dt‖², relative to it: means over steps and
        starts."""
        rate = np.diff(self.energy, axis=0) / self.step_size
        return float(np.abs(rate + self.power[:-1]).mean() / self.power[:-1].mean())


class Found(NamedTuple):
    """For each phase its courses, one for each step size; and the energies after every
    step of each solver."""

    courses: dict[str, list[Course]]
    energies: dict[str, dict[str, np.ndarray]]


def problem(energy: ep.AbstractEnergy) -> tuple[ep.Landscape, jax.Array]:
    """One input and target, once for every random start."""
    x = np.random.default_rng(0).uniform(size=6)
    x, y = (jnp.asarray(np.tile(a, (STARTS, 1))) for a in (x, np.eye(3)[0]))
    return ep.Landscape(ep.Model(energy, ep.SquaredError()), x), y


def anywhere(landscape: ep.Landscape):
    """A random state within the units' walls."""
    rng = np.random.default_rng(1)
    drawn = jax.tree.map(
        lambda s: jnp.asarray(rng.normal(scale=1.5, size=s.shape)), landscape.init()
    )
    return landscape.project(drawn)


def energy_and_power(landscape: ep.Landscape, state):
    """F, and the squared speed of ds/dt = −∂F/∂s."""
    forces = jax.tree.leaves(landscape.force(state))
    return landscape.energy(state), sum(jnp.sum(f**2, axis=1) for f in forces)


def descend(landscape: ep.Landscape, solver: ep.AbstractSolver, start):
    """Every step of a solver from its start: energies and squared speeds."""
    end = ep.relax(landscape, solver, start, observe=energy_and_power, throw=False)
    energy, power = map(np.asarray, end.observations)
    return energy, power, end.state


def measure() -> Found:
    paper = ep.nets.hopfield(
        [6, 8, 6, 3],
        key=jax.random.key(0),
        rho=ep.Sigmoid(slope=4.0, center=0.5),
        init=ep.FanInUniform(2.0),
    )
    landscape, y = problem(paper)
    courses = {phase: [] for phase in PHASES}
    for step_size in STEP_SIZES:
        solver = ep.Euler(step_size=step_size, max_steps=1000)
        state = anywhere(landscape)
        for phase, beta in PHASES.items():
            energy, power, state = descend(landscape.nudge(y, beta), solver, state)
            courses[phase].append(Course(step_size, energy, power))
    landscape, y = problem(ep.nets.mlp([6, 8, 6, 3], key=jax.random.key(3)))
    start = anywhere(landscape)
    energies = {
        name: {
            phase: descend(landscape.nudge(y, beta), solver, start)[0]
            for phase, beta in PHASES.items()
        }
        for name, solver in SOLVERS.items()
    }
    return Found(courses, energies)


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.4), layout="constrained")
    draw_courses(found, axes[0])
    styles = dict(zip(PHASES, ("ko-", "s--"), strict=True))
    for phase, courses in found.courses.items():
        gaps = [course.gap for course in courses]
        axes[1].loglog(STEP_SIZES, gaps, styles[phase], label=phase)
    guide = 2.2 * gaps[0] * np.asarray(STEP_SIZES) / STEP_SIZES[0]
    axes[1].loglog(STEP_SIZES, guide, ":", color="0.5", label="slope 1")
    axes[1].set_xticks(STEP_SIZES, labels=[f"{e:g}" for e in STEP_SIZES])
    axes[1].minorticks_off()
    axes[1].set(xlabel="step size ε", title="relative gap in dF/dt = −‖ds/dt‖²")
    axes[1].legend(frameon=False)
    for (name, runs), marker in zip(found.energies.items(), "osD^", strict=True):
        energy = runs["free phase"][:, 0]
        above = energy[:26] - energy.min()
        axes[2].semilogy(above, marker=marker, mfc="none", ms=5, lw=1, label=name)
    axes[2].set(xlabel="step or sweep", ylim=(1e-12, 30))
    axes[2].set_title("energy above the minimum")
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_courses(found: Found, axis) -> None:
    """What F has yet to lose of each phase, and ‖ds/dt‖² summed over that time."""
    begin, shown = 0.0, 960
    for phase, courses in found.courses.items():
        finest = courses[-1]
        time = begin + finest.step_size * np.arange(shown)
        spent = finest.step_size * np.cumsum(finest.power[::-1], axis=0)[::-1]
        for k in range(3):
            left = finest.energy[:shown, k] - finest.energy[-1, k]
            axis.semilogy(time, left, "k", lw=1)
            some = slice(20 * k, shown, 100)
            axis.plot(time[some], spent[:shown][some, k], "o", color="C0", mfc="none")
        axis.text(time[shown // 2], 40, phase, ha="center")
        begin = time[-1]
    axis.axvspan(begin / 2, begin, color="tab:orange", alpha=0.12, lw=0)
    axis.plot([], [], "k", lw=1, label="F − F(end of phase)")
    axis.plot([], [], "o", color="C0", mfc="none", label="∫‖ds/dt‖² to the end")
    axis.set(xlabel="time (time constants)", xlim=(0, begin), ylim=(1e-8, 200))
    axis.set_title("three random starts")
    axis.legend(frameon=False, loc="lower left", fontsize=8)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for phase, courses in found.courses.items():
        gaps = [course.gap for course in courses]
        slope = np.polyfit(np.log(STEP_SIZES), np.log(gaps), 1)[0]
        print(f"{phase}: gap {gaps[-1]:.2%} at ε = {STEP_SIZES[-1]}, slope {slope:.3f}")
    for name, runs in found.energies.items():
        rise = max(float(np.diff(e, axis=0).max()) for e in runs.values())
        print(f"{name}: largest rise of the energy in one step {rise:.1e}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "energy_descent.png")
