from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..energies import AbstractEnergy, Hopfield, Model, Network, without_predictor
from ..relaxation import Landscape


def receptive_fields(
    model: Model | AbstractEnergy,
    x: Float[Array, "..."],
    units: Sequence[Sequence[int] | np.ndarray] | None = None,
) -> dict[str, Float[np.ndarray, "units ..."]]:
    """What every unit looks for in the input: its weights, taken back to the input
    through the layers before it.

    $$R_k = \\sum_{j < k} M_{kj} R_j, \\qquad M_{kj} = -\\frac{∂²Φ}{∂s_k\\,∂s_j},
      \\qquad R_0 = 1$$

    with the interaction Φ at rest (all states and the input zero, or as near as the
    units can be) and $s_0 = x$. $M_{kj}$ are the weights between two layers, of any
    interaction; of a first layer the field is its weights alone. It is what a unit's
    drive would change by if every unit before it were linear and nothing came back from
    above. Layers count in the order of the state.

    **Arguments:**

    - `model`: a model, or a bare energy.
    - `x`: an input, without batch axis; only its shape and type count.
    - `units`: for each layer which units, as indices of the flattened layer; by default
        all of them.

    **Returns:**

    For each layer by name (by its path, in an energy of your own) an array `[units,
    *input shape]`.

    **Raises:**

    - `ValueError`: the input is not one array, or the energy refuses it.
    """
    if not isinstance(x, jax.Array | np.ndarray):
        raise ValueError(
            f"`x` must be the one array that is a single input, but is a "
            f"{type(x).__name__}. Pass a row of the data, as in `data.train.x[0]`."
        )
    landscape = Landscape(model, jnp.zeros_like(x)[None])
    rest = landscape.init()
    leaves = [leaf[0] for leaf in jax.tree.leaves(rest)]
    if units is None:
        units = [range(leaf.size) for leaf in leaves]
    structure, energy = jax.tree.structure(rest), landscape.energy_fn

    def drives(x, leaves):
        def tilt(leaves):
            return -energy.interaction(jax.tree.unflatten(structure, leaves), x)

        return jax.grad(tilt)(leaves)

    _, pull = jax.vjp(drives, landscape.x[0], leaves)

    def field(layer, unit):
        # Down the layers: what reaches a layer is passed on to those before it.
        reached = [jnp.zeros_like(leaf) for leaf in leaves]
        start = jnp.zeros_like(leaves[layer]).reshape(-1).at[unit].set(1)
        reached[layer] = start.reshape(leaves[layer].shape)
        total = jnp.zeros_like(landscape.x[0])
        for k in reversed(range(layer + 1)):
            alone = [r if j == k else 0 * r for j, r in enumerate(reached)]
            to_x, to_leaves = pull(alone)
            total = total + to_x
            for j in range(k):
                reached[j] = reached[j] + to_leaves[j]
        return total

    return {
        name: np.asarray(
            jax.lax.map(
                lambda unit, k=k: field(k, unit), jnp.asarray(units[k]), batch_size=64
            )
        )
        for k, name in enumerate(layer_names(landscape.energy_fn, rest))
    }


def layer_names(energy: AbstractEnergy, state: PyTree[Any]) -> list[str]:
    """A name for each leaf of the state: its layer's, or its path in the state."""
    itself = without_predictor(energy)
    if isinstance(itself, Network | Hopfield):
        return [layer.name for layer in itself.layers]
    paths = jax.tree_util.tree_leaves_with_path(state)
    return [f"state{jax.tree_util.keystr(path)}" for path, _ in paths]
