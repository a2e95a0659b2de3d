"""How each operation is done to values with lanes along their last axes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from .._program import Line
from ._lanes import LANES, with_lanes


def run_by_columns(
    line: Line, known: dict[int, Array], lanes: dict[int, Array]
) -> dict[int, Array]:
    """The results of an operation, some of whose operands have lanes."""
    rule = RULES[line.primitive.name]
    operands = line.values(known, lanes)
    return line.named(rule(line.primitive, operands, line.shapes, line.params))


def _common(operands: Sequence[tuple[Any, bool]]) -> tuple[int, ...]:
    """The lanes of several values together."""
    return np.broadcast_shapes(*(v.shape[-LANES:] for v, has in operands if has))


def _elementwise(primitive, operands, shapes, params):
    own = np.broadcast_shapes(*shapes)
    ndim = len(own)
    full = (*own, *_common(operands))
    same = []
    for (value, has), shape in zip(operands, shapes, strict=True):
        if not has:
            value = with_lanes(value, ndim)
        elif len(shape) < ndim:
            value = value.reshape(*(1,) * ndim, *value.shape[-LANES:])
        same.append(jnp.broadcast_to(value, full))
    return primitive.bind(*same, **params)


def _along_own_axes(primitive, operands, shapes, params):
    ((value, _),) = operands
    return primitive.bind(value, **params)


def _joined(primitive, operands, shapes, params):
    lanes = _common(operands)
    parts = [
        jnp.broadcast_to(v if has else with_lanes(v, len(shape)), (*shape, *lanes))
        for (v, has), shape in zip(operands, shapes, strict=True)
    ]
    return primitive.bind(*parts, **params)


def _broadcast(primitive, operands, shapes, params):
    ((value, _),) = operands
    shape = params["shape"]
    dims = (*params["broadcast_dimensions"], len(shape), len(shape) + 1)
    full = (*shape, *value.shape[-LANES:])
    return jax.lax.broadcast_in_dim(value, full, dims)


def _reshape(primitive, operands, shapes, params):
    ((value, _),) = operands
    return value.reshape(*params["new_sizes"], *value.shape[-LANES:])


def _transpose(primitive, operands, shapes, params):
    ((value, _),) = operands
    ndim = len(shapes[0])
    return jax.lax.transpose(value, (*params["permutation"], ndim, ndim + 1))


def _slice(primitive, operands, shapes, params):
    ((value, _),) = operands
    start = (*params["start_indices"], 0, 0)
    limit = (*params["limit_indices"], *value.shape[-LANES:])
    strides = params["strides"]
    return jax.lax.slice(
        value, start, limit, None if strides is None else (*strides, 1, 1)
    )


def _padded(primitive, operands, shapes, params):
    (value, has), (fill, varies) = operands
    if varies or not has:
        return _mapped(primitive, operands, shapes, params)
    config = (*params["padding_config"], *[(0, 0, 0)] * LANES)
    return jax.lax.pad(value, fill, config)


def _mapped(primitive, operands, shapes, params):
    """Any operation, by JAX's own rules: right, not always fast. What is the same for
    all phases is worked out once."""
    lanes = _common(operands)
    values, axes = [], []
    for value, has in operands:
        sizes = value.shape[-LANES:] if has else (None,) * LANES
        mapped = [-1 if m == n else None for m, n in zip(sizes, lanes, strict=True)]
        if has:
            alone = [k - LANES for k in range(LANES) if mapped[k] is None]
            value = jnp.squeeze(value, tuple(alone))
        values.append(value)
        axes.append(mapped)

    def fn(*own):
        return primitive.bind(*own, **params)

    for k in range(LANES):
        fn = jax.vmap(fn, in_axes=tuple(a[k] for a in axes), out_axes=-1)
    return fn(*values)


_ELEMENTWISE = (
    "abs add add_any and asin atan atan2 cbrt ceil clamp conj convert_element_type "
    "copy cos cosh div eq erf erf_inv erfc exp exp2 expm1 floor ge gt imag integer_pow "
    "is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or "
    "pow real rem round rsqrt select_n sign sin sinh sqrt square sub tan tanh xor"
).split()
_OVER_OWN_AXES = (
    "argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce_and reduce_max "
    "reduce_min reduce_or reduce_prod reduce_sum rev split squeeze"
).split()
RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_OVER_OWN_AXES, _along_own_axes),
    "broadcast_in_dim": _broadcast,
    "concatenate": _joined,
    "dot_general": _mapped,
    "pad": _padded,
    "reshape": _reshape,
    "slice": _slice,
    "stack": _joined,
    "transpose": _transpose,
}
