"""Progress on the standard error: a live bar, or plain lines without a terminal."""

import contextlib
import sys
from typing import Any, TYPE_CHECKING


if TYPE_CHECKING:
    from ...training import Progress


class Reporter(contextlib.AbstractContextManager["Reporter"]):
    """Shows a [`eqprop.training.Progress`][] whenever `fit` calls it with one."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = _bar(self._console) if self._console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", numbers="")

    def __enter__(self) -> "Reporter":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Prints a line beside the bar."""
        self._console.print(text, markup=False)

    def __call__(self, progress: "Progress") -> None:
        if progress.phase == "epoch":
            self.note(epoch_line(progress))
        if self._bar is None or self._task is None:
            return
        done = {"train": progress.batch, "compile": 0}.get(
            progress.phase, progress.batches
        )
        label = {"compile": "compiling", "validate": "validating"}
        self._bar.update(
            self._task,
            total=progress.batches,
            completed=done,
            description=label.get(progress.phase, _epoch(progress)),
            numbers=live_numbers(progress.metrics),
        )


def epoch_line(progress: "Progress") -> str:
    """What a finished epoch came to, in a line."""
    seconds = progress.metrics.get("seconds")
    took = "" if seconds is None else f"  {seconds:.1f} s"
    return f"{_epoch(progress)}  {numbers(progress.metrics)}{took}"


def numbers(metrics: dict[str, Any]) -> str:
    """The numbers of a finished epoch."""
    parts = [
        ("train error", metrics.get("train_error"), "{:5.2f} %"),
        ("validation error", metrics.get("validation_error"), "{:5.2f} %"),
        ("cost", metrics.get("train_cost"), "{:.4f}"),
        ("converged", _percent(metrics.get("converged")), "{:.1f} %"),
        ("residual", metrics.get("residual"), "{:.1e}"),
    ]
    return _joined(parts)


def live_numbers(metrics: dict[str, Any]) -> str:
    """The running numbers beside the bar, short enough for 80 columns."""
    parts = [
        ("error", metrics.get("error", metrics.get("train_error")), "{:.2f} %"),
        ("cost", metrics.get("cost", metrics.get("train_cost")), "{:.3f}"),
        ("converged", _percent(metrics.get("converged")), "{:.0f} %"),
        ("±", metrics.get("residual"), "{:.0e}"),
    ]
    return _joined(parts)


def _joined(parts: list[tuple[str, float | None, str]]) -> str:
    shown = [f"{n} {style.format(v)}" for n, v, style in parts if v is not None]
    return "  ".join(shown)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def warn(text: str) -> None:
    """Prints a line to the standard error."""
    print(text, file=sys.stderr, flush=True)


def _epoch(progress: "Progress") -> str:
    width = len(str(progress.epochs))
    return f"epoch {progress.epoch + 1:{width}}/{progress.epochs}"


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=8),
        MofNCompleteColumn(),
        TextColumn("{task.fields[numbers]}"),
        console=console,
        transient=True,
    )
