"""Which papers something comes from: read off the docstrings, where they are cited."""

import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from importlib.resources import files
from typing import Any

import equinox as eqx
import jax

from ._registry import REGISTRY


def citation(*objects: Any) -> str:
    """BibTeX of eqprop and of the papers that objects come from.

    The keys are the first author and the year, as in `scellier2017`. What is not of
    eqprop is cited too if its docstring holds a block of BibTeX, as those of diffrax
    and optimistix do, and those of your own energies may.

    **Arguments:**

    - `objects`: methods, models, solvers, optimizers, … with all that they are made of;
        or classes and functions.

    **Returns:**

    BibTeX entries, eqprop first, the others in the order in which they are met.
    """
    return "\n\n".join(entries_of(_things(objects)).values()) + "\n"


def entries_of(things: Iterable[Any]) -> dict[str, str]:
    """The BibTeX entries of eqprop and of what classes and functions cite, by key."""
    known = bibliography()
    found = {"eqprop": known["eqprop"]}
    for thing in things:
        # Others may title their own references like ours.
        for key in filter(known.__contains__, cited(thing)):
            found.setdefault(key, known[key])
        for key, entry in _held(thing).items():
            found.setdefault(key, entry)
    return found


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


def named_in(table: Any) -> list[Callable[..., Any]]:
    """The public classes and functions that a configuration names as a `type`."""
    if not isinstance(table, dict):
        return []
    found = [REGISTRY[table["type"]]] if table.get("type") in REGISTRY else []
    return found + [thing for part in table.values() for thing in named_in(part)]


def bibliography() -> dict[str, str]:
    """All entries of `bibliography.bib` by key."""
    text = files("eqprop.training").joinpath("bibliography.bib").read_text("utf-8")
    return _by_key(text)


def _held(thing: Any) -> dict[str, str]:
    """The entries that a docstring holds itself, as those of other libraries do."""
    doc = inspect.getdoc(thing) or ""
    blocks = re.findall(r"^ *```bibtex\n(.*?)^ *```", doc, re.M | re.S)
    return _by_key("\n".join(textwrap.dedent(block) for block in blocks))


def _by_key(text: str) -> dict[str, str]:
    entries = [entry.strip() for entry in re.split(r"^(?=@)", text, flags=re.M)]
    named = ((re.match(r"@\w+\{([^,\s]+),", entry), entry) for entry in entries)
    return {name[1]: entry for name, entry in named if name is not None}


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
