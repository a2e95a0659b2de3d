"""Landscapes of one example: for the libraries that own their loops."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, PyTree

from ._landscape import Landscape


def for_each_example(
    fn: Callable[[Landscape, PyTree[Array]], Any],
    landscape: Landscape,
    state: PyTree[Array],
) -> Any:
    """`fn(landscape, state)` of every example by itself, vectorized.

    **Arguments:**

    - `fn`: takes a landscape of one example, which has a batch axis of 1 (see
        `displacement_of_one`), and its state, which has none.
    """

    def one(x, y, beta, held, state):
        single = Landscape(
            landscape.model,
            add_batch_axis(x),
            add_batch_axis(y),
            beta,
            add_batch_axis(held),
        )
        return fn(single, state)

    # β may be shared by the batch or one per example.
    beta = landscape.beta
    beta_axis = 0 if beta is not None and beta.ndim == 1 else None
    parts = (landscape.x, landscape.y, beta, landscape.held, state)
    return jax.vmap(one, in_axes=(0, 0, beta_axis, 0, 0))(*parts)


def add_batch_axis(tree: PyTree[Array]) -> PyTree[Array]:
    return jax.tree.map(lambda a: a[None], tree)


def displacement_of_one(landscape: Landscape, state: PyTree[Array]) -> PyTree[Array]:
    """[`eqprop.Landscape.displacement`][] of one example, without batch axis."""
    moves = landscape.displacement(add_batch_axis(state))
    return jax.tree.map(lambda a: a[0], moves)
