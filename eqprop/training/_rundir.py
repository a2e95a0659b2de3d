"""The run directory: everything a training run leaves on disk."""

import dataclasses
import json
import os
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from jaxtyping import PyTree

from ._checkpoint import load_checkpoint
from ._environment import environment
from ._files import write_atomically
from ._rows import append_row, read_rows, truncate_rows
from ._steps import Steps


@dataclasses.dataclass(frozen=True)
class RunDirectory:
    """A training run on disk.

    ```
    config.toml              the resolved configuration
    env.json                 versions, platform, threads, device
    metrics.jsonl            one row a line
    checkpoints/<step>/      model, optimizer and states
    checkpoints/last, best   the name of a step and its checksum
    ```
    Every file but `metrics.jsonl` is replaced in one step and that one only grows, so
    a kill at any moment leaves a run that can be resumed. `checkpoints` belongs to
    the run: steps that no pointer names are removed. One process writes at a time.

    **Arguments:**

    - `path`: the folder. Use `RunDirectory.create` or `RunDirectory.open`.
    """

    path: Path

    @classmethod
    def create(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """Make a new run directory.

        **Arguments:**

        - `path`: the folder, new or empty.

        **Returns:**

        The run, with no file in it yet.

        **Raises:**

        - `ValueError`: something is there already. Nothing is overwritten.
        - `OSError`: it can't be written.
        """
        path = Path(path)
        if occupied(path):
            raise _occupied(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            # Of two runs that start here at the same time, only one can make this.
            (path / "checkpoints").mkdir()
        except FileExistsError as error:
            raise _occupied(path) from error
        except OSError as error:
            raise OSError(
                error.errno,
                f"Could not make the run directory {path}: {error.strerror}. Choose "
                "a folder that can be written: `out=`, of a command `--out DIR`.",
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "RunDirectory":
        """Open an existing run directory.

        **Arguments:**

        - `path`: the folder.

        **Returns:**

        The run.

        **Raises:**

        - `ValueError`: it isn't a run; says what is missing.
        """
        path = Path(path)
        if not path.is_dir():
            raise ValueError(
                f"There is no run at {path}: no such folder. Give the folder that "
                "`eqprop train` printed as its run."
            )
        needed = ("config.toml", "checkpoints")
        missing = [name for name in needed if not (path / name).exists()]
        if missing:
            raise ValueError(
                f"{path} is not a run: it has no {' and no '.join(missing)}. Give the "
                "folder that `eqprop train` printed as its run."
            )
        return cls(path)

    @staticmethod
    def default_path(preset_name: str, seed: int) -> Path:
        """The first free `runs/<preset>-seed<seed>-<n>`, n = 1, 2, …

        **Arguments:**

        - `preset_name`: such as `scellier2017/net1`, written with `-` for `/`.
        - `seed`: the run's seed.

        **Returns:**

        A path that doesn't exist, relative to the working folder.
        """
        stem = f"{preset_name.replace('/', '-')}-seed{seed}"
        n = 1
        while (path := Path("runs") / f"{stem}-{n}").exists():
            n += 1
        return path

    def write_config(self, table: dict[str, Any]) -> None:
        """Write `config.toml`."""
        write_atomically(self.path / "config.toml", tomli_w.dumps(table).encode())

    def read_config(self) -> dict[str, Any]:
        """Read `config.toml`.

        **Raises:**

        - `ValueError`: it is missing or no TOML.
        """
        path = self.path / "config.toml"
        if not path.is_file():
            raise ValueError(f"{path} is missing, so {self.path} is not a run.")
        try:
            return tomllib.loads(path.read_bytes().decode())
        except ValueError as error:
            raise ValueError(
                f"{path} is not valid TOML: {error}. Restore it, or start a new run."
            ) from error

    def read_recipe(self, instead: str) -> dict[str, Any]:
        """The recipe that it was trained from.

        **Raises:**

        - `ValueError`: it has none, since `fit` was called from Python; `instead` is
            what to do there.
        """
        table = self.read_config()
        if "energy" not in table:
            raise ValueError(
                f"The run {self.path} was not trained from a recipe: its config.toml "
                f"has no `[energy]`. {instead}"
            )
        return table

    def write_environment(self) -> None:
        """Write `env.json`: versions, platform, threads and device."""
        text = json.dumps(environment(), indent=2) + "\n"
        write_atomically(self.path / "env.json", text.encode())

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append one row to `metrics.jsonl`, as `append_row` does."""
        append_row(self._metrics, row)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the rows of `metrics.jsonl`, as `read_rows` does."""
        return read_rows(self._metrics)

    def truncate_metrics(self, epoch: int) -> None:
        """Drop the rows of `epoch` and later epochs, as `truncate_rows` does."""
        truncate_rows(self._metrics, epoch)

    def save(
        self,
        step: str,
        parts: dict[str, PyTree],
        info: dict[str, Any],
        *,
        best: bool,
    ) -> None:
        """Save a checkpoint, make it `last`, and remove those no longer named.

        `last` moves after everything else, so it always names a whole checkpoint.

        **Arguments:**

        - `step`: the name of its folder in `checkpoints`. If `last` or `best` is in
            a folder of that name, the new one is `<step>-2`, `<step>-3`, …
        - `parts`, `info`: as in `save_checkpoint`.
        - `best`: whether it becomes `best` too.

        **Raises:**

        - `ValueError`: `step` can't name a folder, or `parts` or `info` can't be
            stored.
        - `OSError`: the disk is full, … The run's `last` checkpoint is intact.
        """
        try:
            self._steps.save(step, parts, info, best=best)
        except OSError as error:
            hint = ""
            if (self.path / "checkpoints" / "last").exists():
                hint = f" The run continues with `eqprop train --resume {self.path}`."
            raise OSError(error.errno, f"{error.strerror}{hint}") from error

    def load(
        self, pointer: str, templates: dict[str, PyTree]
    ) -> tuple[dict[str, PyTree], dict[str, Any]]:
        """Load parts of the checkpoint that a pointer names.

        **Arguments:**

        - `pointer`: `"last"` or `"best"`.
        - `templates`: as in `load_checkpoint`.

        **Returns:**

        The parts by name, and the `info` saved with them.

        **Raises:**

        - `ValueError`: there is none, it is damaged, or it doesn't fit.
        """
        return load_checkpoint(self.checkpoint(pointer), templates)

    def checkpoint(self, pointer: str) -> Path:
        """The folder of the checkpoint that a pointer names.

        **Arguments:**

        - `pointer`: `"last"` or `"best"`.

        **Returns:**

        A checkpoint's folder, as `load_checkpoint` and `read_manifest` take it.

        **Raises:**

        - `ValueError`: there is no such checkpoint, or the pointer is corrupt.
        """
        return self._steps.target(pointer)

    @property
    def _steps(self) -> Steps:
        return Steps(self.path / "checkpoints")

    @property
    def _metrics(self) -> Path:
        return self.path / "metrics.jsonl"


def occupied(path: Path) -> bool:
    """Whether a new run can't be made here, since something else is."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _occupied(path: Path) -> ValueError:
    return ValueError(
        f"`out` is {path}, which exists and is not an empty folder, and nothing is "
        "overwritten. Choose another `out`, or continue that run with "
        f"`resume={os.fspath(path)!r}`."
    )
