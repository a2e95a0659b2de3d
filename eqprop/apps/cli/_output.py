"""Results on the standard output, for people or for programs."""

import json
import math
import os
import shlex
import shutil
import sys
from collections.abc import Iterable
from typing import Any


def print_json(table: dict[str, Any]) -> None:
    """Prints one JSON object on one line; numbers that aren't finite become null."""
    print(json.dumps(_finite(table)), flush=True)


def print_rows(rows: Iterable[tuple[str, str]]) -> None:
    """Prints names and values in two columns."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print(f"{name:{width}}  {value}".rstrip())


def program() -> str:
    """What to type to run this program again: its path, where it isn't on PATH."""
    path = sys.argv[0]
    on_path = shutil.which("eqprop")
    if on_path is None and os.path.basename(path) == "eqprop":
        return shlex.quote(os.path.relpath(path))
    return "eqprop"


def percent(value: float | None) -> str:
    """An error of `value` percent."""
    return "unknown" if value is None else f"{value:.2f} %"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
