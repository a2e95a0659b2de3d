from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..energies import Model
from ..relaxation import AbstractSolver, Landscape, relax
from ._parameters import parameters_by_name


def finite_difference(
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    solver: AbstractSolver,
    *,
    entries: int = 16,
    step: float = 1e-5,
    seed: int = 0,
) -> tuple[Model, dict[str, Array]]:
    """The gradient of the cost at equilibrium by central differences, with every
    equilibrium settled again: the reference that needs no theory.

    $$\\frac{L(θ + h e_i) - L(θ - h e_i)}{2h}, \\qquad L(θ) = C(s^0(θ), y)$$

    Error O(h²) plus round-off over h: about ten digits in float64, for states settled
    to round-off. Two relaxations for each entry, so only some of each parameter are
    measured, drawn at random.

    **Arguments:**

    - `model`, `x`, `y`: the model and a batch, in float64.
    - `solver`: how equilibria settle.
    - `entries`: how many entries of each parameter.
    - `step`: h, in the parameters' own unit.
    - `seed`: draws the entries.

    **Returns:**

    A pytree like the model with the entries that were measured and zeros elsewhere,
    and for each parameter by name the indices of those entries in the flattened array:
    the `where` of [`eqprop.diagnostics.compare`][].
    """
    rng = np.random.default_rng(seed)
    names = parameters_by_name(model)
    chosen = {
        name: np.sort(rng.choice(a.size, min(entries, a.size), replace=False))
        for name, a in names.items()
    }
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(params)

    @eqx.filter_jit
    def loss(leaves, x, y, solver):
        landscape = Landscape(eqx.combine(jax.tree.unflatten(treedef, leaves), rest), x)
        state = relax(landscape, solver, throw=False).state
        return jnp.mean(landscape.cost(state, y))

    def moved(k: int, i: int, h: float) -> list[Array]:
        leaf = leaves[k].ravel().at[i].add(h).reshape(leaves[k].shape)
        return [*leaves[:k], leaf, *leaves[k + 1 :]]

    found = [jnp.zeros_like(leaf) for leaf in leaves]
    for name, indices in chosen.items():
        k = next(i for i, leaf in enumerate(leaves) if leaf is names[name])
        values = _slopes(loss, moved, k, indices.tolist(), step, (x, y, solver))
        flat = found[k].ravel().at[indices].set(jnp.asarray(values, leaves[k].dtype))
        found[k] = flat.reshape(leaves[k].shape)
    where = {name: jnp.asarray(indices) for name, indices in chosen.items()}
    return jax.tree.unflatten(treedef, found), where


def _slopes(loss, moved, k: int, indices: Sequence[int], h: float, rest) -> list[float]:
    found = []
    for i in indices:
        up, down = loss(moved(k, i, h), *rest), loss(moved(k, i, -h), *rest)
        found.append(float((up - down) / (2 * h)))
    return found
