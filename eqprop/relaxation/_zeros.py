"""A function without its products with zeros: rewritten in the traced function, so that
a user's own energy does without them too."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ._program import flattened, Line


_PRODUCTS = ("dot_general", "conv_general_dilated", "mul")
# Of arrays that are one number everywhere, which number the result is.
_SAME = (
    *("broadcast_in_dim", "convert_element_type", "copy", "reshape", "slice"),
    *("squeeze", "transpose"),
)
_ON_NUMBERS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_SAME, lambda number: number),
    "eq": operator.eq,
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
    "max": max,
    "min": min,
    "neg": operator.neg,
    "select_n": lambda which, *cases: cases[int(which)],
}


def without_zero_products(fn: Callable[[], PyTree[Array]]) -> PyTree[Array]:
    """`fn()`, the products with arrays that it fills with zeros left out.

    What it closes over may be traced.
    """
    closed, out = jax.make_jaxpr(fn, return_shape=True)()
    lines, _, outputs = flattened(closed)
    values: dict[int, Array] = {}
    numbers: dict[int, Any] = {}
    for line in lines:
        known = [_number(source, numbers) for source in line.sources]
        if line.primitive.name in _PRODUCTS and 0 in known:
            values |= _zeros(line, values)
            numbers[line.targets[0]] = 0
            continue
        values |= line.run_plainly(values)
        if line.primitive.name in _ON_NUMBERS and None not in known:
            numbers[line.targets[0]] = _ON_NUMBERS[line.primitive.name](*known)
    flat = [values[name] if isinstance(name, int) else name.value for name in outputs]
    return jax.tree.unflatten(jax.tree.structure(out), flat)


def _number(source: Any, numbers: dict[int, Any]) -> Any:
    """The number that an operand is everywhere, `None` if that isn't known."""
    if isinstance(source, int):
        return numbers.get(source)
    value = source.value
    written = isinstance(value, (bool, int, float, np.ndarray, np.generic))
    return value if written and np.ndim(value) == 0 else None


def _zeros(line: Line, values: dict[int, Array]) -> dict[int, Array]:
    operands = [value for value, _ in line.values(values, {})]
    shapes = jax.eval_shape(line.plainly, *operands)
    found = [jnp.zeros(s.shape, s.dtype) for s in shapes]
    return dict(zip(line.targets, found, strict=True))
