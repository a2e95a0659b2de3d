import dataclasses
from pathlib import Path
from typing import Any

from jaxtyping import Array, PyTree

from ..energies import Model


class DivergenceWarning(RuntimeWarning):
    """The cost, a parameter or a prediction became NaN or infinite."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """Where training stands, told between compiled chunks.

    **Attributes:**

    - `phase`: `"compile"`, `"train"`, `"validate"` or `"epoch"` (one is finished).
    - `epoch`, `epochs`: the epoch under way, counted from 0, and how many in all.
    - `batch`, `batches`: batches done in this epoch, and how many it has.
    - `metrics`: means over the epoch so far; for `"epoch"`, its row of metrics.
    """

    phase: str
    epoch: int
    epochs: int
    batch: int
    batches: int
    metrics: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """What training came to.

    **Attributes:**

    - `model`: the model after the last finished epoch (after the best, with early
        stopping; after the last batch, if interrupted; after the last epoch of finite
        values, if stopped by others).
    - `metrics`: one row of metrics for each epoch.
    - `path`: the run directory, if any.
    - `best_epoch`: the epoch of least validation error (training error, without
        validation data; the metric of early stopping, with that), counted from 0, the
        first of equals; `None` before one is finished.
    - `stopped`: `"finished"`, `"early"` (by [`eqprop.EarlyStopping`][]),
        `"interrupted"`, or `"nonfinite"` if the cost or a parameter became NaN or
        infinite.
    - `seconds`, `compile_seconds`: time spent training, and compiling before that.
    - `memory`: the optimizer's memory at the end, for `fit(..., memory=run.memory)`.
    """

    model: Model
    metrics: list[dict[str, Any]]
    path: Path | None
    best_epoch: int | None
    stopped: str
    seconds: float
    compile_seconds: float
    memory: PyTree[Array] = None

    def __repr__(self) -> str:
        # The fields in full are thousands of characters: every weight's shape, and
        # every metric of every epoch.
        shown = {
            "path": None if self.path is None else str(self.path),
            "epochs": len(self.metrics),
            "stopped": self.stopped,
        }
        last = self.metrics[-1] if self.metrics else {}
        errors = ("train_error", "validation_error")
        parts = [f"{name}={value!r}" for name, value in shown.items()]
        parts += [
            f"{name}={last[name]:.2f}" for name in errors if last.get(name) is not None
        ]
        return f"Run({', '.join(parts)})"
