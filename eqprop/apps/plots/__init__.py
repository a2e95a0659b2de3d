"""Figures of what was measured."""

from ._bench import plot_bench as plot_bench
from ._gradients import (
    plot_bias as plot_bias,
    plot_descending_updates as plot_descending_updates,
)
from ._reproduction import plot_reproduction as plot_reproduction
from ._style import require_figure_file as require_figure_file
