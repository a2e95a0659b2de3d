"""The figure of training runs, as plain JSON: a panel for each metric."""

from collections.abc import Mapping, Sequence
from typing import Any

from ._experiment import Panel


def training_panels(
    panels: Sequence[Panel],
    runs: Sequence[Mapping[str, Any]],
    checks: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """The curves of every run over its epochs: the mean over seeds, their extremes, and
    what the checks accept.

    **Arguments:**

    - `panels`: what is drawn. A metric that no run has is left out; one that has a
        number for each layer gets a line for each.
    - `runs`: as a result holds them.
    - `checks`: as a result holds them.

    **Returns:**

    Panels as those of a [`Measured`][], with `low` and `high` beside `y` where there
    are several seeds, and `bands`, each a `label`, `low` (perhaps `None`) and `high`.
    """
    drawn = []
    for panel in panels:
        lines = _lines(panel.metric, runs)
        if lines:
            drawn.append(
                {
                    "title": "",
                    "x": "epoch",
                    "y": panel.label,
                    "log": ["y"] if panel.log else [],
                    "lines": lines,
                    "bands": _bands(panel.metric, checks),
                }
            )
    return drawn


def _lines(metric: str, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(run["name"] for run in runs))
    lines = []
    for name in names:
        own = [run["curves"] for run in runs if run["name"] == name]
        kinds = dict.fromkeys(k for curves in own for k in curves)
        for kind in kinds:
            base, _, part = kind.partition("/")
            if base != metric:
                continue
            label = part if part and len(names) == 1 else f"{name} {part}".strip()
            seeds = [curves[kind] for curves in own if kind in curves]
            lines.append({"label": label, **_statistics(seeds)})
    return lines


def _statistics(seeds: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Mean and extremes for as many epochs as all seeds have."""
    epochs = min(map(len, seeds))
    columns = [[seed[k] for seed in seeds] for k in range(epochs)]
    kept = [
        (k + 1, [v for v in column if v is not None])
        for k, column in enumerate(columns)
        if None not in column
    ]
    line: dict[str, Any] = {
        "x": [epoch for epoch, _ in kept],
        "y": [sum(values) / len(values) for _, values in kept],
    }
    if len(seeds) > 1:
        line["low"] = [min(values) for _, values in kept]
        line["high"] = [max(values) for _, values in kept]
    return line


def _bands(metric: str, checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is accepted, each range once. One that is open above only says what must
    not come out, and would fill the panel."""
    bands = []
    for check in checks:
        alone = check["minus"] is None and check["over"] is None
        if alone and check["metric"] == metric and check["high"] is not None:
            low, tolerance = check["low"], check["tolerance"]
            band = {
                "label": f"published: {check['published']}",
                "low": None if low is None else low - tolerance,
                "high": check["high"] + tolerance,
            }
            bands += [] if band in bands else [band]
    return bands
