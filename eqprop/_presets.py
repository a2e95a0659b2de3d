"""The recipes that come with the package. Knows no JAX: `--help` lists them too."""

import difflib
import tomllib
from pathlib import Path
from typing import Any


_FOLDER = Path(__file__).parent / "training" / "presets"


def list_presets() -> list[str]:
    """The names of the recipes that come with the package.

    **Returns:**

    Names such as `digits` and `scellier2017/net1`, sorted.
    """
    files = _FOLDER.rglob("*.toml")
    return sorted(
        file.relative_to(_FOLDER).with_suffix("").as_posix() for file in files
    )


def read_preset(name: str) -> dict[str, Any]:
    """Reads a recipe that comes with the package.

    **Arguments:**

    - `name`: one of [`eqprop.training.list_presets`][].

    **Returns:**

    Its table, which says what differs from the defaults.
    [`eqprop.training.resolve`][] fills in the rest.

    **Raises:**

    - `ValueError`: there is no such preset.
    """
    names = list_presets()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"There is no preset {name!r}.{hint} Presets: {', '.join(names)}. For a "
            "recipe of your own write `eqprop train --config FILE`."
        )
    return tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
