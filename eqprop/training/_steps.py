"""The checkpoints of a run: one folder a step, and two pointers."""

import contextlib
import dataclasses
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from ._checkpoint import save_checkpoint
from ._files import TEMPORARY, write_atomically


_POINTERS = ("best", "last")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclasses.dataclass(frozen=True)
class Steps:
    """A folder of checkpoints of which `last` and `best` are kept.

    The files `last` and `best` hold the name of a checkpoint's folder and its CRC-32,
    without which a flipped bit could name the other of two checkpoints.

    **Arguments:**

    - `folder`: the folder, which holds nothing else.
    """

    folder: Path

    def save(
        self, step: str, parts: dict[str, PyTree], info: dict[str, Any], *, best: bool
    ) -> None:
        """Save a checkpoint, make it `last`, and remove those no longer named.

        `last` moves after everything else: at any moment it names a whole checkpoint,
        and what a killed save had done before is done again when the run resumes.

        **Arguments:**

        - `step`: the name of its folder. If `last` or `best` is in a folder of that
            name, the new one is `<step>-2`, `<step>-3`, …
        - `parts`, `info`: as in `save_checkpoint`.
        - `best`: whether it becomes `best` too.

        **Raises:**

        - `ValueError`: `step` can't name a folder, or `parts` or `info` can't be
            stored.
        - `OSError`: the disk is full, … What `last` names is intact.
        """
        if not _NAME.fullmatch(step) or step in _POINTERS:
            raise ValueError(
                f"`step` is {step!r}, which can't name a checkpoint: use letters, "
                "digits, `.`, `_`, `-`, and neither `best` nor `last`."
            )
        self._prune()
        name, n = step, 1
        while (self.folder / name).exists():
            n += 1
            name = f"{step}-{n}"
        try:
            save_checkpoint(self.folder / name, parts, info)
            if best:
                write_atomically(self.folder / "best", _pointer(name))
            write_atomically(self.folder / "last", _pointer(name))
        except OSError:
            self._prune()
            raise
        self._prune()

    def target(self, pointer: str) -> Path:
        """The folder of the checkpoint that a pointer names.

        **Arguments:**

        - `pointer`: `"last"` or `"best"`.

        **Returns:**

        A checkpoint's folder, as `load_checkpoint` and `read_manifest` take it.

        **Raises:**

        - `ValueError`: there is no such checkpoint, or the pointer is corrupt.
        """
        if pointer not in _POINTERS:
            raise ValueError(
                f"`pointer` is {pointer!r}, but a run has only `best` and `last`."
            )
        name = self._read(pointer)
        if name is None:
            raise ValueError(
                f"There is no `{pointer}` checkpoint in {self.folder}: the run ended "
                "before one was saved. Start it anew instead of resuming it."
            )
        return self.folder / name

    def _read(self, pointer: str) -> str | None:
        path = self.folder / pointer
        if not path.is_file():
            return None
        raw = path.read_bytes()
        name = raw.decode(errors="replace").partition(" ")[0]
        if not _NAME.fullmatch(name) or raw != _pointer(name):
            raise ValueError(
                f"{path} is corrupt: it holds {raw!r}, not the name of a checkpoint "
                "and its checksum. Restore it from a copy, or use the other of `best` "
                "and `last`."
            )
        return name

    def _prune(self) -> None:
        """Remove what killed saves left, and the steps that no pointer names."""
        for path in self.folder.glob(f"{TEMPORARY}*"):
            _remove(path)
        try:
            named = [self._read(pointer) for pointer in _POINTERS]
        except ValueError:
            return  # What the corrupt pointer named must not be lost.
        for path in self.folder.glob("*"):
            if path.is_dir() and path.name not in named:
                _remove(path)


def _pointer(name: str) -> bytes:
    return f"{name} {zlib.crc32(name.encode()):08x}\n".encode()


def _remove(path: Path) -> None:
    # What can't be removed now is removed at the next save.
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()
