"""What a family of Equinox modules gets wrong: half-abstract, overridden, split."""

import dataclasses
import inspect
from collections.abc import Iterable, Iterator

import equinox as eqx


# Of the double-underscored names only these count as methods: the others are written by
# dataclasses, Equinox and Python, or are cooperative (`__check_init__`).
COUNTED = {"__call__", "__getitem__", "__iter__", "__len__", "__contains__"}


def modules_below(package: str) -> list[type[eqx.Module]]:
    """Every `eqx.Module` subclass defined in an imported module of `package`."""
    found: dict[str, type[eqx.Module]] = {}
    todo = [eqx.Module]
    while todo:
        for cls in todo.pop().__subclasses__():
            todo.append(cls)
            if f"{cls.__module__}.".startswith(f"{package}."):
                found[f"{cls.__module__}.{cls.__qualname__}"] = cls
    return [found[name] for name in sorted(found)]


def faults(classes: Iterable[type[eqx.Module]]) -> list[str]:
    """Each breach of "abstract or final", named."""
    family = list(classes)
    return [fault for cls in family for fault in _faults(cls, family)]


def _faults(cls: type[eqx.Module], family: list[type[eqx.Module]]) -> Iterator[str]:
    name = cls.__qualname__
    short = cls.__name__.lstrip("_")
    abstract = bool(_abstract_names(cls))
    if short.startswith("Abstract") and not abstract:
        yield f"{name} is called abstract, but nothing in it is"
    if abstract and not short.startswith("Abstract"):
        yield f"{name} leaves {sorted(_abstract_names(cls))} abstract: call it Abstract"
    if not short.startswith("Abstract"):
        for other in family:
            if cls in other.__bases__:
                yield f"{name} is final, but {other.__qualname__} inherits from it"
    bases = [base for base in cls.__mro__[1:] if base in family]
    for method in _methods(cls):
        for base in bases:
            if method in _methods(base) - _abstract_names(base):
                yield f"{name}.{method} overrides {base.__qualname__}.{method}"
    owners = [c.__qualname__ for c in (cls, *bases) if _fields(c)]
    if len(owners) > 1:
        yield f"{name} has fields from {owners}: keep all in one class"


def _abstract_names(cls: type) -> frozenset[str]:
    kinds = ("__abstractmethods__", "__abstractvars__", "__abstractclassvars__")
    return frozenset().union(*(getattr(cls, kind, ()) for kind in kinds))


def _methods(cls: type) -> set[str]:
    fields = getattr(cls, "__dataclass_fields__", {})
    return {
        name
        for name in vars(cls)
        if (name in COUNTED or not name.startswith("__"))
        and name not in fields
        and name != "_abc_impl"
    }


def _fields(cls: type) -> set[str]:
    own = set(inspect.get_annotations(cls))
    return own & {field.name for field in dataclasses.fields(cls)}
