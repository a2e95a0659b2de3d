"""When training ends before its last epoch, and which epoch was the best."""

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx


_METRICS = ("validation_error", "validation_cost", "train_error", "train_cost")


class EarlyStopping(eqx.Module):
    """Ends training once a metric has stopped improving, and goes back to the best.

    An epoch improves if its metric is more than `tolerance` below the least before it.
    After `patience` epochs in a row without improvement training ends. However it
    ends, the model is that of the epoch whose metric is least.

    **Arguments:**

    - `metric`: a column of the metrics: `"validation_error"` (in percent),
        `"validation_cost"`, `"train_error"` or `"train_cost"` (those two over the
        epoch, while the model changes).
    - `patience`: epochs without improvement until training ends.
    - `tolerance`: at least 0, in the units of the metric.
    """

    metric: str = eqx.field(default="validation_error", static=True)
    patience: int = eqx.field(default=10, static=True)
    tolerance: float = eqx.field(default=0.0, static=True)

    def __check_init__(self):
        if self.metric not in _METRICS:
            raise ValueError(
                f"`metric` of `EarlyStopping` is {self.metric!r}, but must be one of "
                f"{', '.join(_METRICS)}."
            )
        whole = isinstance(self.patience, int) and not isinstance(self.patience, bool)
        if not whole or self.patience < 1:
            raise ValueError(
                "`patience` of `EarlyStopping` must be a positive integer, but is "
                f"{self.patience!r}. 10 is common."
            )
        number = isinstance(self.tolerance, int | float)
        if not number or not 0 <= self.tolerance < math.inf:
            raise ValueError(
                "`tolerance` of `EarlyStopping` must be a finite number of at least 0, "
                f"but is {self.tolerance!r}. The default is 0."
            )

    def exhausted(self, metrics: Sequence[dict[str, Any]]) -> bool:
        """Whether the rows of metrics end in `patience` epochs without improvement."""
        least, without = math.inf, 0
        for row in metrics:
            value = row[self.metric]
            without = 0 if value < least - self.tolerance else without + 1
            least = min(least, value)
        return without >= self.patience


def best_epoch(
    metrics: Sequence[dict[str, Any]], stopping: EarlyStopping | None
) -> int | None:
    """The epoch whose metric is least, the first of equals: that of `stopping`, or the
    validation error, or without validation data the training error."""
    if not metrics:
        return None
    if stopping is not None:
        name = stopping.metric
    elif "validation_error" in metrics[-1]:
        name = "validation_error"
    else:
        name = "train_error"
    return min((row for row in metrics if name in row), key=lambda row: row[name])[
        "epoch"
    ]
