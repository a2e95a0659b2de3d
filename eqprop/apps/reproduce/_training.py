"""The training runs of experiments: each recipe and seed once, resumed where it was."""

import dataclasses
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..._presets import read_preset
from ...data import Splits
from ...training import (
    build,
    DivergenceWarning,
    evaluate,
    fit,
    Progress,
    Recipe,
    resolve,
    Run,
    RunDirectory,
)
from ...training._config import merge
from ...training._files import write_atomically
from ._experiment import Variant


_NOTES = ("title", "source", "comment", "preset")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A training run, as far as it came.

    **Attributes:**

    - `rows`: its metrics, a row for each epoch.
    - `epochs`: how many epochs its recipe asks for.
    - `ended`: whether nothing is left to do: all epochs are done, or it has diverged.
    - `diverged`: whether its cost or a parameter became NaN or infinite.
    - `test_error`: of the model as it is now, in percent; `None` without test data.
    - `seconds`, `cpu_seconds`: what it took, over all the times it was gone on with.
    """

    rows: list[dict[str, Any]]
    epochs: int
    ended: bool
    diverged: bool
    test_error: float | None
    seconds: float
    cpu_seconds: float


def recipe_table(
    variant: Variant, seed: int, data_dir: Path | None = None
) -> dict[str, Any]:
    """The whole recipe of a run, every default filled in.

    **Raises:**

    - `ValueError`: its preset doesn't exist, or a change fits no field.
    """
    table = _merged(variant, seed)
    if data_dir is not None and table.get("data", {}).get("type") != "digits":
        folder = os.path.abspath(os.path.expanduser(data_dir))
        table = merge(table, {"data": {"folder": folder}})
    return resolve(table)


def recipe_key(variant: Variant, seed: int) -> str:
    """A short name of what a run's recipe says, notes left out.

    Defaults are no part of it: a class that gains a field keeps the runs made before.
    """
    table = _merged(variant, seed)
    bare = {name: part for name, part in table.items() if name not in _NOTES}
    text = json.dumps(bare, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _merged(variant: Variant, seed: int) -> dict[str, Any]:
    table = {} if variant.preset is None else read_preset(variant.preset)
    for layer in variant.layers:
        table = merge(table, layer)
    return merge(table, {"training": {"seed": seed}})


def _require_same(path: Path, old: Any, new: Any, field: str = "") -> None:
    """Raises a `ValueError` if a run was made by other numbers than those of today;
    fields that it doesn't have are new, and have their defaults."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() - {*_NOTES, "folder"}:
            below = f"{field}.{name}" if field else name
            _require_same(path, old[name], new.get(name), below)
    elif old != new:
        raise ValueError(
            f"the run in {path} was made with `{field}` = {old!r}, but the recipe now "
            f"has {new!r}: a default has changed since. Choose another folder with "
            "`--out`, or remove that one."
        )


class Runs:
    """A folder of training runs. A recipe and seed that any experiment has trained
    there is not trained again, and one that was cut short goes on where it was.

    **Arguments:**

    - `folder`: where the runs are; made if it isn't there.
    - `data_dir`: where the data sets lie.
    - `progress`, `should_stop`: as for [`eqprop.fit`][].
    - `note`: told which run is next.
    """

    def __init__(
        self,
        folder: Path,
        *,
        data_dir: Path | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
        note: Callable[[str], None] = lambda _: None,
    ):
        self.folder, self.data_dir = folder, data_dir
        self.progress, self.should_stop, self.note = progress, should_stop, note
        self._splits: dict[str, Splits] = {}

    def train(self, variant: Variant, seed: int) -> Trained:
        """Trains a run to its end, or until it should stop."""
        table = recipe_table(variant, seed, self.data_dir)
        name = (variant.preset or "recipe").replace("/", "-")
        path = self.folder / f"{name}-seed{seed}-{recipe_key(variant, seed)}"
        recipe = build(table)
        if self.should_stop() and not path.is_dir():
            return Trained([], recipe.training["epochs"], False, False, None, 0.0, 0.0)
        self.note(f"{variant.name}, seed {seed}")
        splits = self._read(recipe)
        clock = _Clock(path.with_name(f"{path.name}.cpu"))
        run = self._fit(recipe, splits, path, clock)
        test_error = None
        if splits.test is not None and run.metrics:
            found = evaluate(run.model, splits.test, recipe.method.free_solver())
            test_error = found["error"]
        # A run that was done already costs only what it did then.
        if run.compile_seconds > 0:
            clock.tick()
        diverged = run.stopped == "nonfinite"
        return Trained(
            run.metrics,
            recipe.training["epochs"],
            diverged or len(run.metrics) == recipe.training["epochs"],
            diverged,
            test_error,
            run.seconds,
            clock.seconds,
        )

    def _fit(self, recipe: Recipe, splits: Splits, path: Path, clock: "_Clock") -> Run:
        begun = (path / "checkpoints" / "last").is_file()
        if not begun and path.is_dir():
            # Killed before its first checkpoint: there is nothing to go on from.
            shutil.rmtree(path)
        if begun:
            _require_same(path, RunDirectory.open(path).read_config(), recipe.table)
        where: dict[str, Any] = {"resume" if begun else "out": path}

        def progress(at: Progress) -> None:
            if at.phase == "epoch":
                clock.tick()
            self.progress(at)

        # The report says it.
        quiet = warnings.catch_warnings(action="ignore", category=DivergenceWarning)
        with quiet:
            return fit(
                recipe.model(),
                splits,
                recipe.method,
                recipe.optimizer,
                **recipe.training,
                **where,
                config=recipe.table,
                progress=progress,
                should_stop=self.should_stop,
            )

    def _read(self, recipe: Recipe) -> Splits:
        key = json.dumps(recipe.table["data"], sort_keys=True)
        if key not in self._splits:
            self._splits[key] = recipe.data()
        return self._splits[key]


class _Clock:
    """Seconds of processor time that a run took, kept in a file beside it: a run may
    be gone on with by many processes."""

    def __init__(self, file: Path):
        self.file = file
        self.seconds = float(file.read_text("utf-8")) if file.is_file() else 0.0
        self._at = time.process_time()

    def tick(self) -> None:
        """Adds what this process used since it was last asked."""
        now = time.process_time()
        # As the file will have it.
        self.seconds, self._at = round(self.seconds + now - self._at, 3), now
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, f"{self.seconds:.3f}\n".encode())
