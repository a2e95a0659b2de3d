"""From numbers to a verdict: pure functions."""

import enum
import math
from collections.abc import Iterable, Sequence

from ._experiment import Check


class Verdict(enum.Enum):
    """What became of a published figure."""

    REPRODUCED = "REPRODUCED"
    DIFFERS = "DIFFERS"
    INCOMPLETE = "INCOMPLETE"


def judge(check: Check, values: Sequence[float], *, complete: bool) -> Verdict:
    """Whether the mean of a check's values agrees with the published range.

    $$\\text{low} - \\text{tolerance} \\le \\frac1n \\sum_k v_k
      \\le \\text{high} + \\text{tolerance}$$

    both ends included.

    **Arguments:**

    - `check`: what is published, and how near is near enough.
    - `values`: one for each seed.
    - `complete`: whether all that was to run has run to its end. If not, no value
        decides anything.
    """
    if not complete or not values:
        return Verdict.INCOMPLETE
    mean = math.fsum(values) / len(values)
    low, high = check.low - check.tolerance, check.high + check.tolerance
    # A mean that is NaN is in no range.
    return Verdict.REPRODUCED if low <= mean <= high else Verdict.DIFFERS


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on an experiment: that of its checks, the gravest of them."""
    found = set(verdicts)
    for grave in (Verdict.INCOMPLETE, Verdict.DIFFERS):
        if grave in found:
            return grave
    return Verdict.REPRODUCED if found else Verdict.INCOMPLETE
