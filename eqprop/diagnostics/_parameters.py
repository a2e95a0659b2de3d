from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

from ..energies import Hopfield, Model, Network, without_predictor


def parameters_by_name(model: Model) -> dict[str, Array]:
    """The parameters of a model (or of a gradient like it) by a readable name: the
    layers an edge couples, in a network; the path elsewhere. Those of a predictor
    ([`eqprop.Initialized`][]), on which no equilibrium depends, are left out.

    **Arguments:**

    - `model`: a model, or a pytree like it, as a gradient is.
    """
    found: dict[str, Array] = {}
    energy = without_predictor(model.energy)
    if isinstance(energy, Network | Hopfield):
        for edge in energy.edges:
            for leaf in _inexact(edge):
                name = "-".join(edge.layers)
                found[name if name not in found else f"{name}#{len(found)}"] = leaf
        rest: Any = {"cost": model.cost}
    else:
        rest = {"energy": energy, "cost": model.cost}
    for path, leaf in jax.tree_util.tree_leaves_with_path(rest):
        if eqx.is_inexact_array(leaf):
            found[jax.tree_util.keystr(path, simple=True, separator=".")] = leaf
    return found


def _inexact(tree: PyTree) -> list[Array]:
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
