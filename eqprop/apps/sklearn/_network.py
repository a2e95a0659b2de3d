"""The network behind an estimator: its widened copy, and what it predicts."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from ...energies import AbstractCost, AbstractUnit, Model
from ...energies.nets import mlp
from ...relaxation import AbstractSolver, Landscape, relax
from ._examples import padded_inputs, padded_width


# One size for every batch: what an example's prediction is then depends on the example
# alone, to the last bit.
_BATCH = 256


def new_model(
    sizes: Sequence[int], unit: AbstractUnit, cost: AbstractCost, seed: int
) -> Model:
    """A chain with linear outputs, its weights drawn with `seed`."""
    return Model(mlp(list(sizes), key=jax.random.key(seed), unit=unit), cost)


def widened(model: Model) -> Model:
    """The same model for inputs that are filled up with zeros. Its extra weights are 0,
    get a gradient of 0, and so stay 0."""
    weight = _first_weight(model)
    extra = padded_width(weight.shape[0]) - weight.shape[0]
    return eqx.tree_at(_first_weight, model, jnp.pad(weight, ((0, extra), (0, 0))))


def narrowed(model: Model, features: int) -> Model:
    """The model that `widened` had."""
    return eqx.tree_at(_first_weight, model, _first_weight(model)[:features])


def layer_sizes(model: Model) -> list[int]:
    """The sizes of the input, the hidden layers and the output."""
    energy: Any = model.energy
    sizes = [layer.shape[0] for layer in energy.layers]
    return [_first_weight(model).shape[0], *sizes]


def settle(
    model: Model, solver: AbstractSolver, x: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """The outputs at equilibrium, the predictions that the cost reads off them, and the
    share of certified equilibria."""
    model = widened(model)
    outputs, predictions, settled = [], [], []
    for start in range(0, len(x), _BATCH):
        rows = x[start : start + _BATCH]
        batch = padded_inputs(rows, _BATCH)
        found = [np.asarray(a)[: len(rows)] for a in _settle(model, solver, batch)]
        outputs.append(found[0])
        predictions.append(found[1])
        settled.append(found[2])
    share = float(np.mean(np.concatenate(settled)))
    return np.concatenate(outputs), np.concatenate(predictions), share


@eqx.filter_jit
def _settle(
    model: Model, solver: AbstractSolver, x: Float[Array, "batch features"]
) -> tuple[Float[Array, "batch n"], Float[Array, "batch m"], Bool[Array, " batch"]]:
    landscape = Landscape(model, x)
    free = relax(landscape, solver, throw=False)
    output = landscape.output(free.state)
    return output, jax.vmap(model.cost.predict)(output), free.converged


def _first_weight(model: Any) -> Any:
    return model.energy.edges[0].interaction.weight
