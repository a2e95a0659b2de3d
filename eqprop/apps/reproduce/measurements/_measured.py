from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


_Numbers = Sequence[float] | np.ndarray


class Measured(NamedTuple):
    """What a measurement came to.

    **Attributes:**

    - `values`: the numbers that checks can name.
    - `panels`: its figure as plain JSON, made by `panel`.
    """

    values: dict[str, float]
    panels: list[dict[str, Any]]


def panel(
    x: str, y: str, lines: Sequence[dict[str, Any]], *, log: Sequence[str] = ()
) -> dict[str, Any]:
    """A panel of a figure, as plain JSON.

    **Arguments:**

    - `x`, `y`: the labels of the axes.
    - `lines`: each made by `line`.
    - `log`: which axes are logarithmic, of `"x"` and `"y"`.
    """
    return {"title": "", "x": x, "y": y, "log": list(log), "lines": list(lines)}


def line(
    label: str, x: _Numbers, y: _Numbers, *, points: bool = False
) -> dict[str, Any]:
    """A line of a panel, or markers without a line."""
    drawn: dict[str, Any] = {"label": label, "x": _short(x), "y": _short(y)}
    return drawn | ({"points": True} if points else {})


def _short(values: _Numbers) -> list[float]:
    # Enough for a figure; what is checked is in `values`, in full.
    return [float(f"{v:.5g}") for v in np.asarray(values)]
