"""Relaxation factors of block sweeps that are left open, estimated by trial."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ._landscape import Landscape
from ._relax import relax
from ._solver import AbstractSolver
from ._spectrum import radii, relaxation_for
from .solvers import BlockCoordinate


_Part = TypeVar("_Part")

# What is tried: one hidden layer needs the small ones, and there a twentieth matters.
_OMEGAS = (1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9)
# With a tolerance those from here on fall too, over so many sweeps at a time, on the
# slowest examples, at least so many and this share of all, for so many sweeps.
_FALLING, _PERIOD = 5, 20.0
_SLOWEST, _SHARE_OF_SLOWEST, _TRIAL_STEPS = 32, 1 / 16, 48
# Fixed sweeps are tried on so many examples, and count those that are left uncertified,
# as smoothly as so few of them need: (r / certify) to this power.
_EXAMPLES, _SHARPNESS = 256, 8
# The share of the examples that a batch holds, where nobody says how many.
_SHARE = 0.25


class Factor(eqx.Module):
    """What an open solver is filled in with: `relaxation` and `falls_over` of
    [`eqprop.BlockCoordinate`][]."""

    relaxation: Float[Array, "..."]
    falls_over: Float[Array, "..."]


def estimate_factors(
    part: Any,
    landscape: Landscape,
    state0: PyTree[Array] | None = None,
    *,
    batch: int | None = None,
) -> tuple[Factor, ...]:
    """The factors that [`eqprop.tune`][] fills in, in the order of the solvers.

    **Arguments:**

    - `landscape`: free, or nudged where the solvers settle nudged phases.
    - `batch`: how many examples wait for each other; by default a quarter of these.
    """
    share = _SHARE if batch is None else min(1.0, batch / landscape.batch)
    return tuple(
        _least_left(landscape, state0, solver)
        if solver.stop is None
        else _fewest_sweeps(landscape, state0, solver, jnp.asarray(share))
        for solver in _open_solvers(part)
    )


def no_factors(part: Any) -> tuple[Factor, ...]:
    """What stands for the open factors before there are estimates: ω = 1."""
    return tuple(_staying(jnp.ones((), float)) for _ in _open_solvers(part))


def fill_in(part: _Part, factors: Sequence[Factor]) -> _Part:
    """The part with these factors in the place of its open ones."""
    left = list(factors)

    def fill(node):
        return _filled(node, left.pop(0)) if _is_open(node) else node

    return jax.tree.map(fill, part, is_leaf=_is_solver)


def _staying(omega: Float[Array, "..."]) -> Factor:
    return _falling(omega, jnp.inf)


def _falling(omega: Float[Array, "..."], over: float) -> Factor:
    return Factor(omega, jnp.full_like(omega, over))


@eqx.filter_jit
def _least_left(
    landscape: Landscape, state0: PyTree[Array] | None, solver: AbstractSolver
) -> Factor:
    """The factor that leaves the fewest examples uncertified."""
    few, start = _rows(landscape, state0, slice(_EXAMPLES))
    tried = _falling(jnp.asarray(_OMEGAS, float), float(solver.max_steps))

    def left(factor):
        residual = relax(few, _filled(solver, factor), start, throw=False).residual
        beyond = jnp.log(residual) - jnp.log(solver.certify).astype(residual.dtype)
        share = jax.nn.sigmoid(_SHARPNESS * beyond)
        return jnp.mean(jnp.nan_to_num(share, nan=1.0))

    best = jnp.argmin(jax.vmap(left)(tried))
    return jax.tree.map(lambda a: a[best], tried)


@eqx.filter_jit
def _fewest_sweeps(
    landscape: Landscape,
    state0: PyTree[Array] | None,
    solver: AbstractSolver,
    share: Scalar,
) -> Factor:
    """The factor with which a batch can be expected to settle in the fewest sweeps."""
    radius = radii(landscape, state0)
    count = max(_SLOWEST, int(_SHARE_OF_SLOWEST * landscape.batch))
    rows = jnp.argsort(-radius)[:count]
    slowest, start = _rows(landscape, state0, rows)
    omegas = jnp.asarray(_OMEGAS, float)
    both = _staying(omegas), _falling(omegas[_FALLING:], _PERIOD)
    tried = jax.tree.map(lambda *parts: jnp.concatenate(parts), *both)

    brief = _shortened(solver, _TRIAL_STEPS)

    def sweeps(factor):
        return relax(slowest, _filled(brief, factor), start, throw=False).num_steps

    counts = jax.vmap(sweeps)(tried).astype(tried.relaxation.dtype)
    found = _slowest_of_share(counts, share)
    best = jax.tree.map(lambda a: a[jnp.argmin(found)], tried)
    settled = jnp.min(found) < brief.max_steps
    formula = _staying(relaxation_for(radius, 1.0))
    return jax.tree.map(lambda a, b: jnp.where(settled, a, b), best, formula)


def _rows(
    landscape: Landscape, state0: PyTree[Array] | None, rows: Any
) -> tuple[Landscape, PyTree[Array] | None]:
    """Some of a landscape's examples, and where they start."""
    beta = landscape.beta
    if beta is not None:
        beta = jnp.broadcast_to(beta, landscape.batch)
    own = (landscape.x, landscape.y, beta, landscape.held, state0)
    *fixed, start = jax.tree.map(lambda a: a[rows], own)
    return Landscape(landscape.model, *fixed), start


def _slowest_of_share(
    counts: Float[Array, "tried examples"], share: Scalar
) -> Float[Array, " tried"]:
    """The mean of the largest count in a random share of the examples, a batch.

    The largest of all is among them with that chance, else the second with the same,
    and so on. The largest of all alone is one example's, and says little of a batch.
    """
    falling = -jnp.sort(-counts, axis=-1)
    places = jnp.arange(counts.shape[-1], dtype=counts.dtype)
    chances = (1 - share.astype(counts.dtype)) ** places
    return falling @ (chances / chances.sum())


def _is_solver(node: Any) -> bool:
    return isinstance(node, AbstractSolver)


def _is_sweeps(node: Any) -> bool:
    return isinstance(node, BlockCoordinate)


def _is_open(node: Any) -> bool:
    """Whether a solver sweeps, or wraps one that does, with an open factor."""
    return _is_solver(node) and any(
        _is_sweeps(leaf) and leaf.relaxation is None
        for leaf in jax.tree.leaves(node, is_leaf=_is_sweeps)
    )


def _filled(solver: _Part, factor: Factor) -> _Part:
    """A solver with this factor for its open sweeps."""
    omega, over = factor.relaxation, factor.falls_over
    return _with_open_sweeps(solver, relaxation=omega, falls_over=over)


def _shortened(solver: AbstractSolver, most: int) -> AbstractSolver:
    """A solver that takes at most so many of its open sweeps."""
    return _with_open_sweeps(solver, max_steps=most)


def _with_open_sweeps(solver: _Part, **changes: Any) -> _Part:
    def change(node):
        is_open = _is_sweeps(node) and node.relaxation is None
        return dataclasses.replace(node, **changes) if is_open else node

    return jax.tree.map(change, solver, is_leaf=_is_sweeps)


def _open_solvers(part: Any) -> list[AbstractSolver]:
    return list(filter(_is_open, jax.tree.leaves(part, is_leaf=_is_solver)))
