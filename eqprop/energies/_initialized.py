from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ._energy import AbstractEnergy
from ._kinds import require_kind
from ._unit import AbstractUnit, units_of_leaves


class Initialized(AbstractEnergy):
    """An energy whose relaxations start where a predictor says that they will end.

    $$s_{\\text{start}} = \\text{activate}(\\text{predictor}(x))$$

    in the place of the resting state; the energy itself, and so its equilibria, stay
    the same. The predictor's parameters lie beside the energy's own.
    [`eqprop.InitializedEP`][] teaches it the equilibria; every other method leaves it
    as it is.

    **Arguments:**

    - `energy`: what relaxes.
    - `predictor`: of one example: from x to a drive for every unit, a pytree like the
        state. A [`eqprop.Feedforward`][], or a Module of your own. (Units without a
        potential have no activation: what is predicted for them is their state.)

    **Raises:**

    - `ValueError`: when it starts, if what the predictor returns is not like the state.

    ??? cite "O'Connor et al. 2019"
        Initialized Equilibrium Propagation for backprop-free training, ICLR.
    """

    energy: AbstractEnergy
    predictor: Callable[[Any], PyTree[Array]]

    def __init__(
        self, energy: AbstractEnergy, predictor: Callable[[Any], PyTree[Array]]
    ):
        fix = "Pass the energy that relaxes, such as `ep.nets.mlp(...)`."
        require_kind("energy", energy, AbstractEnergy, fix, owner="Initialized")
        fix = "Pass an `ep.Feedforward(...)`."
        require_kind("predictor", predictor, Callable, fix, owner="Initialized")
        self.energy = energy
        self.predictor = predictor

    @property
    def units(self):
        return self.energy.units

    def interaction(self, state, x):
        return self.energy.interaction(state, x)

    def output(self, state):
        return self.energy.output(state)

    def init(self, x):
        return self.start(self.drives(x))

    def drives(self, x: PyTree[Array]) -> PyTree[Array]:
        """What the predictor says of one example: a drive for every unit."""
        drives = self.predictor(x)
        rest = jax.eval_shape(self.energy.init, x)
        found, wanted = (jax.tree.map(lambda a: a.shape, t) for t in (drives, rest))
        if found != wanted:
            raise ValueError(
                f"`predictor` of `Initialized` returned {found} for one example, but "
                f"the state has {wanted}. Return a drive for every unit."
            )
        return drives

    def start(self, drives: PyTree[Array]) -> PyTree[Array]:
        """The state of one example under such drives."""
        leaves, treedef = jax.tree.flatten(drives)
        units = units_of_leaves(self.units, drives)
        moved = [_activated(unit, d) for unit, d in zip(units, leaves, strict=True)]
        return jax.tree.unflatten(treedef, moved)


class Feedforward(eqx.Module):
    """A feedforward network as a predictor of equilibria.

    $$d_k = s_{k-1} W_k + b_k, \\qquad s_k = \\text{activate}(d_k), \\qquad s_0 = x$$

    It is local: no derivative goes from a layer to the one below.

    **Arguments:**

    - `weights`, `biases`: $W_k$, `[size of layer k − 1, size of layer k]`, and $b_k$,
        for each layer of the state.
    - `units`: the unit of each.

    **Raises:**

    - `ValueError`: they don't fit each other, or when called don't fit x.
    """

    weights: tuple[Float[Array, "below above"], ...] = eqx.field(converter=tuple)
    biases: tuple[Float[Array, " above"], ...] = eqx.field(converter=tuple)
    units: tuple[AbstractUnit, ...] = eqx.field(converter=tuple)

    def __check_init__(self):
        counts = [len(part) for part in (self.weights, self.biases, self.units)]
        if len(set(counts)) > 1 or 0 in counts:
            raise ValueError(
                "`weights`, `biases` and `units` of `Feedforward` must be as many as "
                f"layers, but there are {counts[0]}, {counts[1]} and {counts[2]}."
            )
        below = len(self.weights[0])
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            if weight.shape != (below, *bias.shape):
                raise ValueError(
                    f"`weights[{k}]` of `Feedforward` has shape {weight.shape}, but "
                    f"there are {below} units below and biases of shape {bias.shape}."
                )
            below = bias.size

    def __call__(self, x: Float[Array, "..."]) -> tuple[Float[Array, " layer"], ...]:
        """The drive of every layer, for one example; x of several axes is flattened."""
        below, drives = x.reshape(-1), []
        if below.size != len(self.weights[0]):
            raise ValueError(
                f"`weights[0]` of `Feedforward` takes {len(self.weights[0])} inputs, "
                f"but an example has shape {x.shape}, which are {below.size}."
            )
        for weight, bias, unit in zip(
            self.weights, self.biases, self.units, strict=True
        ):
            drives.append(below @ weight + bias)
            below = jax.lax.stop_gradient(_activated(unit, drives[-1]))
        return tuple(drives)


def without_predictor(energy: AbstractEnergy) -> AbstractEnergy:
    """What relaxes: the energy itself, where a predictor stands beside it."""
    return energy.energy if isinstance(energy, Initialized) else energy


def _activated(unit: AbstractUnit, drive: Array) -> Array:
    return unit.activate(drive) if unit.curvature[0] > 0 else drive
