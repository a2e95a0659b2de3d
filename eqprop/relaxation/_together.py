"""Several phases in one relaxation."""

from collections.abc import Hashable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ._equilibrium import Equilibrium
from ._landscape import Landscape
from ._phases import Own, own_parts, settled_as_columns
from ._relax import relax
from ._solver import AbstractSolver


def relax_together(
    landscapes: Sequence[Landscape],
    solver: AbstractSolver,
    states: Sequence[PyTree[Array]],
    *,
    key: PRNGKeyArray | None = None,
) -> tuple[Equilibrium, ...]:
    """Relaxes several landscapes; those of one model and one input as one batch.

    What these share is worked out once: the product of the input with its weights;
    and in every step each weight is read once for all of them. The results are those
    of [`eqprop.relax`][] one after the other, without `throw`, up to round-off.

    **Arguments:**

    - `landscapes`, `states`: the landscapes, and where to start in each.
    - `solver`, `key`: as for [`eqprop.relax`][]; all draw with the same key.
    """
    found: dict[int, Equilibrium] = {}
    for group in grouped([_kind(scape) for scape in landscapes]):
        if len(group) == 1:
            (k,) = group
            found[k] = relax(landscapes[k], solver, states[k], key=key, throw=False)
        else:
            members = [(landscapes[k], states[k]) for k in group]
            found |= zip(group, _as_one(members, solver, key), strict=True)
    return tuple(found[k] for k in range(len(landscapes)))


def grouped(keys: Sequence[Hashable]) -> list[list[int]]:
    """The positions of equal keys, in groups."""
    groups: dict[Hashable, list[int]] = {}
    for position, key in enumerate(keys):
        groups.setdefault(key, []).append(position)
    return list(groups.values())


def problem(landscape: Landscape) -> tuple[int, ...]:
    """Stands for the landscape's model and input: equal where they are the very same
    arrays."""
    return tuple(id(leaf) for leaf in jax.tree.leaves((landscape.model, landscape.x)))


def _kind(landscape: Landscape) -> Hashable:
    """Equal for landscapes of one problem whose nudges can be stacked."""
    leaves, structure = jax.tree.flatten(own_parts(landscape))
    kinds = tuple((jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves)
    return problem(landscape), structure, kinds


def _as_one(
    members: Sequence[tuple[Landscape, PyTree[Array]]],
    solver: AbstractSolver,
    key: PRNGKeyArray | None,
) -> list[Equilibrium]:
    pairs = [(own_parts(landscape), state) for landscape, state in members]
    own, states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)
    settled = _settled(members[0][0], own, solver, states, key)
    return [jax.tree.map(lambda a, k=k: a[k], settled) for k in range(len(members))]


@eqx.filter_jit
def _settled(
    shared: Landscape,
    own: Own,
    solver: AbstractSolver,
    states: PyTree[Array],
    key: PRNGKeyArray | None,
) -> Equilibrium:
    def one(own, state):
        landscape = Landscape(shared.model, shared.x, *own)
        return relax(landscape, solver, state, key=key, throw=False)

    found = settled_as_columns(shared, own, solver, states, key)
    return jax.vmap(one)(own, states) if found is None else found
