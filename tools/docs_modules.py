"""For the API reference: constructors of `equinox.Module` classes, which are generated
at run time from the fields and so don't stand in the source that is read."""

from typing import Any

import griffe


class Modules(griffe.Extension):
    """Gives every concrete Module without an `__init__` the one its fields make."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for found in _classes(pkg):
            if _is_module(found) and not found.name.startswith("Abstract"):
                if "__init__" not in found.members:
                    found.set_member("__init__", _constructor(found))


def _classes(scope: griffe.Module) -> list[griffe.Class]:
    classes = []
    for member in scope.members.values():
        if isinstance(member, griffe.Module):
            classes += _classes(member)
        elif isinstance(member, griffe.Class):
            classes.append(member)
    return classes


def _is_module(found: griffe.Class) -> bool:
    if any(
        isinstance(base, griffe.Expr) and base.canonical_path == "equinox.Module"
        for base in found.bases
    ):
        return True
    return any(
        isinstance(base, griffe.Class) and _is_module(base)
        for base in found.resolved_bases
    )


def _constructor(found: griffe.Class) -> griffe.Function:
    parameters = [griffe.Parameter("self", kind=_POSITIONAL)]
    for member in found.members.values():
        if isinstance(member, griffe.Attribute) and _is_field(member):
            default = _default(member.value)
            parameters.append(
                griffe.Parameter(
                    member.name,
                    annotation=member.annotation,
                    kind=_POSITIONAL,
                    default=default,
                )
            )
    return griffe.Function(
        "__init__",
        lineno=found.lineno,
        endlineno=found.endlineno,
        parent=found,
        parameters=griffe.Parameters(*parameters),
    )


_POSITIONAL = griffe.ParameterKind.positional_or_keyword


def _is_field(member: griffe.Attribute) -> bool:
    # A ClassVar is no field; griffe takes the word off and leaves this label.
    class_only = "instance-attribute" not in member.labels
    return not (member.annotation is None or "property" in member.labels or class_only)


def _default(value: str | griffe.Expr | None) -> str | griffe.Expr | None:
    """What a field is if it is left out: plain, or inside `eqx.field(...)`."""
    if not isinstance(value, griffe.ExprCall):
        return value
    if value.canonical_path not in ("equinox.field", "dataclasses.field"):
        return value
    given = {
        argument.name: argument.value
        for argument in value.arguments
        if isinstance(argument, griffe.ExprKeyword)
    }
    if "default_factory" in given:
        return griffe.ExprCall(given["default_factory"], [])
    return given.get("default")
