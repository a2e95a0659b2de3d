"""The STDP integral: followed through the second phase, the symmetric rule adds up to
the update.

    python examples/claims/stdp_integral.py docs/claims/stdp_integral.png

Sums the plasticity rules of eqs. 11 to 13 over every step of the second phase, with
the nudge constant or too strong at first, in steps of several sizes, and holds each
sum against the contrast of the two ends (eq. 14). Needs matplotlib.
"""

import sys

import jax
import matplotlib.pyplot as plt
import numpy as np

from eqprop.apps.reproduce.measurements.stdp_integral import (
    Found,
    measure,
    PATHS,
    RULES,
    SHOWN,
    STEP_SIZES,
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
