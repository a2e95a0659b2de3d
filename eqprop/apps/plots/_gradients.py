import math
from collections.abc import Mapping
from typing import Any, TYPE_CHECKING

import numpy as np

from ...diagnostics import Bias, DescendingUpdates
from ._style import COLORS, DASHES, MARKERS, new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_bias(bias: Mapping[str, Bias]) -> "Figure":
    """Error and cosine of gradients against β, a line for each method.

    Hollow markers: a unit changed its saturation between the phases there, or a phase
    did not settle.

    **Arguments:**

    - `bias`: by name, as [`eqprop.diagnostics.GradientCheck`][] holds it.
    """
    figure, (left, right) = new_figure(2)
    for k, (name, one) in enumerate(bias.items()):
        order = "" if one.order is None else f", slope {one.order:.2f}"
        cosines = [row["all"].cosine for row in one.likeness]
        style = {
            "color": COLORS[k % len(COLORS)],
            "linestyle": DASHES[k % len(DASHES)],
        }
        sound = [beta <= (one.safe or 0) for beta in one.betas]
        for axes, values, label in (
            (left, one.errors, name + order),
            (right, [1 - c for c in cosines], name),
        ):
            # A log axis has no place for an error of zero.
            shown = np.maximum(np.asarray(values, float), 1e-16)
            axes.plot(one.betas, shown, label=label, **style)
            for beta, value, solid in zip(one.betas, shown, sound, strict=True):
                axes.plot(
                    beta,
                    value,
                    marker=MARKERS[k % len(MARKERS)],
                    color=style["color"],
                    markerfacecolor=style["color"] if solid else "white",
                )
    for axes, title in ((left, "relative error"), (right, "1 − cosine")):
        axes.set(xscale="log", yscale="log", xlabel="nudge β", ylabel=title)
        axes.tick_params(axis="x", which="minor", labelbottom=False)
    left.legend(frameon=False, fontsize=8)
    return figure


def plot_descending_updates(updates: DescendingUpdates) -> "Figure":
    """The second phase's updates beside those of backpropagation through time, a panel
    for each parameter: lines are EP's, crosses the backward pass's.

    **Arguments:**

    - `updates`: of [`eqprop.diagnostics.descending_updates`][].
    """
    columns = math.ceil(math.sqrt(len(updates.ep)))
    figure, axes = new_figure(columns, -(-len(updates.ep) // columns))
    for one, name in zip(axes, updates.ep, strict=False):
        curves = zip(updates.ep[name].T, updates.bptt[name].T, strict=True)
        for k, (f, g) in enumerate(curves):
            color = COLORS[k % len(COLORS)]
            one.plot(f, color=color, linewidth=1.2)
            one.plot(g, color=color, linestyle="none", marker="x", markersize=4)
        one.set_title(f"{name}: RMSE {updates.rmse[name]:.1e}", fontsize=9)
        one.set(xlabel="step of the second phase", ylabel="update")
        one.ticklabel_format(axis="y", scilimits=(-2, 2))
    for unused in axes[len(updates.ep) :]:
        unused.set_visible(False)
    return figure


def plot_likeness(bias: Mapping[str, Bias]) -> "Figure":
    """How near each parameter's gradient is to the reference: cosine and relative
    error, a row for each parameter, a marker for each method.

    Of a method that was tried at several β it is the largest at which no unit changed
    its saturation and all phases settled, or the smallest.

    **Arguments:**

    - `bias`: by name, as [`eqprop.diagnostics.GradientCheck`][] holds it.
    """
    parameters = list(next(iter(bias.values())).likeness[0])
    figure, (left, right) = new_figure(2)
    height = 1.6 + 0.22 * len(bias) + 0.34 * len(parameters)
    figure.set_size_inches(9.6, height)
    places = np.arange(len(parameters))
    for k, (name, one) in enumerate(bias.items()):
        at = one.betas.index(one.safe) if one.safe is not None else 0
        beta = one.betas[at]
        label = name if math.isnan(beta) else f"{name}, β = {beta:g}"
        rows = [one.likeness[at][parameter] for parameter in parameters]
        style: dict[str, Any] = {
            "color": COLORS[k % len(COLORS)],
            "marker": MARKERS[k % len(MARKERS)],
        }
        shift = 0.6 * ((k + 0.5) / len(bias) - 0.5)
        for axes, values in (
            (left, [1 - row.cosine for row in rows]),
            (right, [row.error for row in rows]),
        ):
            # A log axis has no place for an error of zero.
            shown = np.maximum(np.asarray(values, float), 1e-16)
            axes.plot(shown, places + shift, linestyle="none", label=label, **style)
    for axes, label in ((left, "1 − cosine"), (right, "relative error")):
        axes.set(xscale="log", xlabel=label, ylim=(len(parameters) - 0.5, -0.5))
        axes.set_yticks(places, parameters if axes is left else [])
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside upper center",
        frameon=False,
        fontsize=8,
        ncols=3,
    )
    return figure
