"""The recipe of a run: preset, file, environment and flags, in rising order."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._flags import environment_table


DEFAULT = "digits"
_OBJECTS = ("data", "energy", "cost", "method", "optimizer")


def configure(
    preset: str | None,
    file: Path | None,
    flags: dict[str, Any],
    environ: Mapping[str, str] = os.environ,
) -> dict[str, Any]:
    """The complete recipe, its `preset` naming where it starts.

    A file that has all parts is a recipe of its own; any other, and any file given
    beside a preset, is laid over the preset.

    **Raises:**

    - `ValueError`, `OSError`: a layer can't be read, or has an unknown field or a value
        of the wrong type; says which.
    """
    from ..._presets import read_preset
    from ...training._config import merge
    from ...training._recipe import resolve

    given = {} if file is None else _read_file(file)
    alone = preset is None and all(name in given for name in _OBJECTS)
    if alone and file is not None:
        table = {"preset": file.stem}
    else:
        name = preset or DEFAULT
        table = resolve(read_preset(name)) | {"preset": name}
    layers = ((str(file), given), ("environment", environment_table(environ)))
    for source, layer in (*layers, ("", flags)):
        if not layer:
            continue
        try:
            table = resolve(merge(table, layer))
        except ValueError as error:
            raise ValueError(f"{source}: {error}" if source else str(error)) from error
    return table


def _read_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise FileNotFoundError(
            f"`--config` is {file}, but there is no such file. For a recipe that comes "
            "with eqprop write its name alone, as in `eqprop train mnist`."
        )
    try:
        return tomllib.loads(file.read_bytes().decode())
    except ValueError as error:
        raise ValueError(f"`--config`: {file} is not valid TOML: {error}.") from error
