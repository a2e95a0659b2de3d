from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree

from ..energies import AbstractUnit, Model
from ..relaxation import Landscape


_MOST_UNITS = 5000


class Curvature(eqx.Module):
    """The curvature of the energy at a state, along the units that can move.

    **Attributes:**

    - `smallest`: the smallest eigenvalue of $J = ∂²F/∂s²$: positive at a minimum.
    - `largest_beta`: the β up to which $J - β\\,∂²C$ stays positive, so that the
        negative nudge of this strength keeps its minimum (to first order: at the state
        given). Infinite for a cost without curvature, zero where J is not positive,
        `None` without a cost.
    - `free_units`: how many units can move.
    """

    smallest: Float[Array, " batch"]
    largest_beta: Float[Array, " batch"] | None
    free_units: Float[Array, " batch"]


@eqx.filter_jit
def curvature(
    landscape: Landscape,
    state: PyTree[Array],
    y: Float[Array, "batch ..."] | None = None,
) -> Curvature:
    """Is a state a minimum, and does it stay one under a negative nudge?

    $$λ_{\\min}(J) > 0, \\qquad λ_{\\min}(J - β\\,∂²C) > 0, \\qquad
      J = ∂²F/∂s² \\text{ on the units inside their walls}$$

    A clipped unit at its wall doesn't move and is left out. The curvature is a dense
    matrix for each example: cost O(units³), for a few examples of up to 5000 units.

    **Arguments:**

    - `landscape`: nudged or not.
    - `state`: a state settled in it.
    - `y`: targets, for `largest_beta` of a landscape that isn't nudged.

    **Raises:**

    - `ValueError`: too many units, or the energy can't be differentiated twice.
    """
    size = sum(leaf[0].size for leaf in jax.tree.leaves(state))
    if size > _MOST_UNITS:
        raise ValueError(
            f"`state` has {size} units an example, and their curvature is a dense "
            f"matrix: at most {_MOST_UNITS} are taken."
        )
    y = landscape.y if y is None else y
    movable = _movable(landscape, state)
    flat = jax.vmap(lambda s: ravel_pytree(s)[0])(state)
    unravel = ravel_pytree(jax.tree.map(lambda s: s[0], state))[1]

    # One after the other: the matrices of a whole batch would not fit.
    def one(example):
        s, free, x, y, beta = example
        energy, cost = _functions(landscape, unravel, x, y)
        nudged = energy if beta is None else lambda s: energy(s) + beta * cost(s)
        matrix = _restricted(nudged, s, free)
        smallest = jnp.linalg.eigvalsh(_fill(matrix, free))[0]
        if y is None:
            return smallest, smallest
        return smallest, _largest_beta(matrix, _restricted(cost, s, free), free)

    beta = landscape.beta
    if beta is not None:
        beta = jnp.broadcast_to(beta, (landscape.batch,)).astype(flat.dtype)
    smallest, largest = jax.lax.map(one, (flat, movable, landscape.x, y, beta))
    count = jnp.sum(movable, axis=1).astype(flat.dtype)
    return Curvature(smallest, None if y is None else largest, count)


def _functions(
    landscape: Landscape, unravel: Callable, x: PyTree[Array], y: Array | None
) -> tuple[Callable, Callable]:
    """Energy and cost of one example, of its flat state."""
    model = landscape.model

    def energy(flat):
        return landscape.energy_fn(unravel(flat), x)

    def cost(flat):
        assert isinstance(model, Model)
        assert y is not None
        return model.cost(model.energy.output(unravel(flat)), y)

    return energy, cost


def _movable(landscape: Landscape, state: PyTree[Array]) -> Bool[Array, "batch units"]:
    marks = []
    leaves = jax.tree.leaves(landscape.hold(state))
    for k, (unit, s) in enumerate(zip(landscape.leaf_units(), leaves, strict=True)):
        free = jnp.zeros(s.shape, bool) if k in landscape.held else _inside(unit, s)
        marks.append(free.reshape(landscape.batch, -1))
    return jnp.concatenate(marks, axis=1)


def _inside(unit: AbstractUnit, s: Array) -> Bool[Array, "batch ..."]:
    if unit.quadratic:
        return ~jax.vmap(unit.saturated)(s)
    # A curved potential is steep, not flat, near its walls; at the walls themselves
    # its curvature is infinite.
    bend = jax.grad(lambda s: jnp.sum(jax.grad(lambda t: jnp.sum(_sum(unit, t)))(s)))(s)
    return jnp.isfinite(bend)


def _sum(unit: AbstractUnit, s: Array) -> Array:
    return jax.vmap(unit.potential)(s)


def _restricted(fn: Callable, s: Array, free: Array) -> Float[Array, "units units"]:
    matrix = jax.hessian(fn)(s)
    return jnp.where(free[:, None] & free[None, :], matrix, 0)


def _fill(matrix: Array, free: Array) -> Array:
    """The matrix with the units that can't move put above its whole spectrum."""
    above = jnp.max(jnp.sum(jnp.abs(matrix), axis=1)) + 1
    return matrix + jnp.diag(jnp.where(free, 0, above))


def _largest_beta(matrix: Array, bend: Array, free: Array) -> Array:
    # J − βB is positive up to the inverse of the largest eigenvalue of B relative to
    # J; the Cholesky factor of a J that isn't positive is NaN.
    factor = jnp.linalg.cholesky(_fill(matrix, free))
    half = jax.scipy.linalg.solve_triangular(factor, bend, lower=True)
    relative = jax.scipy.linalg.solve_triangular(factor, half.T, lower=True)
    positive = jnp.all(jnp.isfinite(relative))
    relative = jnp.where(positive, relative, 0)
    largest = jnp.linalg.eigvalsh(0.5 * (relative + relative.T))[-1]
    bound = jnp.where(largest > 0, 1 / jnp.where(largest > 0, largest, 1), jnp.inf)
    return jnp.where(positive, bound, 0)
