import os
from collections.abc import Mapping, Sequence
from typing import Any, TYPE_CHECKING

import numpy as np

from ...training import Run
from ._logs import grouped_by_recipe, Log, read_log
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


AnyRun = Run | str | os.PathLike[str]

# Panels of one run: what the y axis is, and its lines.
_PANELS = (
    ("error (%)", {"train_error": "training", "validation_error": "validation"}),
    ("cost per example", {"train_cost": "training", "validation_cost": "validation"}),
    (
        "residual (units of the state)",
        {"residual": "free phases", "nudged_residual": "other phases"},
    ),
    ("energy E per example", {"energy": "training", "validation_energy": "validation"}),
)
_COMPARED = {
    "validation_error": "validation error (%)",
    "train_error": "training error (%)",
    "train_cost": "training cost per example",
    "residual": "residual of the free phase\n(units of the state)",
}
_LOGARITHMIC = ("train_cost", "residual")


def plot_training(run: AnyRun) -> "Figure":
    """How a run went: error, cost, residuals, energy, saturation and weight changes,
    for each epoch.

    Training metrics are means over an epoch as it went; validation is after it.

    **Arguments:**

    - `run`: what [`eqprop.fit`][] returned, or the folder of a run. Only its metrics
        are read, so that the energy may be your own.

    **Raises:**

    - `ValueError`: it is no run, or has no finished epoch.
    """
    log = read_log(run)
    figure, axes = new_figure(3, 2)
    for one, (label, columns) in zip(axes, _PANELS, strict=False):
        for k, (name, text) in enumerate(columns.items()):
            _line(one, log, (name,), k, text)
        one.set_ylabel(label)
    log_if_positive(axes[2])
    _certificate(axes[2], log)
    _line(axes[4], log, ("saturation",), 0, "training")
    _line(axes[4], log, ("validation_saturation",), 1, "validation")
    axes[4].set_ylabel("saturated units (%)")
    for k, name in enumerate(log.rows[0].get("weight_change", {})):
        _line(axes[5], log, ("weight_change", name), k, name)
    axes[5].set_ylabel("change of the weights\nin an update (% of their RMS)")
    log_if_positive(axes[5])
    for one in axes:
        one.set_xlabel("epochs of training")
        whole_numbers(one)
        if one.lines:
            legend_above(one)
    return figure


def plot_comparison(
    runs: Sequence[AnyRun] | Mapping[str, Sequence[AnyRun]],
) -> "Figure":
    """Several runs beside each other, those that differ in their seed alone as one
    line: their mean, and a band from the least to the largest of them.

    A mean is drawn as far as all runs of its group go.

    **Arguments:**

    - `runs`: runs, as [`eqprop.plots.plot_training`][] takes them, grouped by their
        configuration. Runs of an energy of your own, which no configuration holds,
        stay apart; group them yourself: a name for each group of runs.

    **Raises:**

    - `ValueError`: one is no run, or has no finished epoch; there are none.
    """
    if isinstance(runs, Mapping):
        groups = {name: [read_log(run) for run in some] for name, some in runs.items()}
    else:
        groups = grouped_by_recipe([read_log(run) for run in runs])
    if not groups or not all(groups.values()):
        raise ValueError("`runs` holds no run. Pass the folder of at least one.")
    metrics = {
        name: label
        for name, label in _COMPARED.items()
        if any(log.column(name) is not None for logs in groups.values() for log in logs)
    }
    columns = 2 if len(metrics) > 1 else 1
    figure, axes = new_figure(columns, -(-len(metrics) // columns))
    for one, (name, label) in zip(axes, metrics.items(), strict=False):
        for k, (group, logs) in enumerate(groups.items()):
            _mean_and_band(one, logs, name, k, group)
        one.set(xlabel="epochs of training", ylabel=label)
        whole_numbers(one)
        if name in _LOGARITHMIC:
            log_if_positive(one)
    for unused in axes[len(metrics) :]:
        unused.set_visible(False)
    several = any(len(logs) > 1 for logs in groups.values())
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="outside upper center",
        frameon=False,
        fontsize=8,
        ncols=min(len(groups), 3),
        title="line: mean; band: least to largest of the runs" if several else None,
        title_fontsize=8,
    )
    return figure


def _line(axes: Any, log: Log, path: tuple[str, ...], k: int, label: str) -> None:
    values = log.column(*path)
    if values is not None:
        every = max(1, len(values) // 12)
        axes.plot(log.epochs, values, label=label, markevery=every, **line_style(k))


def _certificate(axes: Any, log: Log) -> None:
    solver = log.config.get("method", {}).get("solver", {})
    if "certify" in solver:
        axes.axhline(solver["certify"], label="certified below", **CERTIFICATE)


def _mean_and_band(axes: Any, logs: list[Log], name: str, k: int, label: str) -> None:
    found = [(log.epochs, log.column(name)) for log in logs]
    columns = [(epochs, values) for epochs, values in found if values is not None]
    if not columns:
        return
    common = min(len(values) for _, values in columns)
    epochs = columns[0][0][:common]
    values = np.stack([values[:common] for _, values in columns])
    style = line_style(k)
    if len(values) > 1:
        label = f"{label} ({len(values)} runs)"
        low, high = np.min(values, axis=0), np.max(values, axis=0)
        axes.fill_between(epochs, low, high, color=style["color"], alpha=0.16, lw=0)
        for edge in (low, high):
            axes.plot(epochs, edge, **style | {"marker": None, "linewidth": 0.5})
    every = max(1, common // 12)
    mean = np.mean(values, axis=0)
    axes.plot(epochs, mean, label=label, markevery=every, **style)
