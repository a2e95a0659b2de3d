"""Draws the two phases of Equilibrium Propagation on a handwritten digit.

    python examples/two_phases.py docs/two_phases.png

Trains a small network on the bundled digits, then lets it settle on a digit that it
gets wrong, nudges the outputs toward the right class, and plots what moves. Needs
matplotlib.
"""

import sys

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import eqprop as ep


STEPS = 60
BETA = 0.5


def trained(data: ep.data.Splits) -> ep.Model:
    """A network after three epochs: good, but still wrong now and then."""
    energy = ep.nets.mlp([64, 128, 10], key=jax.random.key(0))
    model = ep.Model(energy, ep.SquaredError())
    method = ep.EquilibriumProp(ep.Centered(beta=0.2))
    return ep.fit(model, data, method, ep.Adam(1e-3), epochs=3).model


def mistaken(model: ep.Model, data: ep.data.Dataset) -> int:
    """The first example whose free phase ends at the wrong class."""
    landscape = ep.Landscape(model, data.x)
    state = ep.relax(landscape, ep.BlockCoordinate(max_steps=50)).state
    guess = jnp.argmax(landscape.output(state), axis=1)
    return int(jnp.argmax(guess != data.labels))


def settle(landscape: ep.Landscape, state0=None) -> ep.Equilibrium:
    """One phase in small steps, with everything that the figure shows."""

    def observe(landscape, state):
        hidden, output = state
        return landscape.energy(state)[0], hidden[0], output[0]

    solver = ep.Euler(step_size=0.1, max_steps=STEPS)
    return ep.relax(landscape, solver, state0, observe=observe)


def draw(image, target: int, free: ep.Equilibrium, nudged: ep.Equilibrium, path: str):
    """Energy, outputs and hidden units over both phases."""
    phases = (free.observations, nudged.observations)
    figure, axes = plt.subplots(
        1, 4, figsize=(12, 3), width_ratios=(1, 2, 2, 2), layout="constrained"
    )
    axes[0].imshow(image.reshape(8, 8), cmap="gray_r")
    axes[0].set(title=f"input (a {target})", xticks=(), yticks=())
    for start, (energy, _, output) in zip((0, STEPS), phases, strict=True):
        time = start + jnp.arange(STEPS + 1)
        axes[1].plot(time, energy, color="black")
        for k in range(10):
            style = {"color": "tab:red", "lw": 2.5} if k == target else {}
            axes[2].plot(time, output[:, k], **({"color": "0.7", "lw": 1} | style))
    settled = free.observations[1][-1]
    change = nudged.observations[1] - settled
    axes[3].plot(STEPS + jnp.arange(STEPS + 1), change[:, ::4], lw=0.8)
    for axis in axes[1:]:
        axis.axvspan(STEPS, 2 * STEPS, color="tab:orange", alpha=0.12, lw=0)
        axis.set(xlabel="step", xlim=(0, 2 * STEPS))
    axes[1].text(STEPS / 2, 0.9, "free phase", ha="center", transform=x_of(axes[1]))
    axes[1].text(1.5 * STEPS, 0.9, "nudged", ha="center", transform=x_of(axes[1]))
    axes[1].set_title("energy F = E + βC")
    axes[2].set_title("outputs (red: right class)")
    axes[3].set_title("hidden units: change by the nudge")
    figure.savefig(path, dpi=110)


def x_of(axis):
    """Coordinates with x in steps and y as a fraction of the panel."""
    return axis.get_xaxis_transform()


def main(path: str) -> None:
    data = ep.data.digits()
    model = trained(data)
    test = data.test
    k = mistaken(model, test)
    x, y = test.x[k : k + 1], test.y[k : k + 1]
    landscape = ep.Landscape(model, x)
    free = settle(landscape)
    nudged = settle(landscape.nudge(y, BETA), free.state)
    draw(x[0], int(test.labels[k]), free, nudged, path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "two_phases.png")
