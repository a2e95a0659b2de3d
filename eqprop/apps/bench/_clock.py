"""Time, measured so that the machine's moods meet all alike."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax


# Threads of these go on spinning for some milliseconds after their last product, at the
# cost of whatever else runs next.
_SPINNING = ("numpy", "torch")
_PAUSE = 0.03


@dataclasses.dataclass(frozen=True)
class Spread:
    """The median of some numbers, and their extremes."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float], scale: float = 1.0) -> "Spread":
        """The spread of the values, each multiplied by `scale`."""
        scaled = [scale * value for value in values]
        return Spread(statistics.median(scaled), min(scaled), max(scaled))

    @staticmethod
    def of_ratio(above: Sequence[float], below: Sequence[float]) -> "Spread":
        """The spread of the ratio, taken round by round."""
        return Spread.of([a / b for a, b in zip(above, below, strict=True)])

    def table(self) -> dict[str, float]:
        """As JSON has it."""
        return dataclasses.asdict(self)


def seconds(run: Callable[[], Any]) -> float:
    """How long a run takes until its results are there."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - started


def in_rounds(
    runs: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, list[float]]:
    """Seconds of every run in every round, after one round to warm up. A name's first
    word says by what it computes.

    A round runs each once, so that a change of the machine's speed meets all; where it
    begins moves on from round to round, so that none always follows the same one.
    """
    names = list(runs)
    found: dict[str, list[float]] = {name: [] for name in names}
    last = ""
    for k in range(-1, rounds):
        first = k % len(names)
        for name in names[first:] + names[:first]:
            if last in _SPINNING and not name.startswith(last):
                time.sleep(_PAUSE)
            last = name.partition(" ")[0]
            taken = seconds(runs[name])
            if k >= 0:
                found[name].append(taken)
    return found
