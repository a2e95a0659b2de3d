"""A function with its matrix products in bfloat16, whatever it is: rewritten in the
traced function, so that a user's own energy is rounded too."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxpr_as_fun, Literal


_SINGLE = jnp.dtype(jnp.float32)
_LOOPS = ("scan", "while", "cond")


def with_rounded_products(fn: Callable[..., Any], *args: Any) -> Any:
    """`fn(*args)`, every float32 matrix product that depends on the arguments computed
    from bfloat16 roundings of its two operands, and accumulated in float32.

    All else is computed as ever: products of what `fn` closes over, which need be
    computed only once; sums, elementwise products, functions; convolutions; and
    products of other types. What a loop or a branch computes is rounded as well, but
    not what `jax.checkpoint` wraps, nor the rules of custom derivatives.

    **Arguments:**

    - `fn`: from pytrees of arrays to one; what it closes over may be traced.
    """
    closed, out = jax.make_jaxpr(fn, return_shape=True)(*args)
    rounded = _rounded(closed, [True] * len(closed.in_avals))
    flat = jaxpr_as_fun(rounded)(*jax.tree.leaves(args))
    return jax.tree.unflatten(jax.tree.structure(out), flat)


def _rounded(param: Any, varies: Sequence[bool]) -> Any:
    """A traced function, or those in a parameter of an operation, rounded. Which of its
    inputs vary may be known; those of a loop or a branch all do."""
    if type(param) is tuple:
        return tuple(_rounded(part, varies) for part in param)
    if not isinstance(param, ClosedJaxpr):
        return param
    jaxpr = param.jaxpr
    if len(varies) != len(jaxpr.invars):
        varies = [True] * len(jaxpr.invars)
    return ClosedJaxpr(_rewritten(jaxpr, varies), param.consts)


def _rewritten(jaxpr: Jaxpr, varies: Sequence[bool]) -> Jaxpr:
    varying = {v for v, yes in zip(jaxpr.invars, varies, strict=True) if yes}
    lines = []
    for eqn in jaxpr.eqns:
        known = [not isinstance(v, Literal) and v in varying for v in eqn.invars]
        if any(known):
            varying.update(eqn.outvars)
            eqn = _rounded_line(eqn, known)
        lines.append(eqn)
    return jaxpr.replace(eqns=lines)


def _rounded_line(eqn: Any, varies: Sequence[bool]) -> Any:
    if _is_single_product(eqn):
        # A call that takes the same operands to the same type, in one line.
        call = _traced_product(eqn)
        return call.replace(invars=eqn.invars, outvars=eqn.outvars)
    inner = () if eqn.primitive.name in _LOOPS else varies
    params = {name: _rounded(param, inner) for name, param in eqn.params.items()}
    return eqn.replace(params=params)


def _is_single_product(eqn: Any) -> bool:
    if eqn.primitive.name != "dot_general":
        return False
    (contracted, _), _ = eqn.params["dimension_numbers"]
    types = [var.aval.dtype for var in (*eqn.invars, *eqn.outvars)]
    # With nothing to sum over it is an elementwise product: of a cotangent with the
    # result of another product, which need not be rounded twice.
    return len(contracted) > 0 and all(t == _SINGLE for t in types)


def _traced_product(eqn: Any) -> Any:
    # The precision asked for is float32's: it means nothing here.
    options = eqn.params | {"precision": None, "preferred_element_type": _SINGLE}

    @jax.jit
    def rounded_product(a, b):
        a, b = a.astype(jnp.bfloat16), b.astype(jnp.bfloat16)
        return eqn.primitive.bind(a, b, **options)

    operands = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars]
    (call,) = jax.make_jaxpr(rounded_product)(*operands).jaxpr.eqns
    return call
