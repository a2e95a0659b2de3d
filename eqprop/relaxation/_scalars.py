from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ._decimal import shortest


def as_scalar(value: Any) -> Any:
    """A number as an array leaf, so that changing it never recompiles.

    Python numbers become weakly typed arrays: they adopt the dtype of what they meet,
    so that one solver serves float32 and float64 models.
    """
    if isinstance(value, (np.generic, np.ndarray)) and np.ndim(value) == 0:
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return jnp.asarray(float(value))
    return jnp.asarray(value) if isinstance(value, complex) else value


def as_arrays(tree: Any) -> PyTree[Array]:
    """The tree with JAX arrays for its leaves."""
    return jax.tree.map(jnp.asarray, tree)


def require(
    owner: str,
    name: str,
    value: Any,
    *,
    above: float | int | None = None,
    at_least: float | int | None = None,
    below: float | int | None = None,
    at_most: float | int | None = None,
    nonzero: bool = False,
    finite: bool = True,
    vector: bool = False,
    plane: bool = False,
    fix: str,
) -> None:
    """Raises unless a value is a finite number in its range (`TypeError` or
    `ValueError`). Without `finite` it may be infinite, with `vector` a row of numbers,
    with `plane` complex.

    Traced values are let through: they were checked when they were made.
    """
    if isinstance(value, Tracer):
        return
    numbers = np.asarray(value)
    kinds = (jnp.inexact if plane else jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(numbers.dtype, kind) for kind in kinds) or (
        numbers.ndim > vector
    ):
        what = "a number or a row of numbers" if vector else "a number"
        raise TypeError(
            f"`{name}` of `{owner}` must be {what}, but is {value!r}. {fix}"
        )
    bounds = []
    ok = np.isfinite(numbers) if finite else ~np.isnan(numbers)
    if above is not None:
        ok = ok & (numbers > above)
        bounds.append(f"above {above:g}")
    if at_least is not None:
        ok = ok & (numbers >= at_least)
        bounds.append(f"at least {at_least:g}")
    if below is not None:
        ok = ok & (numbers < below)
        bounds.append(f"below {below:g}")
    if at_most is not None:
        ok = ok & (numbers <= at_most)
        bounds.append(f"at most {at_most:g}")
    if nonzero:
        ok = ok & (numbers != 0)
        bounds.append("not zero")
    if not np.all(ok):
        raise ValueError(
            f"`{name}` of `{owner}` must be a {'finite ' * finite}number"
            + (" " + " and ".join(bounds) if bounds else "")
            + f", but is {_shown(numbers)}. {fix}"
        )


def _shown(numbers: np.ndarray) -> Any:
    """Without the digits that held in 32 bits a decimal has past its own."""
    if np.iscomplexobj(numbers):
        return numbers
    return shortest(numbers) if numbers.ndim == 0 else [shortest(n) for n in numbers]


def require_steps(owner: str, max_steps: Any) -> None:
    """Raises unless `max_steps` is a positive Python integer."""
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(
            f"`max_steps` of `{owner}` must be a positive integer, but is "
            f"{max_steps!r}. It is compiled in; use `stop=ep.Tolerance(...)` to stop "
            "early."
        )


def require_beta(beta: Any, batch: int, *, plane: bool) -> None:
    """Raises unless `beta` of a nudge is a number, or one for each of `batch` examples;
    with `plane` they may be complex."""
    fix = "Pass a small number such as 0.2."
    if not plane and jnp.iscomplexobj(beta):
        raise ValueError(
            "`beta` of `nudge` is complex, but this landscape's states are real. Nudge "
            "its analytic continuation: `landscape.continued().nudge(y, beta)`."
        )
    require("nudge", "beta", beta, vector=True, plane=plane, fix=fix)
    if isinstance(beta, list) or jnp.shape(beta) not in ((), (batch,)):
        raise ValueError(
            "`beta` of `nudge` must be a number or an array with one for each of "
            f"the {batch} examples, but is {beta!r}. {fix}"
        )


def require_inputs(x: PyTree[Any]) -> None:
    """Raises a `ValueError` unless these are floating-point arrays of one batch."""
    leaves = jax.tree.leaves(x)
    if not leaves or any(a.ndim < 1 for a in leaves):
        raise ValueError(
            f"`x` must be an array of inputs, [batch, ...], but is {x!r}. For "
            "one example pass `x[None]`."
        )
    if any(not jnp.issubdtype(a.dtype, jnp.inexact) for a in leaves):
        raise ValueError(
            f"`x` must hold floating-point numbers, but has dtype "
            f"{[str(a.dtype) for a in leaves]}. Convert it, as in "
            "`x.astype(jnp.float32) / 255`."
        )
    if len({a.shape[0] for a in leaves}) > 1 or leaves[0].shape[0] == 0:
        raise ValueError(
            "`x` must hold at least one example, and the same number in every "
            f"array, but has shapes {[a.shape for a in leaves]}."
        )


def per_example(value: Array, like: Array) -> Array:
    """A scalar or `[batch]` array, shaped to broadcast against `[batch, ...]`."""
    return jnp.reshape(value, jnp.shape(value) + (1,) * (like.ndim - jnp.ndim(value)))


def state_size(state: PyTree[Array]) -> Float[Array, " batch"]:
    """The largest absolute entry of every example's state."""
    sizes = [
        jnp.max(jnp.abs(s).reshape(s.shape[0], -1), axis=1)
        for s in jax.tree.leaves(state)
    ]
    return jnp.max(jnp.stack(sizes), axis=0)


def inner(a: PyTree[Array], b: PyTree[Array]) -> Float[Array, " batch"]:
    """The inner product of two states, for every example."""
    products = jax.tree.map(
        lambda s, t: jnp.sum((s * t).reshape(s.shape[0], -1), axis=1), a, b
    )
    return jax.tree.reduce(jnp.add, products)
