"""Arguments of another kind are told at the door."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def require_kind(
    name: str,
    value: Any,
    kind: Any,
    fix: str,
    *,
    owner: str | None = None,
    instead: Mapping[type, str] | None = None,
) -> None:
    """Raises a `TypeError` unless an argument is of its kind.

    **Arguments:**

    - `name`, `value`: the argument.
    - `kind`: a class or several, as `isinstance` takes them.
    - `fix`: what to pass.
    - `owner`: the class or function whose argument it is.
    - `instead`: what to pass in the place of things that are easily taken for it.
    """
    if isinstance(value, kind):
        return
    for other, better in (instead or {}).items():
        if isinstance(value, other):
            fix = better
    if isinstance(value, type) and issubclass(value, kind):
        fix = f"Pass an instance of it, `{value.__name__}(...)`."
    of = "" if owner is None else f" of `{owner}`"
    raise TypeError(f"`{name}`{of} is {_described(value)}. {fix}")


def _described(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class `{value.__name__}`"
    if isinstance(value, jax.Array | np.ndarray):
        return f"an array of shape {value.shape}"
    name = type(value).__name__
    described = f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
    plain = isinstance(value, bool | int | float | str)
    return f"{described}, {value!r}" if plain else described
