from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.core import Tracer

from ._decimal import shortest


def show_numbers(self: eqx.Module) -> str:
    """A `__repr__` for objects of numbers that a user chose: with these numbers.

    They are arrays, so that another one doesn't recompile; Equinox would show
    `Centered(beta=weak_f32[])`, this `Centered(beta=0.2)`.
    """
    return eqx.tree_pformat(jax.tree.map(_readable, self))


def _readable(leaf: Any) -> Any:
    """Scalars and short vectors as Python numbers; a traced one has none to show."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, Tracer):
        return leaf
    if leaf.ndim > 1 or leaf.size > 8 or not np.issubdtype(leaf.dtype, np.number):
        return leaf
    if np.issubdtype(leaf.dtype, np.complexfloating):
        return leaf.tolist()
    if leaf.ndim == 0:
        return shortest(leaf)
    return [shortest(number) for number in np.asarray(leaf)]
