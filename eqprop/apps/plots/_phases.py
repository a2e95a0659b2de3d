from collections.abc import Sequence
from typing import Any, TYPE_CHECKING

import numpy as np

from ...diagnostics import PhaseTrace
from ._style import (
    CERTIFICATE,
    legend_above,
    line_style,
    log_if_positive,
    new_figure,
    whole_numbers,
)


if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SHADE = "#ececec"


def plot_phases(traces: Sequence[PhaseTrace]) -> "Figure":
    """Energy, cost and residual on the way to equilibrium: the free phase at the left,
    the phases after it, which start where it ended, on a gray ground at the right.

    Energy and cost are means over the examples, the residual is the largest of them.
    The energy of a nudged phase is counted from the free equilibrium's.

    **Arguments:**

    - `traces`: of [`eqprop.diagnostics.trace_phases`][].
    """
    free, *later = traces
    columns = 2 if later else 1
    figure, panels = new_figure(columns, 3)
    figure.set_size_inches(8.4 if later else 4.6, 7.6)
    rows = [panels[k : k + columns] for k in range(0, len(panels), columns)]
    left = [row[0] for row in rows]
    _draw(left, [free], [line_style(0)], 0.0)
    left[0].set_title("free phase", pad=24, fontsize=10)
    left[0].set_ylabel("energy E (mean)")
    left[1].set_ylabel("cost C (mean)")
    count = free.energy.shape[1]
    left[2].set_ylabel(f"residual (units of the state,\nlargest of {count} examples)")
    _certificate(left[2], free)
    legend_above(left[2])
    if later:
        right = [row[1] for row in rows]
        longest = max(len(trace.energy) for trace in later)
        grid = left[0].get_gridspec()
        assert grid is not None
        grid.set_width_ratios([1, np.clip(longest / len(free.energy), 0.7, 1.4)])
        styles = [line_style(k) for k in range(1, len(later) + 1)]
        _draw(right, later, styles, float(np.mean(free.energy[-1])))
        held = all(trace.beta is None for trace in later)
        title = "phase with outputs held" if held else "nudged phases"
        right[0].set_title(title, pad=24, fontsize=10)
        right[0].set_ylabel("E − E⁰ (mean)" if held else "E + βC − E⁰ (mean)")
        legend_above(right[0], 2)
        _certificate(right[2], later[0])
        for axes in right:
            axes.set_facecolor(_SHADE)
    return figure


def _draw(
    axes: Sequence[Any],
    traces: Sequence[PhaseTrace],
    styles: Sequence[dict[str, Any]],
    base: float,
) -> None:
    for trace, style in zip(traces, styles, strict=True):
        curves = (
            trace.energy.mean(1) - base,
            trace.cost.mean(1),
            trace.residual.max(1),
        )
        for one, values in zip(axes, curves, strict=True):
            every = max(1, len(values) // 15)
            one.plot(values, label=_named(trace.beta), markevery=every, **style)
            one.set_xlabel(f"steps of {trace.solver}")
            whole_numbers(one)
    log_if_positive(axes[2])


def _certificate(axes: Any, trace: PhaseTrace) -> None:
    axes.axhline(trace.certify, label="certified below", **CERTIFICATE)


def _named(beta: complex | float | None) -> str:
    if beta is None:
        return "outputs held"
    if isinstance(beta, complex):
        return f"β = {beta.real:+.2g} {beta.imag:+.2g}i"
    return "free" if beta == 0 else f"β = {beta:+.3g}".replace("-", "−")
