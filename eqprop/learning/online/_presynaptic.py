from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ...energies import Dense, Edge, Hopfield, INPUT, Lateral, values_by_name
from ...relaxation import Landscape
from .._phase import batch_mean


def potentials(energy: Any, state: PyTree[Array], x: Array) -> dict[str, Array]:
    """What each layer of one example holds, by name, the input included."""
    return values_by_name(energy.layers, state, x)


def rates(energy: Any, state: PyTree[Array], x: Array) -> dict[str, Array]:
    """The firing rates of each layer of one example, by name, the input included."""
    found = potentials(energy, state, x)
    if isinstance(energy, Hopfield):
        return {name: energy.rate(u) for name, u in found.items()}
    return found


def presynaptic_change(
    landscape: Landscape,
    old: PyTree[Array],
    new: PyTree[Array],
    postsynaptic: Callable[..., dict[str, Array]],
    *,
    both_ways: bool,
    weight: Float[Array, " batch"] | None,
) -> PyTree[Array]:
    """The gradient of every edge's term when its postsynaptic layer alone moves, and
    of the cost as a whole.

    **Arguments:**

    - `postsynaptic`: `potentials` or `rates`: the change of which counts.
    - `both_ways`: whether each layer of an edge is postsynaptic in turn.
    """
    energy = landscape.energy_fn

    def read(values, state):
        return jax.vmap(lambda s, x: values(energy, s, x))(state, landscape.x)

    before, after = read(postsynaptic, old), read(postsynaptic, new)
    held = read(rates, old)

    @eqx.filter_grad
    def growth(model) -> Scalar:
        at = eqx.tree_at(lambda scape: scape.model, landscape, model)
        edges: tuple[Edge, ...] = at.energy_fn.edges

        def of_example(held, before, after):
            terms = [_growth(e, held, before, after, both_ways) for e in edges]
            return sum(terms, start=jnp.zeros((), landscape.x.dtype))

        total = jax.vmap(of_example)(held, before, after)
        if at.beta is not None:
            total = total + at.beta * (at.cost(new) - at.cost(old))
        return batch_mean(total, weight)

    return growth(landscape.model)


def _growth(
    edge: Edge,
    held: dict[str, Array],
    before: dict[str, Array],
    after: dict[str, Array],
    both_ways: bool,
) -> Scalar:
    names, term = edge.layers, edge.interaction
    if isinstance(term, Lateral):
        # One layer, but two sides: unit i of each pair i < j is presynaptic.
        names, term = 2 * names, Dense(jnp.triu(term.weight, 1))
    # The clamped input never moves.
    sides = [k for k, name in enumerate(names) if name != INPUT]
    total: Any = 0.0
    for k in sides if both_ways else sides[-1:]:
        rest = [held[name] for name in names]
        grown = term(*rest[:k], after[names[k]], *rest[k + 1 :])
        total = total + grown - term(*rest[:k], before[names[k]], *rest[k + 1 :])
    return total
