"""An equilibrium as a differentiable value, its derivative by a method's own means."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..energies import AbstractCost, AbstractEnergy, Model
from ..relaxation import (
    Equilibrium,
    Landscape,
    per_example,
    relax,
    require_settled,
    state_size,
)


def settle(
    method: Any,
    energy: AbstractEnergy,
    x: PyTree[Array],
    state0: PyTree[Array] | None,
    key: PRNGKeyArray | None,
    throw: bool,
) -> Equilibrium:
    """The free phase, of which `state` is differentiable through the method's
    `pull_back`: see [`eqprop.AbstractEstimator.equilibrium`][]."""
    free = _settle((energy, x), method, state0, key, throw)
    fixed = jax.tree.map(jax.lax.stop_gradient, free)
    return eqx.tree_at(lambda e: e.state, fixed, free.state)


def _free_phase(energy_and_x, method, state0, key, throw) -> Equilibrium:
    energy, x = energy_and_x
    landscape = Landscape(energy, x)
    return relax(landscape, method.free_solver(), state0, key=key, throw=throw)


@eqx.filter_custom_vjp
def _settle(energy_and_x, method, state0, key, throw):
    return _free_phase(energy_and_x, method, state0, key, throw)


@_settle.def_fwd
def _settle_forward(perturbed, energy_and_x, method, state0, key, throw):
    free = _free_phase(energy_and_x, method, state0, key, throw)
    return free, free


@_settle.def_bwd
def _settle_backward(
    free, cotangents, perturbed, energy_and_x, method, state0, key, throw
):
    energy, x = energy_and_x
    # Of a leaf that nobody reads there is no cotangent.
    cotangent = jax.tree.map(
        lambda s, g: jnp.zeros_like(s) if g is None else g,
        free.state,
        cotangents.state,
    )
    if key is not None:
        key = jax.random.fold_in(key, 1)
    phases, energy_bar, x_bar = method.pull_back(
        Landscape(energy, x), free, cotangent, state0=state0, key=key
    )
    found = eqx.filter((energy_bar, x_bar), perturbed)
    if throw:
        for phase in phases:
            found = require_settled(phase, found)
    # Of all that it was made from: the states in between are held fixed, and where the
    # rest is linear nothing else would lead back there. A second derivative would be 0.
    sources = eqx.filter((energy, x, cotangent), eqx.is_inexact_array)
    return jax.tree.map(lambda array: _differentiated_once(array, sources), found)


@jax.custom_jvp
def _differentiated_once(array: Array, sources: PyTree[Array]) -> Array:
    return array


@_differentiated_once.defjvp
def _refuse(primals, tangents):
    raise ValueError(
        "`equilibrium` can be differentiated once, not twice: its derivative is a "
        "contrast of relaxed states, whose own derivative is not that of a gradient. "
        "For second derivatives of a small model differentiate "
        "`ep.relax(landscape, solver)` itself, with `stop=None`."
    )


def scaled(cotangent: PyTree[Array]) -> tuple[PyTree[Array], Float[Array, " batch"]]:
    """The cotangent with each example's largest entry at 1 (or all at 0), and what to
    multiply by to have it back: so no tolerance depends on its size."""
    scale = state_size(cotangent)
    divisor = jnp.where(scale == 0, 1, scale)
    return jax.tree.map(lambda g: g / per_example(divisor, g), cotangent), scale


def scaled_overlap(
    landscape: Landscape, cotangent: PyTree[Array]
) -> tuple[Landscape, Float[Array, "batch size"], Float[Array, " batch"]]:
    """The landscape that a cotangent nudges, its targets, and each example's scale.

    Nudged by β it is $E + β⟨g/c, s⟩$, with $c = \\max|g|$ of each example: the nudge
    is of order β whatever the size of g.
    """
    unit_cotangent, scale = scaled(cotangent)
    target = jax.vmap(lambda g: ravel_pytree(g)[0])(unit_cotangent)
    model = Model(WholeState(landscape.energy_fn), Overlap())
    return Landscape(model, landscape.x), target, scale


class WholeState(AbstractEnergy):
    """An energy whose output is all of its state, in one row."""

    energy: AbstractEnergy

    def __init__(self, energy: AbstractEnergy):
        self.energy = energy

    @property
    def units(self):
        return self.energy.units

    def interaction(self, state, x):
        return self.energy.interaction(state, x)

    def init(self, x):
        return self.energy.init(x)

    def output(self, state):
        return ravel_pytree(state)[0]


class Overlap(AbstractCost):
    """The cost $⟨y, o⟩$: nudging by it is a constant drive $-βy$."""

    def __call__(self, output, y):
        return jnp.sum(y * output)

    def predict(self, output):
        return output

    def curvature(self):
        return (0.0, 0.0)

    def check(self, output, y):
        return None if output == y else f"a cotangent of shape {y} for {output}"
