"""Objects as plain tables and back: what TOML files and the command line hold."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ..relaxation import shortest
from ._registry import (
    candidates,
    did_you_mean,
    Form,
    forms,
    MISSING,
    Parameter,
    parameters,
    REGISTRY,
)


# TOML has no word for None. An absent key means the default; where that isn't None,
# this does.
_NONE = "none"


def to_table(part: eqx.Module) -> dict[str, Any]:
    """Writes an object as a table: `type`, the name of its class, and its fields.

    `Centered(beta=0.2)` becomes `{"type": "Centered", "beta": 0.2}`. Objects in fields
    become nested tables. A number held as an array becomes the shortest decimal that
    gives the same array again.

    **Arguments:**

    - `part`: an object made of public classes and plain values: a solver, a nudging,
        an estimator, an optimizer, a unit, a cost, …

    **Returns:**

    Nested dictionaries, lists, numbers, strings and booleans.

    **Raises:**

    - `ValueError`: it is of a class of your own, or holds what TOML can't.
    """
    name = type(part).__name__
    if REGISTRY.get(name) is not type(part):
        raise ValueError(
            f"`{name}` can't be written in a configuration, which holds only: "
            f"{', '.join(sorted(REGISTRY))}. Make such a part in Python and call "
            "`ep.fit`."
        )
    table: dict[str, Any] = {"type": name}
    for field in parameters(type(part)):
        value = getattr(part, field.name)
        _writable(field, type(part))
        if value is not None:
            table[field.name] = _plain(value, f"{name}.{field.name}")
        elif field.default is not None:
            table[field.name] = _NONE
    return resolve_part(type(part), table, name)


def resolve_part(
    kind: type, table: Any, path: str, default: eqx.Module | None = None
) -> dict[str, Any]:
    """Completes the table of a part with the defaults, and checks names and types.

    **Arguments:**

    - `kind`: the class that the part must be.
    - `table`: its `type` and fields. Without `type` it changes fields of `default`.
    - `path`: where the table is, as in `method.solver`, for errors.

    **Returns:**

    The table with `type` and every field, but for those that are `None`.

    **Raises:**

    - `ValueError`: an unknown type or field, a missing field, a value of another type.
    """
    if not isinstance(table, dict):
        raise ValueError(
            f"`{path}` is {table!r}, but it must be a table with a `type`: one of "
            f"{_listed(kind)}. Write `{path}.type`."
        )
    if "type" not in table and default is not None:
        table = to_table(default) | table
    made = _chosen(kind, table, path)
    given = {name: value for name, value in table.items() if name != "type"}
    fields = resolve_fields(parameters(made), given, path, made.__name__)
    return {"type": made.__name__} | fields


def resolve_fields(
    known: Sequence[Parameter], given: dict[str, Any], path: str, owner: str
) -> dict[str, Any]:
    """As `resolve_part`, for the fields alone; `owner` is what they belong to."""
    ways = {field.name: _writable(field, owner) for field in known}
    for name in given:
        if name not in ways:
            raise ValueError(
                f"`{path}.{name}` is unknown: `{owner}` has no field `{name}`."
                f"{_nearest(name, list(ways))}"
            )
    resolved = {}
    for field in known:
        where = f"{path}.{field.name}"
        if field.name in given:
            value = _checked(ways[field.name], given[field.name], where, field)
        elif field.default is MISSING:
            raise ValueError(
                f"`{where}` is missing: `{owner}` needs it. Add it to `[{path}]`, or "
                f"pass `--{where} VALUE`."
            )
        else:
            value = None if field.default is None else _plain(field.default, where)
        if value is not None:
            resolved[field.name] = value
        elif field.default is not None:
            resolved[field.name] = _NONE
    return resolved


def build_part(kind: type, table: dict[str, Any], path: str, **given: Any) -> Any:
    """Makes the part that a table from `resolve_part` describes.

    **Arguments:**

    - `kind`, `table`, `path`: as for `resolve_part`.
    - `given`: arguments that no table holds, such as `key`.

    **Raises:**

    - `ValueError`: what the part itself says of its arguments, with the path.
    """
    made = _chosen(kind, table, path)
    fields = {field.name: field for field in parameters(made)}
    values = {
        name: _built(fields[name], value, f"{path}.{name}")
        for name, value in table.items()
        if name != "type"
    }
    try:
        return made(**values, **given)
    except ValueError as error:
        raise ValueError(f"`{path}`: {error}") from error


def build_fields(
    known: Sequence[Parameter], table: dict[str, Any], path: str
) -> dict[str, Any]:
    """The values of fields from `resolve_fields`, by name."""
    fields = {field.name: field for field in known}
    return {
        name: _built(fields[name], value, f"{path}.{name}")
        for name, value in table.items()
    }


def merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    """Lays one table over another.

    Tables in tables are merged too, unless the higher names another `type`: then the
    fields of the lower belong to something else and are dropped.
    """
    if "type" in high and high["type"] != low.get("type"):
        return dict(high)
    merged = dict(low)
    for name, value in high.items():
        below = low.get(name)
        if isinstance(value, dict) and isinstance(below, dict):
            merged[name] = merge(below, value)
        else:
            merged[name] = value
    return merged


def _chosen(kind: type, table: dict[str, Any], path: str) -> Callable[..., Any]:
    known = candidates(kind)
    listed = f"It can be: {_listed(kind)}."
    name = table.get("type")
    if name is None:
        if len(known) == 1:
            return next(iter(known.values()))
        raise ValueError(f"`{path}` needs a `type`. {listed}")
    if not isinstance(name, str):
        raise ValueError(f"`{path}.type` is {name!r}, but it must be a name. {listed}")
    if name not in known:
        what = (
            f"which is no `{kind.__name__}`" if name in REGISTRY else "which is unknown"
        )
        raise ValueError(
            f"`{path}.type` is {name!r}, {what}.{did_you_mean(name, known)} {listed}"
        )
    return known[name]


def _listed(kind: type) -> str:
    writable = [
        name
        for name, made in candidates(kind).items()
        if all(forms(field.annotation) for field in parameters(made))
    ]
    return ", ".join(writable)


def _nearest(name: str, names: Sequence[str]) -> str:
    """What a field may have been meant to be, whose it is, and which there are."""
    owners = [
        known
        for known, made in REGISTRY.items()
        if any(field.name == name for field in parameters(made))
    ]
    hint = (
        f" It is one of {', '.join(owners)}." if owners else did_you_mean(name, names)
    )
    return f"{hint} Its fields are: {', '.join(names) or 'none'}."


def _writable(field: Parameter, owner: Any) -> tuple[Form, ...]:
    ways = forms(field.annotation)
    if ways:
        return ways
    raise ValueError(
        f"`{getattr(owner, '__name__', owner)}` can't be written in a configuration: "
        f"TOML can't hold its `{field.name}`. Make it in Python and call `ep.fit`."
    )


def _checked(ways: Sequence[Form], value: Any, path: str, field: Parameter) -> Any:
    """A value in its canonical form, `None` for "none"."""
    by_kind = {way.kind: way for way in ways}
    if value == _NONE and "none" in by_kind and "string" not in by_kind:
        return None
    if isinstance(value, dict) and "table" in by_kind:
        part = by_kind["table"].part
        assert part is not None
        default = field.default if isinstance(field.default, eqx.Module) else None
        return resolve_part(part, value, path, default)
    if isinstance(value, list) and "list" in by_kind:
        items = by_kind["list"].items
        return [
            _checked(items, item, f"{path}[{k}]", field) for k, item in enumerate(value)
        ]
    if isinstance(value, bool):
        fits = "boolean" in by_kind
    elif isinstance(value, int) and "integer" not in by_kind and "number" in by_kind:
        return float(value)
    else:
        kinds = {int: "integer", float: "number", str: "string"}
        fits = kinds.get(type(value)) in by_kind
    if not fits:
        raise _mismatch(ways, value, path)
    return value


def _mismatch(ways: Sequence[Form], value: Any, path: str) -> ValueError:
    expected = " or ".join(dict.fromkeys(str(way) for way in ways))
    fix = ""
    for way in ways:
        if way.part is not None:
            fix = (
                f" Set `{path}.type` to one of {_listed(way.part)}, and its fields "
                "beside it."
            )
    return ValueError(
        f"`{path}` is {value!r}, {_word(value)}, but it must be {expected}.{fix}"
    )


def _word(value: Any) -> str:
    words = {bool: "a boolean", int: "an integer", float: "a floating-point number"}
    words |= {str: "a string", list: "a list", dict: "a table"}
    return words.get(type(value), type(value).__name__)


def _built(field: Parameter, value: Any, path: str) -> Any:
    ways = {way.kind: way for way in forms(field.annotation)}
    if isinstance(value, dict):
        part = ways["table"].part
        assert part is not None
        return build_part(part, value, path)
    if value == _NONE and "none" in ways and "string" not in ways:
        return None
    return value


def _plain(value: Any, path: str) -> Any:
    if isinstance(value, eqx.Module):
        return to_table(value)
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{path}[{k}]") for k, item in enumerate(value)]
    if isinstance(value, (np.generic, np.ndarray, jax.Array)) and value.ndim <= 1:
        array = np.asarray(value)
        return shortest(array) if array.ndim == 0 else [shortest(n) for n in array]
    raise ValueError(
        f"`{path}` is {value!r}, which a configuration can't hold: only numbers, "
        "strings, booleans, lists of them, and objects of public classes."
    )
