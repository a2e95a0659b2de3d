"""A traced function as a list of operations, those of inner calls in their place."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, Literal
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class Line:
    """One operation: names of what it takes (or a number itself), and of its results;
    `plainly` does it to operands without lanes."""

    plainly: Callable[..., Sequence[Any]]
    primitive: Any
    params: dict[str, Any]
    sources: tuple[Any, ...]
    shapes: tuple[tuple[int, ...], ...]
    targets: tuple[int, ...]

    @property
    def inputs(self) -> list[int]:
        """The names among what it takes."""
        return [s for s in self.sources if isinstance(s, int)]

    def values(
        self, known: dict[int, Array], lanes: dict[int, Array]
    ) -> list[tuple[Any, bool]]:
        """Each operand, and whether it has lanes."""
        found = []
        for source in self.sources:
            if not isinstance(source, int):
                found.append((source.value, False))
            elif source in lanes:
                found.append((lanes[source], True))
            else:
                found.append((known[source], False))
        return found

    def run_plainly(self, known: dict[int, Array]) -> dict[int, Array]:
        """Its results, none of whose operands has lanes."""
        operands = [value for value, _ in self.values(known, {})]
        return dict(zip(self.targets, self.plainly(*operands), strict=True))

    def named(self, results: Any) -> dict[int, Array]:
        """The results by their names."""
        if not self.primitive.multiple_results:
            results = (results,)
        return dict(zip(self.targets, results, strict=True))


@dataclasses.dataclass(frozen=True)
class Number:
    """An operand that is written in the program."""

    value: Any


def flattened(closed: ClosedJaxpr) -> tuple[list[Line], list[int], list[Any]]:
    """The operations of a traced function; the names of its inputs and outputs."""
    lines: list[Line] = []
    fresh = itertools.count()
    names = [next(fresh) for _ in closed.jaxpr.invars]
    outputs = _flatten(closed.jaxpr, closed.consts, names, fresh, lines)
    return lines, names, outputs


def _flatten(
    jaxpr: Jaxpr,
    consts: Sequence[Any],
    inputs: Sequence[Any],
    fresh: Iterator[int],
    lines: list[Line],
) -> list[Any]:
    scope: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
    scope |= {v: Number(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}

    def read(var):
        return Number(var.val) if isinstance(var, Literal) else scope[var]

    for eqn in jaxpr.eqns:
        sources = tuple(read(var) for var in eqn.invars)
        inner = eqn.params.get("jaxpr")
        if eqn.primitive.name in ("jit", "pjit") and inner is not None:
            results = _flatten(inner.jaxpr, inner.consts, sources, fresh, lines)
        else:
            results = [next(fresh) for _ in eqn.outvars]
            shapes = tuple(map(_shape_of, eqn.invars))
            targets = tuple(results)
            lines.append(
                Line(
                    _as_function(jaxpr, eqn),
                    eqn.primitive,
                    eqn.params,
                    sources,
                    shapes,
                    targets,
                )
            )
        scope |= zip(eqn.outvars, results, strict=True)
    return [read(var) for var in jaxpr.outvars]


def _shape_of(var: Any) -> tuple[int, ...]:
    return var.aval.shape


def _as_function(jaxpr: Jaxpr, eqn: Any) -> Callable[..., Sequence[Any]]:
    """One operation of a traced function, as a function of its operands."""

    def fn(*operands):
        given = {
            var: value
            for var, value in zip(eqn.invars, operands, strict=True)
            if not isinstance(var, Literal)
        }
        alone = jaxpr.replace(
            constvars=[], invars=[*given], outvars=eqn.outvars, eqns=[eqn]
        )
        return jaxpr_as_fun(ClosedJaxpr(alone, []))(*given.values())

    return fn
