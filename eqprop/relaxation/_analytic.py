"""Is a function analytic in its complex arguments? Read off the traced function, so
that a user's own energy is refused before it gives a wrong number."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal


# Of a value: it doesn't depend on the state, or it is an analytic function of it. Any
# other mark names the operation at which it ceased to be one.
_CONSTANT, _ANALYTIC = None, ""

# What takes complex numbers to complex numbers without being analytic. All else that
# isn't analytic gives real numbers or booleans, and is known by that.
_KINKED = frozenset(
    [
        *("conj", "sign", "max", "min", "clamp", "sort", "top_k", "cummax", "cummin"),
        *("reduce_max", "reduce_min", "reduce_window_max", "reduce_window_min"),
        *("select_and_scatter_add", "scatter_max", "scatter_min"),
    ]
)
# Of JAX itself, written with a maximum that cancels out.
_ANALYTIC_FUNCTIONS = frozenset(["logaddexp"])
_LOOPS = ("scan", "while", "cond")


def not_analytic(fn: Callable[..., Any], state: Any, *others: Any) -> str | None:
    """Through which operation `fn(state, *others)` is no analytic function of a
    complex state, as in "`max` in `relu`"; `None` if there is no such operation.

    **Arguments:**

    - `state`, `others`: pytrees of `jax.ShapeDtypeStruct`.
    """
    jaxpr = jax.make_jaxpr(fn)(state, *others).jaxpr
    count = len(jax.tree.leaves(state))
    marks = [_ANALYTIC] * count + [_CONSTANT] * (len(jaxpr.invars) - count)
    return _worst(_scan(jaxpr, marks)) or None


def _scan(jaxpr: Jaxpr, inputs: Sequence[str | None]) -> list[str | None]:
    marks = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(var) -> str | None:
        return _CONSTANT if isinstance(var, Literal) else marks.get(var)

    for eqn in jaxpr.eqns:
        found = _results(eqn, [read(var) for var in eqn.invars])
        marks.update(zip(eqn.outvars, found, strict=True))
    return [read(var) for var in jaxpr.outvars]


def _results(eqn: Any, sources: Sequence[str | None]) -> list[str | None]:
    name, worst = eqn.primitive.name, _worst(sources)
    # What has no derivative is a constant: the maximum in `logsumexp` and `softmax`.
    if worst is _CONSTANT or name == "stop_gradient":
        return [_CONSTANT] * len(eqn.outvars)
    inner = list(_inner_jaxprs(eqn.params))
    known = name == "custom_jvp_call" and _name_of(inner[0]) in _ANALYTIC_FUNCTIONS
    if inner and not known:
        return _results_inside(eqn, inner, sources)
    if worst == _ANALYTIC and not inner:
        # A switch on s = c moves one point: a guard against a removable singularity.
        if name in ("eq", "ne"):
            return [_CONSTANT] * len(eqn.outvars)
        if name in _KINKED or not all(map(_is_complex, eqn.outvars)):
            worst = f"`{name}`"
    return [worst] * len(eqn.outvars)


def _results_inside(
    eqn: Any, inner: Sequence[Jaxpr], sources: Sequence[str | None]
) -> list[str | None]:
    worst = _worst(sources)
    if eqn.primitive.name in _LOOPS:
        # Whatever goes in may come round to any part of the carry. Counters don't.
        found = [worst]
        for jaxpr in inner:
            found += _scan(
                jaxpr,
                [worst if worst or _is_complex(v) else _CONSTANT for v in jaxpr.invars],
            )
        found = [_worst(found)] * len(eqn.outvars)
    else:
        found = _scan(inner[0], sources)
    called = eqn.params.get("name", "")
    if not isinstance(called, str) or not called.isidentifier():
        return found
    return [
        f"{mark} in `{called}`" if mark and not worst and " in " not in mark else mark
        for mark in found
    ]


def _worst(marks: Sequence[str | None]) -> str | None:
    known = [mark for mark in marks if mark is not _CONSTANT]
    return max(known, key=bool) if known else _CONSTANT


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr):
                yield part.jaxpr
            elif isinstance(part, Jaxpr):
                yield part


def _name_of(jaxpr: Jaxpr) -> str:
    # Not part of JAX's stable interface: where it changes, the known are refused too.
    source = getattr(getattr(jaxpr, "debug_info", None), "func_src_info", None)
    return str(source).split(" at ")[0]


def _is_complex(var: Any) -> bool:
    return jnp.issubdtype(var.aval.dtype, jnp.complexfloating)
