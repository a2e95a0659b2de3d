"""Files that are whole or absent, whatever kills the writer, and plain JSON values."""

import contextlib
import math
import os
from pathlib import Path
from typing import Any


# Names under which unfinished files and folders are written. A kill can leave them
# behind; nothing ever reads them.
TEMPORARY = ".tmp-"


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a rename alone can be lost with the power."""
    if os.name == "nt":  # Windows opens no folder; its renames are journaled.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and wait until the disk has it."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content in one step: a kill leaves the old or the new, whole.

    **Arguments:**

    - `path`: the file.
    - `data`: its new content.

    **Raises:**

    - `OSError`: the disk is full, the folder can't be written, …
    """
    temporary = path.with_name(TEMPORARY + path.name)
    try:
        write_synced(temporary, data)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OSError(
            error.errno,
            f"Could not write {path}: {error.strerror}. Its previous content is "
            "intact. Free some space or make the folder writable, then try again.",
        ) from error


def plain(value: Any, where: str) -> Any:
    """Turn a value into one that JSON can hold without loss.

    NumPy and JAX numbers and arrays become Python numbers and lists, tuples become
    lists, and a number that is not finite becomes `None`, JSON having no word for it.

    **Arguments:**

    - `value`: the value.
    - `where`: what it is, for the error.

    **Returns:**

    Nested dictionaries, lists, strings, finite numbers, booleans and `None`.

    **Raises:**

    - `ValueError`: something in it is none of these.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise ValueError(
        f"`{where}` must be plain JSON (numbers, strings, lists, dictionaries with "
        f"string keys), but it is {value!r}, a `{type(value).__name__}`. Arrays to "
        "be restored belong in `parts`."
    )
