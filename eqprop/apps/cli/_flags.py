"""Fields of the configuration from flags and from the environment."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any


SECTIONS = ("data", "energy", "cost", "method", "optimizer", "training")


def split_flags(tokens: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Takes the dotted flags, `--method.nudging.beta 0.2`, out of the arguments.

    **Arguments:**

    - `tokens`: the arguments of the program.

    **Returns:**

    The other arguments, and the table that the dotted ones make. Values are TOML;
    what isn't TOML is a string. Hyphens in names stand for underscores.

    **Raises:**

    - `ValueError`: a flag without value, or one that sets a field of another's value.
    """
    rest, table = [], {}
    queue = list(tokens)
    while queue:
        token = queue.pop(0)
        name, equals, text = token.partition("=")
        if token == "--":
            return [*rest, token, *queue], table
        if not name.startswith("--") or "." not in name:
            rest.append(token)
            continue
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise ValueError(f"`{name}` needs a value, as in `{name} VALUE`.")
            text = queue.pop(0)
        path = name[2:].replace("-", "_").split(".")
        put(table, path, parse_value(text), name)
    return rest, table


def environment_table(environ: Mapping[str, str]) -> dict[str, Any]:
    """The table that variables such as `EQPROP_TRAINING__EPOCHS=3` make.

    **Raises:**

    - `ValueError`: a variable names no section, or separates it with one underscore.
    """
    table: dict[str, Any] = {}
    for name in sorted(environ):
        path = name.lower().removeprefix("eqprop_").split("__")
        if not name.startswith("EQPROP_"):
            continue
        if len(path) > 1:
            put(table, path, parse_value(environ[name]), name)
        elif name not in _NOT_FIELDS and path[0].split("_")[0] in SECTIONS:
            section, _, field = path[0].upper().partition("_")
            raise ValueError(
                f"The environment variable {name} is no field of the configuration. "
                f"Write EQPROP_{section}__{field or 'FIELD'}, with two underscores "
                "where the dot is."
            )
    return table


# Not configuration: where data sets lie.
_NOT_FIELDS = ("EQPROP_DATA",)


def parse_value(text: str) -> Any:
    """A value as TOML has it; a number such as `.5` that TOML hasn't; else a string."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        pass
    else:
        if list(parsed) == ["value"]:
            return parsed["value"]
    try:
        return float(text)
    except ValueError:
        return text


def put(table: dict[str, Any], path: Sequence[str], value: Any, name: str) -> None:
    """Sets the field at `path`; `name` is what the user wrote, for errors."""
    for key in path[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ValueError(
                f"`{name}` sets a field of `{key}`, which another one sets to "
                f"{table!r}. Set the one or the other."
            )
    if not all(path):
        raise ValueError(f"`{name}` names no field: write `--training.epochs 3`.")
    if isinstance(table.get(path[-1]), dict) and not isinstance(value, dict):
        raise ValueError(
            f"`{name}` is set to {value!r}, but fields of it are set too. Set the one "
            "or the other."
        )
    table[path[-1]] = value
