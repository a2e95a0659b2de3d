import functools

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ._energy import AbstractEnergy
from ._function import FunctionEnergy
from ._unit import units_of_leaves


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
            f"{_shapes(one)}: {error}. It is given one example, without a batch axis."
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
            raise
        raise ValueError(
            f"The energy function {name} failed on one example, that is on a state "
            f"of shapes {_shapes(state)} and x of shapes {_shapes(one)}: {error}. "
            "Energies are written for one example, without a batch axis."
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


def _shapes(tree: PyTree) -> str:
    return str(jax.tree.map(lambda a: a.shape, tree))
