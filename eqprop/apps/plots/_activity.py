from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, PyTree

from ...diagnostics import layer_names
from ...relaxation import Landscape
from ._style import COLORS, new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure


_BINS = 40


def plot_activity(landscape: Landscape, state: PyTree[Array]) -> "Figure":
    """How active the units are: a histogram of their states for each layer, on a log
    scale, and the share of them that is saturated.

    **Arguments:**

    - `landscape`, `state`: where a phase settled, and the settled state: `free =
        ep.Landscape(model, x)` and `ep.relax(free, solver).state`.
    """
    names, units = layer_names(landscape.energy_fn, state), landscape.leaf_units()
    columns = min(len(names), 3)
    figure, axes = new_figure(columns, -(-len(names) // columns))
    leaves = jax.tree.leaves(state)
    for one, name, unit, s in zip(axes, names, units, leaves, strict=False):
        values = np.asarray(s).ravel()
        share, edges = np.histogram(values, bins=_BINS)
        least = 100 / values.size
        one.stairs(
            least * share,
            edges,
            baseline=least / 2,
            fill=True,
            facecolor=COLORS[0],
            edgecolor="black",
            alpha=0.75,
            hatch="//",
        )
        saturated = 100 * float(np.mean(jax.vmap(unit.saturated)(s)))
        one.set_title(f"{name}: {saturated:.1f} % saturated", fontsize=9)
        one.set(xlabel="state of a unit", ylabel="share of the units, all examples (%)")
        one.set(yscale="log", ylim=(least / 2, 100))
    for unused in axes[len(names) :]:
        unused.set_visible(False)
    return figure
