from collections.abc import Mapping, Sequence
from typing import Any, TYPE_CHECKING

import numpy as np

from ._style import COLORS, DASHES, MARKERS, new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure


_HATCHES = ("", "//", "xx")
_NAMES = {"library": "eqprop", "jax": "JAX by hand", "torch": "PyTorch by hand"}


def plot_bench(found: Mapping[str, Any]) -> "Figure":
    """What `eqprop bench` measured, a panel for each section but memory: time per
    training step with its floor, steps to settle against ω, and scaling.

    **Arguments:**

    - `found`: as `eqprop.apps.bench.measure` returns it.
    """
    panels = {"steps": _steps, "sweeps": _sweeps, "scaling": _scaling}
    chosen = [name for name in panels if name in found]
    figure, axes = new_figure(1, max(1, len(chosen)))
    heights = [
        1.2 + 0.42 * len(found["steps"]) if name == "steps" else 4.2 for name in chosen
    ]
    if not chosen:
        axes[0].text(0.5, 0.5, "nothing that is drawn was measured", ha="center")
        axes[0].set_axis_off()
        return figure
    figure.set_size_inches(8.4, sum(heights))
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(heights)
    for one, name in zip(axes, chosen, strict=True):
        panels[name](one, found[name])
    return figure


def _steps(axes: Any, cases: Sequence[Mapping[str, Any]]) -> None:
    places = np.arange(len(cases))
    for k, (key, label) in enumerate(_NAMES.items()):
        rows = [
            (place, case["implementations"][key]["ms"])
            for place, case in zip(places, cases, strict=True)
            if case["implementations"][key] is not None
        ]
        if not rows:
            continue
        middle = np.array([ms["median"] for _, ms in rows])
        low, high = (np.array([ms[end] for _, ms in rows]) for end in ("low", "high"))
        axes.barh(
            np.array([place for place, _ in rows]) + 0.26 * (k - 1),
            middle,
            height=0.24,
            xerr=np.stack([middle - low, high - middle]),
            error_kw={"elinewidth": 0.7},
            color="white" if k else COLORS[0],
            edgecolor=COLORS[k],
            hatch=_HATCHES[k],
            label=label,
        )
    floor = [case["floor"]["ms"]["median"] for case in cases]
    axes.vlines(
        floor,
        places - 0.42,
        places + 0.42,
        color="black",
        linewidth=1.6,
        label="floor: the matrix products alone",
    )
    axes.set_yticks(places, [case["name"] for case in cases], fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="time of a training step (ms)")
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=2,
    )


def _sweeps(axes: Any, nets: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    for k, net in enumerate(nets):
        style = {"color": COLORS[k % len(COLORS)], "marker": MARKERS[k % len(MARKERS)]}
        label = f"{'-'.join(map(str, net['sizes']))}, {net['stage']}"
        swept = [
            (row["relaxation"], row["steps"])
            for row in net["solvers"]
            if row["name"].startswith("ω") and row["steps"] is not None
        ]
        axes.plot(
            [factor for factor, _ in swept],
            [steps for _, steps in swept],
            linestyle=DASHES[k % len(DASHES)],
            markersize=4,
            label=label,
            **style,
        )
        for row in net["solvers"]:
            if row["name"] == "estimated ω" and row["steps"] is not None:
                hollow = {"markerfacecolor": "white", "markersize": 10}
                axes.plot(row["relaxation"], row["steps"], zorder=3, **style | hollow)
    residual, batch = nets[0]["residual"], nets[0]["batch"]
    axes.set(
        yscale="log",
        xlabel="relaxation factor ω (dimensionless; large hollow marker: estimated,\n"
        "off its line: falling from there)",
        ylabel=f"sweeps from rest until all {batch} examples\nof a batch are at "
        f"{residual:g} (mean of batches)",
    )
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend(frameon=False, fontsize=7)


def _scaling(axes: Any, found: Mapping[str, Any]) -> None:
    points = found["points"]
    work = np.array([1e-9 * point["flops"] for point in points])
    ms = np.array([point["ms"] for point in points])
    factors = np.array([point["factor"] for point in points])
    for k, factor in enumerate(dict.fromkeys(factors)):
        fit = found["slopes"].get(factor)
        slope = "" if fit is None else f": slope {fit['slope']:.2f}"
        chosen = factors == factor
        axes.plot(
            work[chosen],
            ms[chosen],
            color=COLORS[k],
            linestyle=DASHES[k],
            marker=MARKERS[k],
            label=f"{factor} grows{slope}",
        )
    largest = int(np.argmax(work))
    span = np.array([work.min(), work.max()])
    axes.plot(
        span,
        ms[largest] * span / work[largest],
        color="black",
        linewidth=0.8,
        label="cost proportional to work",
    )
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="work of a training step: its matrix products (GFLOP)",
        ylabel="time of a training step (ms)",
    )
    axes.legend(frameon=False, fontsize=8)
