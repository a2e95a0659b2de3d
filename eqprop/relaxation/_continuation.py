"""Complex states: the analytic continuation of an energy, for holomorphic methods."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree, Scalar


def is_complex(tree: PyTree) -> bool:
    """Whether a tree holds complex arrays."""
    return any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(tree))


def as_complex(tree: Any) -> Any:
    """A tree with its inexact arrays as complex ones of the same precision."""

    def convert(leaf):
        if not eqx.is_inexact_array(leaf):
            return leaf
        double = leaf.dtype in (jnp.float64, jnp.complex128)
        return leaf.astype(jnp.complex128 if double else jnp.complex64)

    return jax.tree.map(convert, tree)


def gradient(fn: Callable[[Any], Scalar], at: PyTree) -> Any:
    """The gradient of a scalar function; of a complex one its complex derivative."""
    return jax.grad(fn, holomorphic=is_complex(at))(at)


def require_analytic(landscape: Any) -> None:
    """Raises a `ValueError` unless the landscape can be continued to complex states."""
    for unit in landscape.leaf_units():
        if not unit.analytic:
            raise ValueError(
                f"Complex states need units whose activation is analytic, but `units` "
                f"holds `{unit}`, which is clipped: on the complex plane it has no "
                "derivative. Use `ep.Sigmoid(slope=4, center=0.5)`, `ep.Tanh()` or "
                "`ep.Linear()` units, or `ep.Centered(beta=0.2)`, which stays real."
            )
