"""What is read off a training run, by name."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


Rows = Sequence[Mapping[str, Any]]


def read_metric(metric: str, rows: Rows, epoch: int | None = None) -> float:
    """A metric of a run after some epoch.

    **Arguments:**

    - `metric`: a column of the run's metrics (`NAME/LAYER` of those that have a number
        for each layer), or `weight_change_spread`: the relative
        weight change of the layer that changes most over that of the layer that
        changes least, each in the mean over all epochs so far. NaN of a run without
        epochs.
    - `rows`: the run's metrics, a row for each epoch.
    - `epoch`: after how many epochs; `None` after the last.

    **Raises:**

    - `ValueError`: there is no such metric, or the run has fewer epochs.
    """
    if not rows:
        return math.nan
    if epoch is not None and not 1 <= epoch <= len(rows):
        raise ValueError(f"`epoch` is {epoch}, but the run has {len(rows)} epochs.")
    rows = rows[:epoch]
    if metric == "weight_change_spread":
        means = _mean_changes(rows)
        return max(means) / min(means)
    curves = read_curves(rows)
    if metric in curves:
        value = curves[metric][-1]
        return math.nan if value is None else float(value)
    raise ValueError(
        f"`metric` is {metric!r}, but a run has: {', '.join(curves)}, "
        "weight_change_spread, and test_error where its data have a test part."
    )


def read_curves(rows: Rows) -> dict[str, list[float | None]]:
    """Every metric against the epoch, those of a layer as `NAME/LAYER`; `None` where
    one isn't finite."""
    curves: dict[str, list[float | None]] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, Mapping):
                for part, number in value.items():
                    curves.setdefault(f"{name}/{part}", []).append(number)
            elif name != "epoch":
                curves.setdefault(name, []).append(value)
    return curves


def _mean_changes(rows: Rows) -> list[float]:
    names = rows[0]["weight_change"]
    return [sum(row["weight_change"][name] for row in rows) for name in names]
