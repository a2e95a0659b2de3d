"""What a configuration may name: public classes and functions, and their fields."""

import dataclasses
import difflib
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import AbstractArray

from .. import data, energies, learning, relaxation
from ..data import AbstractAugmentation, AbstractOrder, Splits
from ..energies import (
    AbstractCost,
    AbstractEnergy,
    AbstractInitializer,
    AbstractUnit,
    nets,
)
from ..learning import (
    AbstractEstimator,
    AbstractLinearSolver,
    AbstractNudging,
    AbstractPlasticity,
)
from ..relaxation import AbstractSolver, Tolerance
from . import _optimizers, _schedules, _stopping
from ._optimizers import AbstractOptimizer
from ._schedules import AbstractSchedule
from ._stopping import EarlyStopping


# What a class must be to be named. Of energies and data, which hold parameters and
# examples, only the functions that make them can be.
_CLASSES = (
    *(AbstractCost, AbstractUnit, AbstractInitializer, AbstractSolver, Tolerance),
    *(AbstractNudging, AbstractEstimator, AbstractOptimizer, AbstractSchedule),
    *(AbstractPlasticity, AbstractLinearSolver, AbstractOrder, AbstractAugmentation),
    EarlyStopping,
)
_RESULTS = (AbstractEnergy, Splits)
_MODULES = (
    *(energies, nets, relaxation, learning, data),
    *(_optimizers, _schedules, _stopping),
)

MISSING = dataclasses.MISSING


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A field of a class or an argument of a function; `default` may be `MISSING`."""

    name: str
    annotation: Any
    default: Any


@dataclasses.dataclass(frozen=True)
class Form:
    """A way to write a value in TOML.

    **Arguments:**

    - `kind`: `"table"`, `"number"`, `"integer"`, `"boolean"`, `"string"`, `"list"` or
        `"none"`.
    - `part`: of a table, the class that what it describes must be.
    - `items`: of a list, how its items are written.
    """

    kind: str
    part: type | None = None
    items: tuple["Form", ...] = ()

    def __str__(self) -> str:
        if self.kind == "list":
            return f"a list ({' or '.join(map(str, self.items))} each)"
        names = {"integer": "an integer", "boolean": "true or false", "none": '"none"'}
        return names.get(self.kind, f"a {self.kind}")


def _members() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in _MODULES:
        for name, value in vars(module).items():
            if name.startswith(("_", "Abstract")):
                continue
            if isinstance(value, type) and issubclass(value, _CLASSES):
                yield name, value
            elif inspect.isfunction(value) and issubclass(_result(value), _RESULTS):
                yield name, value


def _result(function: Callable[..., Any]) -> type:
    result = inspect.signature(function).return_annotation
    return result if isinstance(result, type) else object


REGISTRY: Mapping[str, Callable[..., Any]] = types.MappingProxyType(dict(_members()))


def candidates(kind: type) -> dict[str, Callable[..., Any]]:
    """What makes a `kind`: its public subclasses, or the functions that return one."""
    return {
        name: made
        for name, made in REGISTRY.items()
        if issubclass(made if isinstance(made, type) else _result(made), kind)
    }


def parameters(made: Callable[..., Any]) -> tuple[Parameter, ...]:
    """The fields of a class or the arguments of a function, but for its random key."""
    fields = {}
    if isinstance(made, type) and dataclasses.is_dataclass(made):
        fields = {field.name: field for field in dataclasses.fields(made)}
    found = []
    for name, parameter in inspect.signature(made).parameters.items():
        # A signature's annotation is the converter's, the field's is what it becomes.
        annotation, default = parameter.annotation, parameter.default
        if name in fields:
            annotation = fields[name].type
            factory = fields[name].default_factory
            if factory is not MISSING:
                default = factory()
        if default is inspect.Parameter.empty:
            default = MISSING
        if name != "key":
            found.append(Parameter(name, annotation, default))
    return tuple(found)


def forms(annotation: Any) -> tuple[Form, ...]:
    """The ways to write a value of this type; none if there is no way."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        parts = [forms(part) for part in typing.get_args(annotation)]
        return tuple(form for part in parts for form in part)
    if annotation in _PLAIN:
        return (_PLAIN[annotation],)
    if annotation is jax.Array:
        return (_NUMBER, Form("list", items=(_NUMBER,)))
    if origin is not None and issubclass(origin, Sequence):
        items = forms(typing.get_args(annotation)[0])
        return (Form("list", items=items),) if items else ()
    if isinstance(annotation, type):
        if issubclass(annotation, AbstractArray):
            return (_NUMBER,) if annotation.dims == () else ()
        if issubclass(annotation, _CLASSES):
            return (Form("table", annotation),)
    return ()


_NUMBER = Form("number")
_PLAIN = {
    float: _NUMBER,
    int: Form("integer"),
    bool: Form("boolean"),
    str: Form("string"),
    os.PathLike[str]: Form("string"),
    type(None): Form("none"),
}


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` Did you mean …?` with the nearest name, or nothing if none is near."""
    names = list(names)
    folded = {known.lower(): known for known in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f" Did you mean `{folded[close[0]]}`?" if close else ""
