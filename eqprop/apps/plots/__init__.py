"""Figures of what was measured."""

from ._activity import plot_activity as plot_activity
from ._bench import plot_bench as plot_bench
from ._gradients import (
    plot_bias as plot_bias,
    plot_descending_updates as plot_descending_updates,
    plot_likeness as plot_likeness,
)
from ._phases import plot_phases as plot_phases
from ._reproduction import plot_reproduction as plot_reproduction
from ._style import require_figure_file as require_figure_file
from ._training import (
    plot_comparison as plot_comparison,
    plot_training as plot_training,
)
from ._weights import plot_weights as plot_weights
