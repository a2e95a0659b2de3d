"""A log of JSON rows, one a line, that a kill can't spoil."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from ._files import plain, write_atomically


def append_row(path: Path, row: dict[str, Any]) -> None:
    """Append one row and wait until the disk has it.

    **Arguments:**

    - `path`: the file, made if it doesn't exist.
    - `row`: plain JSON. A number that is not finite is written as `null`.

    **Raises:**

    - `ValueError`: `row` isn't plain JSON.
    - `OSError`: the disk is full, … The rows already written are intact.
    """
    line = json.dumps(plain(row, "row")).encode() + b"\n"
    try:
        with open(path, "ab", buffering=0) as file:
            # Glued to a line torn by a kill, this row would be lost with it.
            whole = len(_whole_lines(path.read_bytes()))
            file.truncate(whole)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(whole)
                raise
    except OSError as error:
        raise OSError(
            error.errno,
            f"Could not append to {path}: {error.strerror}. The rows already in it "
            "are intact. Free some space or make the file writable, then try again.",
        ) from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read the rows, but for a last line torn by a kill.

    **Arguments:**

    - `path`: the file. One that doesn't exist has no rows.

    **Returns:**

    The rows in order.

    **Raises:**

    - `ValueError`: a line is corrupt.
    """
    return [row for _, row in _lines_and_rows(path)]


def truncate_rows(path: Path, epoch: int) -> None:
    """Drop the rows whose `epoch` is `epoch` or later, to write them again.

    **Arguments:**

    - `path`: the file.
    - `epoch`: the first epoch that will be run again.

    **Raises:**

    - `ValueError`: a line is corrupt.
    - `OSError`: the disk is full, … The file is unchanged.
    """
    lines = [
        line
        for line, row in _lines_and_rows(path)
        if "epoch" not in row or row["epoch"] < epoch
    ]
    write_atomically(path, b"".join(lines))


def _lines_and_rows(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    if not path.is_file():
        return []
    lines = _whole_lines(path.read_bytes()).splitlines(keepends=True)
    return [(line, _row(path, n, line)) for n, line in enumerate(lines, 1)]


def _whole_lines(raw: bytes) -> bytes:
    return raw[: raw.rfind(b"\n") + 1]


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _corrupt(path, number, str(error)) from error
    if not isinstance(row, dict):
        raise _corrupt(path, number, f"it holds {row!r} and no object")
    return row


def _corrupt(path: Path, number: int, problem: str) -> ValueError:
    return ValueError(
        f"{path} is corrupt in line {number}: {problem}. Remove that line, or restore "
        "the file from a copy."
    )
