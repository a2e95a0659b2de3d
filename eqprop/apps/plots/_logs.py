import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...training import Run, RunDirectory


# Not what was run: what it was called.
_NOTES = ("title", "source", "comment", "preset")


@dataclasses.dataclass(frozen=True)
class Log:
    """The metrics of a run, and what it was."""

    name: str
    rows: list[dict[str, Any]]
    config: dict[str, Any]

    def column(self, *path: str) -> Float[np.ndarray, " epochs"] | None:
        """One metric for every epoch, NaN where it wasn't finite; `None` if this run
        has no such metric."""
        values = []
        for row in self.rows:
            value: Any = row
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            values.append(np.nan if value is None else float(value))
        known = any(path[0] in row for row in self.rows)
        return np.asarray(values) if known else None

    @property
    def epochs(self) -> Float[np.ndarray, " epochs"]:
        """How many epochs were done at each row."""
        return np.asarray([float(row["epoch"]) + 1 for row in self.rows])

    @property
    def recipe(self) -> dict[str, str]:
        """The configuration without its seed and its notes, each field by its path:
        what runs that may be averaged have in common."""
        kept = {k: v for k, v in self.config.items() if k not in _NOTES}
        flat = dict(_flattened(kept))
        flat.pop("training.seed", None)
        return flat

    @property
    def known(self) -> bool:
        """Whether the configuration says what the run was, and not only parts of it:
        an energy of one's own has no name that a file could hold."""
        return "energy" in self.config


def read_log(run: Run | str | os.PathLike[str]) -> Log:
    """The log of a run.

    **Raises:**

    - `ValueError`: it is no run, or no epoch was finished.
    """
    if isinstance(run, Run):
        name, rows = "run" if run.path is None else str(run.path), run.metrics
        config = {} if run.path is None else RunDirectory.open(run.path).read_config()
    else:
        directory = RunDirectory.open(run)
        name, rows = str(Path(run)), directory.read_metrics()
        config = directory.read_config()
    if not rows:
        raise ValueError(
            f"`{name}` has no finished epoch, so it has no curves. Train it on: "
            f"`eqprop train --resume {name}`."
        )
    return Log(name, rows, config)


def grouped_by_recipe(logs: Sequence[Log]) -> dict[str, list[Log]]:
    """Runs that differ in their seed alone, together, under what tells their group from
    the others.

    A run whose configuration doesn't hold its energy stays by itself: nothing says that
    another has the same.
    """
    groups: dict[str, list[Log]] = {}
    for log in logs:
        alone = "" if log.known else log.name
        groups.setdefault(f"{sorted(log.recipe.items())}{alone}", []).append(log)
    members = list(groups.values())
    labels = [
        _difference(group[0], [other[0] for other in members]) for group in members
    ]
    # What the files don't tell apart, their folders do.
    return {
        label if label and labels.count(label) == 1 else group[0].name: group
        for label, group in zip(labels, members, strict=True)
    }


def _difference(log: Log, others: Sequence[Log]) -> str:
    told = []
    for path, value in log.recipe.items():
        if any(other.recipe.get(path) != value for other in others):
            *_, name = path.split(".")
            told.append(value if name == "type" else f"{name} {value}")
    return ", ".join(told)


def _flattened(table: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(table, dict):
        yield path, str(table)
        return
    for name, value in table.items():
        yield from _flattened(value, f"{path}.{name}" if path else name)
