from pathlib import Path
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# Colors that differ in lightness too, and a marker and a dash for each: a figure must
# be readable without color.
COLORS = ("#1b4f8a", "#c2571a", "#2e8b57", "#8a3b8f", "#7a7a1f", "#444444")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))


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
            "Plots need matplotlib: `pip install eqprop[plot]`."
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

    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.25, linewidth=0.6)
    return figure, list(axes.flat)
