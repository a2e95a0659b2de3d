import functools
import re

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._energy import AbstractEnergy
from ._function import FunctionEnergy
from ._unit import units_of_leaves


# What JAX and NumPy raise about shapes, and the words that tell it from other errors.
_SHAPE_ERRORS = (TypeError, ValueError, IndexError)
_OF_SHAPES = r"(?i)shape|dimension|ndim|rank|\baxis|\baxes|indices"


def name_of(energy: AbstractEnergy) -> str:
    """What to call an energy in a message: a user's function by its own name."""
    if isinstance(energy, FunctionEnergy):
        fn = energy.fn
        while isinstance(fn, functools.partial):
            fn = fn.func
        return f"`{getattr(fn, '__qualname__', type(fn).__name__)}`"
    return f"`{type(energy).__name__}`"


def check_energy(energy: AbstractEnergy, x: PyTree) -> None:
    """Raises a `ValueError` that names the user's function unless the energy is a
    real floating-point scalar for one example. Only shapes are looked at.

    **Arguments:**

    - `x`: inputs, `[batch, ...]`.
    """
    name = name_of(energy)
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
    try:
        state = jax.eval_shape(energy.init, one)
    except Exception as error:
        if not isinstance(energy, FunctionEnergy):
            raise
        raise ValueError(
            f"`init` of the energy function {name} failed on one x of shapes "
            f"{_shapes(one)}: {type(error).__name__}: {error}. It is given one "
            "example, without a batch axis."
        ) from error
    if any(not jnp.issubdtype(s.dtype, jnp.inexact) for s in jax.tree.leaves(state)):
        raise ValueError(
            f"`init` of {name} must return floating-point arrays, but returned {state}."
        )
    try:
        units_of_leaves(energy.units, state)
    except ValueError as error:
        raise ValueError(
            f"`units` of {name} must be one unit or a prefix of the state, whose "
            f"shapes are {_shapes(state)}, but is {energy.units}."
        ) from error
    try:
        value = jax.eval_shape(energy.interaction, state, one)
    except Exception as error:
        if not isinstance(energy, FunctionEnergy):
            _require_batched(energy, x, one, error)
            raise
        raise ValueError(
            f"The energy function {name} failed on one example, that is on a state "
            f"of shapes {_shapes(state)} and x of shapes {_shapes(one)}: "
            f"{_told(error, energy.params)}"
        ) from error
    shape = getattr(value, "shape", None)
    if shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        what = "no array" if shape is None else f"shape {shape}, {value.dtype}"
        raise ValueError(
            f"The energy function {name} must return a floating-point scalar for one "
            f"example, but returned {what} for a state of shapes {_shapes(state)} and "
            f"x of shapes {_shapes(one)}. Sum over the units, as in `jnp.sum(...)`; "
            "the library adds the batch axis itself."
        )


def _told(error: Exception, params: PyTree) -> str:
    what = f"{type(error).__name__}: {error}"
    if isinstance(error, KeyError) and isinstance(params, dict):
        return f"{what}. `params` has the keys {', '.join(map(repr, params))}."
    if isinstance(error, _SHAPE_ERRORS) and re.search(_OF_SHAPES, str(error)):
        return f"{what}. Energies are written for one example, without a batch axis."
    return f"{what}."


def _require_batched(
    energy: AbstractEnergy, x: PyTree, one: PyTree, error: Exception
) -> None:
    """Raises a `ValueError` if the energy failed since x is a single example."""
    whole = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), x)
    try:
        jax.eval_shape(energy.interaction, jax.eval_shape(energy.init, whole), whole)
    except Exception:
        return
    raise ValueError(
        f"`x` has shape {_shapes(one)} for one example, since its first axis counts "
        f"the examples: an x of shape {_shapes(x)} is itself one example, without a "
        "batch axis. `x` must be [batch, *input shape]; for one example pass `x[None]`."
    ) from error


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda a: a.shape, tree))
