"""Which papers something comes from: read off the docstrings, where they are cited."""

import inspect
import re
from importlib.resources import files
from typing import Any

import equinox as eqx
import jax


def citation(*objects: Any) -> str:
    """BibTeX of eqprop and of the papers that objects come from.

    The keys are the first author and the year, as in `scellier2017`.

    **Arguments:**

    - `objects`: methods, models, solvers, optimizers, … with all that they are made of;
        or classes and functions of eqprop.

    **Returns:**

    BibTeX entries, eqprop first, the others in the order in which they are met.
    """
    keys = ["eqprop"]
    for thing in _things(objects):
        keys += [key for key in cited(thing) if key not in keys]
    entries = bibliography()
    return "\n\n".join(entries[key] for key in keys) + "\n"


def cited(thing: Any) -> list[str]:
    """The keys of what a class or function cites: of each `??? cite "Young 1954"` in
    its docstring the first author and the year."""
    titles = re.findall(r'\?\?\? cite "([^"]+)"', inspect.getdoc(thing) or "")
    found = []
    for part in "; ".join(titles).split(";"):
        year = re.search(r"\b(\d{4})\b", part)
        if year is not None:
            first = re.sub(r"[^a-z]", "", part.split()[0].lower())
            found.append(first + year[1])
    return found


def bibliography() -> dict[str, str]:
    """All entries of `bibliography.bib` by key."""
    text = files("eqprop.training").joinpath("bibliography.bib").read_text("utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {re.match(r"@\w+\{(\w+),", entry)[1]: entry for entry in entries}  # pyright: ignore


def _things(objects: Any) -> list[Any]:
    """The classes and functions that objects are made of, from the outside in."""
    found: list[Any] = []

    def visit(value: Any) -> None:
        if inspect.isclass(value) or inspect.isfunction(value):
            found.append(value)
            return
        if isinstance(value, eqx.Module):
            found.append(type(value))
            for field in value.__dataclass_fields__:
                visit(getattr(value, field, None))
            return
        # Arrays hold no more parts, and a container is looked into once.
        if isinstance(value, list | tuple | dict):
            for item in jax.tree.leaves(value, is_leaf=lambda v: v is not value):
                visit(item)

    visit(list(objects))
    return found
