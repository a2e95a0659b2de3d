"""Contrastive Hebbian learning's objective goes wrong; Equilibrium Propagation's is the
cost.

    python examples/claims/contrastive_hebbian.py docs/claims/contrastive_hebbian.png

A hidden and an output unit that excite each other have two modes. From rest they
settle in the upper one of the energy; clamping the output at its target takes them to
the other, deeper one. The contrastive objective is then negative, and descending it
strengthens the coupling that keeps the prediction wrong. Needs matplotlib.
"""

import sys

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep
from eqprop.apps.reproduce.measurements.contrastive_hebbian import (
    cosine,
    FIELD,
    Found,
    measure,
    network,
    TARGET,
)


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(
        1, 3, figsize=(11.5, 3.5), width_ratios=(1.2, 1, 1), layout="constrained"
    )
    draw_landscape(found, axes[0])
    styles = dict(zip(found.training, ("C3--", "C0-"), strict=True))
    for name, seen in found.training.items():
        axes[1].plot(seen[:, 0], styles[name], label=name)
        axes[2].plot(seen[:, 1], styles[name], label=name)
    axes[1].axhline(0, color="0.7", lw=0.8, zorder=0)
    axes[1].set(xlabel="training step", title="objective E(clamped) − E(free)")
    axes[2].set(xlabel="training step", title="cost of the prediction", ylim=(0, None))
    axes[2].legend(frameon=False, loc="lower left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_landscape(found: Found, axis) -> None:
    """The energy over both units' states, and where the phases end."""
    h, o = np.meshgrid(np.linspace(-1, 1, 101), np.linspace(-1.7, 2.2, 101))
    state = (jnp.asarray(h.reshape(-1, 1)), jnp.asarray(o.reshape(-1, 1)))
    x = jnp.tile(jnp.asarray([FIELD], float), (h.size, 1))
    energy = np.asarray(ep.Landscape(network(), x).energy(state)).reshape(h.shape)
    levels = energy.min() + np.linspace(0, 1.1, 13) ** 2
    axis.contour(h, o, energy, levels, cmap="Greys_r", linewidths=0.8)
    axis.plot(*found.path, "k-", lw=1.5)
    axis.plot(*found.path[:, 0], "k.", ms=8)
    axis.annotate("rest", found.path[:, 0], (6, 2), textcoords="offset points")
    axis.axhline(TARGET, color="C3", ls=":", lw=1)
    axis.text(-0.95, TARGET + 0.08, "target", color="C3")
    for (mark, name), end in zip(
        (("C0o", "free"), ("C3s", "clamped")),
        (found.path[:, -1], found.clamped),
        strict=True,
    ):
        value = ep.Landscape(network(), x[:1]).energy(
            tuple(jnp.asarray(end[k]).reshape(1, 1) for k in range(2))
        )
        axis.plot(*end, mark, ms=8, label=f"{name}: E = {float(value[0]):.2f}")
    axis.set(xlabel="hidden unit", ylabel="output", title="energy of both units")
    axis.set_xticks((-1, -0.5, 0, 0.5, 1))
    axis.legend(loc="lower right", framealpha=0.9)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    print(f"contrastive objective at the start: {found.objective:.3f}")
    for name, estimate in found.gradients.items():
        alike = cosine(estimate, found.exact)
        print(f"{name}: cosine to the gradient of the cost {alike:.6f}")
    for name, seen in found.training.items():
        print(
            f"training by {name}: cost {seen[0, 1]:.2f} to {seen[-1, 1]:.2f}, ", end=""
        )
        print(f"objective {seen[0, 0]:.2f} to {seen[-1, 0]:.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "contrastive_hebbian.png")
