from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Colors that differ in lightness too, and a marker and a dash for each: a figure must
# be readable without color.
COLORS = ("#1b4f8a", "#c2571a", "#2e8b57", "#8a3b8f", "#7a7a1f", "#444444")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))


def new_figure(columns: int, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    """An empty figure and its axes, row by row."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib: `pip install eqprop[plot]`."
        ) from error
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
    return figure, list(axes.flat)
