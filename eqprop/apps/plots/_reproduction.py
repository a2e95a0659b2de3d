import math
from collections.abc import Mapping, Sequence
from typing import Any, TYPE_CHECKING

from ._style import COLORS, DASHES, MARKERS, new_figure, whole_numbers


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_reproduction(result: Mapping[str, Any]) -> "Figure":
    """What `eqprop reproduce` found, beside what was published.

    **Arguments:**

    - `result`: as it is in a report.json; its `panels` are drawn.
    """
    panels: Sequence[Mapping[str, Any]] = result["panels"]
    figure, axes = new_figure(max(1, len(panels)))
    if not panels:
        axes[0].text(0.5, 0.5, "nothing has run yet", ha="center")
        axes[0].set_axis_off()
    for panel, axis in zip(panels, axes, strict=False):
        _draw(panel, axis)
        _legend(axis)
    return figure


def _draw(panel: Mapping[str, Any], axis: "Axes") -> None:
    for letter in panel["log"]:
        _make_logarithmic(axis, letter)
    for k, line in enumerate(panel["lines"]):
        color = COLORS[k % len(COLORS)]
        style: dict[str, Any] = {"color": color, "label": line["label"]}
        if line.get("points"):
            style |= {"linestyle": "", "marker": MARKERS[k % len(MARKERS)], "ms": 4}
        else:
            style |= {"linestyle": DASHES[k % len(DASHES)]}
            # A curve of one point, as after a first epoch, would be no line.
            style |= {"marker": "." if len(line["x"]) == 1 else None}
        axis.plot(line["x"], line["y"], **style)
        if "low" in line:
            sides = (line["low"], line["high"])
            axis.fill_between(line["x"], *sides, color=color, alpha=0.2, linewidth=0)
    _bands(panel.get("bands", ()), axis)
    axis.set(xlabel=panel["x"], ylabel=panel["y"], title=panel["title"])
    if panel["x"] == "epoch":
        whole_numbers(axis)


def _legend(axis: "Axes") -> None:
    """Where it can't cover what is drawn: below, or if it is long beside, for which
    the figure becomes wider."""
    labels = axis.get_legend_handles_labels()[1]
    longest = max(map(len, labels), default=0)
    below = len(labels) <= 6 and longest <= 24
    axis.legend(
        frameon=False,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.16) if below else (1.02, 1.0),
        ncols=2 if below else 1,
    )
    if not below:
        figure = axis.get_figure(root=True)
        assert figure is not None
        width, height = figure.get_size_inches()
        figure.set_size_inches(width + 0.6 + 0.065 * longest, height)


def _bands(bands: Sequence[Mapping[str, Any]], axis: "Axes") -> None:
    # The bands must not move the limits: one without an end reaches to the edge.
    bottom, top = axis.get_ylim()
    for band in bands:
        low = bottom if band["low"] is None else band["low"]
        high = band["high"]
        shown = axis.axhspan(low, high, color="0.5", alpha=0.2, lw=0)
        shown.set_label(band["label"])
        bottom, top = min(bottom, low), max(top, high)
    if axis.get_yscale() == "log" and bottom <= 0:
        bottom = axis.get_ylim()[0]
    axis.set_ylim(bottom, top)


def _make_logarithmic(axis: "Axes", letter: str) -> None:
    """A logarithmic axis with plain numbers, also where less than a decade shows."""
    from matplotlib.ticker import FuncFormatter

    getattr(axis, f"set_{letter}scale")("log")
    side = axis.xaxis if letter == "x" else axis.yaxis

    def between_decades(value: float, _: int) -> str:
        low, high = side.get_view_interval()
        digit = round(value / 10.0 ** math.floor(math.log10(value)))
        shown = range(2, 10) if high < 4 * low else (2, 5) if high < 30 * low else ()
        return f"{value:g}" if digit in shown else ""

    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(FuncFormatter(between_decades))
