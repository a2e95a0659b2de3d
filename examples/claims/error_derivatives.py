"""Error derivatives: the second phase's velocities are what backpropagation computes.

    python examples/claims/error_derivatives.py docs/claims/error_derivatives.png

Nudges the paper's network at its free equilibrium and compares the velocity of every
unit, step by step, with the derivative of the cost in that unit's state as many steps
before the end: backpropagation through time, by `jax.vjp` of the same step. Needs
matplotlib.
"""

import math
import sys

import jax
import matplotlib.pyplot as plt
import numpy as np

from eqprop.apps.reproduce.measurements.error_derivatives import (
    BETAS,
    errors,
    Found,
    measure,
    STEP_SIZE,
    STEPS,
)


NAMES = ("output", "hidden 3", "hidden 2", "hidden 1")
LINES = ("-", "--", "-.", (0, (1, 1)))
MARKERS = "osD^"
POWERS = ("", "t", "t²/2", "t³/6")


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.6), layout="constrained")
    for k, name in enumerate(NAMES):
        line = {"color": f"C{k}", "ls": LINES[k]}
        point = {"color": f"C{k}", "ls": "", "marker": MARKERS[k], "mfc": "none"}
        axes[2].plot([], [], **line, marker=MARKERS[k], mfc="none", label=name)
        draw_layer(found, k, axes, line, point)
    axes[2].plot([], [], "k", label="lines: −ds/dt")
    axes[2].plot([], [], "ko", mfc="none", label="markers: ∂L/∂s")
    axes[0].set(xlabel="time (time constants)", title="−ds/dt of one unit a layer")
    axes[2].legend(frameon=False, fontsize=8)
    axes[1].set(xlabel="time (time constants)", title="norm of each layer")
    axes[1].set(ylim=(1e-5, 4), xlim=(0.02, None))
    axes[2].plot([-1.1, 1.1], [-1.1, 1.1], color="0.7", lw=1, zorder=0)
    axes[2].set(
        xlabel="feedforward backpropagation", title="first motion of every unit"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_layer(found: Found, k: int, axes, line: dict, point: dict) -> None:
    """One layer: lines are second-phase velocities, markers are derivatives. Scaled to
    the layer's largest where layers of very different size share a panel."""
    time, d = found.time, found.derivatives[k]
    v = -found.velocities[-1][k]
    most = np.abs(d).max(axis=0).argmax()
    peak = np.abs(d[:, most]).max()
    even = np.arange(10 * k, STEPS, 40)
    axes[0].plot(time, v[:, most] / peak, **line)
    axes[0].plot(time[even], d[even, most] / peak, **point)
    late = np.unique(np.geomspace(k + 1, STEPS - 1, 14).astype(int))
    axes[1].loglog(time[k + 1 :], np.linalg.norm(v, axis=1)[k + 1 :], **line)
    axes[1].loglog(time[late], np.linalg.norm(d, axis=1)[late], **point)
    chain = found.chain[k]
    if k > 0:
        early = time[3:50]
        guide = np.linalg.norm(chain) * early**k / math.factorial(k)
        axes[1].loglog(early, guide, color="0.5", lw=0.8)
        axes[1].text(early[-1], guide[-1], f" {POWERS[k]}", color="0.3", fontsize=8)
    # Unit by unit, a layer k below the output first moves at step k.
    largest = np.abs(chain).max()
    axes[2].plot(chain / largest, v[k] / STEP_SIZE**k / largest, **point)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for beta, row in zip(BETAS, errors(found), strict=True):
        text = ", ".join(f"{e:.1e}" for e in row)
        print(f"β = {beta:g}: relative error of each layer, the output first: {text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "error_derivatives.png")
