"""Complex states: the analytic continuation of an energy, for holomorphic methods."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Scalar

from ..energies import AbstractUnit, Model, name_of
from ._analytic import not_analytic


def is_complex(tree: PyTree) -> bool:
    """Whether a tree holds complex arrays."""
    arrays = filter(eqx.is_array, jax.tree.leaves(tree))
    return any(jnp.iscomplexobj(array) for array in arrays)


def as_complex(tree: Any) -> Any:
    """A tree with its inexact arrays as complex ones of the same precision."""

    def convert(leaf):
        if not eqx.is_inexact_array(leaf) or is_complex(leaf):
            return leaf
        if leaf.weak_type:
            # It still adopts the precision of what it meets.
            return leaf + 0j
        double = leaf.dtype == jnp.float64
        return leaf.astype(jnp.complex128 if double else jnp.complex64)

    return jax.tree.map(convert, tree)


def as_real(tree: Any) -> Any:
    """A tree with the real parts of its complex arrays."""
    return jax.tree.map(lambda leaf: leaf.real if is_complex(leaf) else leaf, tree)


def gradient(fn: Callable[[Any], Scalar], at: PyTree) -> Any:
    """The gradient of a scalar function; of a complex one its complex derivative."""
    return jax.grad(fn, holomorphic=is_complex(at))(at)


def negative_gradient(
    fn: Callable[[PyTree], Scalar], state: PyTree[Array], block: Sequence[int]
) -> tuple[Array, ...]:
    """Minus the gradient in those leaves of the state that a block names."""
    leaves, treedef = jax.tree.flatten(state)

    def of_block(active):
        spliced = list(leaves)
        for k, s in zip(block, active, strict=True):
            spliced[k] = s
        return fn(jax.tree.unflatten(treedef, spliced))

    slopes = gradient(of_block, tuple(leaves[k] for k in block))
    return tuple(-g for g in slopes)


def require_analytic_units(units: Sequence[AbstractUnit]) -> None:
    """Raises a `ValueError` unless every unit's activation is analytic."""
    for unit in units:
        if not unit.analytic:
            raise ValueError(
                f"Complex states need units whose activation is analytic, but `units` "
                f"holds `{unit}`, which is clipped: on the complex plane it has no "
                "derivative. Use `ep.Sigmoid(slope=4, center=0.5)`, `ep.Tanh()` or "
                "`ep.Linear()` units, or `ep.Centered(beta=0.2)`, which stays real."
            )


def require_analytic(landscape: Any) -> None:
    """Raises a `ValueError` unless a complex landscape is the continuation of a real
    one: everything in it complex, and its functions of the state analytic."""
    model, y = landscape.model, landscape.y
    parts = jax.tree.leaves((model, y, landscape.held))
    if any(eqx.is_inexact_array(part) and not is_complex(part) for part in parts):
        raise ValueError(
            "`x` is complex, but the parameters are real. Pass a real `x`, and for "
            "complex states take `ep.Landscape(model, x).continued()`."
        )
    require_analytic_units(landscape.leaf_units())
    energy, name = landscape.energy_fn, name_of(landscape.energy_fn)
    state, x = _one_of((jax.eval_shape(landscape.init), landscape.x))
    _require_analytic(f"the energy {name}", energy.interaction, state, x)
    if isinstance(model, Model) and y is not None:
        name = f"the cost `{type(model.cost).__name__}` of the output"

        def cost(state, y):
            return model.cost(energy.output(state), y)

        _require_analytic(name, cost, state, _one_of(y))


def _one_of(batch: PyTree) -> PyTree:
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), batch)


def _require_analytic(name: str, fn: Callable, state: PyTree, other: PyTree) -> None:
    fix = (
        "Write it with `@` (`jnp.vdot` conjugates), `jnp.sum(s * s)`, `jnp.exp`, "
        "`jnp.tanh`, `jax.nn.softplus`, powers, …, or use `ep.Centered(beta=0.2)`, "
        "which stays real."
    )
    try:
        # Strict, it would stop at a sum with the result of `abs` and not name `abs`.
        with jax.numpy_dtype_promotion("standard"):
            culprit = not_analytic(fn, state, other)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Complex states need analytic functions, but {name} can't be evaluated "
            f"at complex numbers: {error} {fix}"
        ) from error
    if culprit is not None:
        raise ValueError(
            f"Complex states need analytic functions, but {name} uses {culprit} of the "
            f"state, which has no derivative on the complex plane. {fix}"
        )
