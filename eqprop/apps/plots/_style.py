from pathlib import Path
from typing import Any, TYPE_CHECKING

import numpy as np


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Colors that differ in lightness too, and a marker and a dash for each: a figure must
# be readable without color.
COLORS = ("#1b4f8a", "#c2571a", "#2e8b57", "#8a3b8f", "#7a7a1f", "#444444")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))

# The line below which a residual certifies an equilibrium.
CERTIFICATE = {"color": "black", "linewidth": 0.9, "linestyle": (0, (1, 2))}


def require_figure_file(file: Path) -> None:
    """Raises, before anything is measured, unless a figure can be written to a file.

    **Raises:**

    - `ValueError`: matplotlib isn't there, or can't write this kind of file, or the
        folder doesn't exist.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError(
            'Plots need matplotlib: `pip install "eqprop[plot]"`.'
        ) from error
    kinds = Figure().canvas.get_supported_filetypes()
    if file.suffix[1:].lower() not in kinds:
        raise ValueError(
            f"A figure can't be written to `{file}`: its name must end with one of "
            f"{', '.join('.' + kind for kind in sorted(kinds))}."
        )
    if not file.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {file.absolute().parent} for the figure.")


def new_figure(columns: int, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure and its axes, row by row."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(4.2 * columns, 3.4 * rows),
        layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06),
        dpi=150,
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
    return figure, list(axes.flat)


def line_style(k: int) -> dict[str, Any]:
    """The look of the k-th line: color, dashes and markers tell it from the others."""
    return {
        "color": COLORS[k % len(COLORS)],
        "linestyle": DASHES[k % len(DASHES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.4,
    }


def legend_above(axes: "Axes", columns: int = 3) -> None:
    """A legend over the panel, where it can't cover what is drawn."""
    axes.legend(
        frameon=False,
        fontsize=8,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.2,
        columnspacing=1.0,
        handlelength=2.4,
        ncols=columns,
    )


def log_if_positive(axes: "Axes") -> None:
    """A log scale for y, unless nothing that is drawn has a place on it."""
    drawn = np.concatenate([np.ravel(line.get_ydata()) for line in axes.lines] or [[]])
    if np.any(drawn[np.isfinite(drawn)] > 0):
        axes.set_yscale("log", nonpositive="mask")


def whole_numbers(axes: "Axes") -> None:
    """Ticks of x at whole numbers only: there is no half step or half epoch."""
    from matplotlib.ticker import MaxNLocator

    # One tick must be enough: else a single epoch gets fractions around it.
    whole = MaxNLocator("auto", integer=True, min_n_ticks=1, steps=[1, 2, 5, 10])
    axes.xaxis.set_major_locator(whole)
