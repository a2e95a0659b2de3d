import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ._landscape import Landscape
from ._relax import relax
from ._scalars import inner, per_example
from ._solver import Tolerance
from .solvers import BlockCoordinate


_Part = TypeVar("_Part")

# A radius of 0.99 asks for ω = 1.75: what is estimated nearer to 1 is noise.
_LARGEST_RADIUS = 0.99
# Settled further, no factor changes in its third digit.
_SETTLING_STEPS, _POWER_STEPS = 24, 20
# The factors that are tried, on so many of the slowest examples, for so many sweeps.
_TRIED = tuple(1 + 0.05 * k for k in range(17))
_SLOWEST, _TRIAL_STEPS = 32, 48
# The share of the examples that a batch holds, where nobody says how many.
_SHARE = 0.25


def tune(
    part: _Part, landscape: Landscape, state0: PyTree[Array] | None = None
) -> _Part:
    """A solver or a method, its open relaxation factors estimated.

    Fills in every [`eqprop.BlockCoordinate`][] whose `relaxation` is `None`, for the
    examples of the landscape: some that stay the same, so that no example's result
    depends on its batch-mates. With a fixed number of sweeps it is the best ω of nine
    examples in ten ([`eqprop.estimate_relaxation`][]), since that of the slowest would
    make all others wait. With a tolerance the slowest decides how long a batch takes:
    the 32 examples that should be slowest are settled with ω = 1, 1.05, …, 1.8, and
    the one is taken with which a random quarter of all needs the fewest sweeps in the
    mean, until its slowest is settled.

    It costs some 60 sweeps of these examples, and with a tolerance the trials, at most
    48 sweeps with each ω. As training goes on the best ω moves: [`eqprop.fit`][] asks
    again, four times in the first epoch and once in every other, with its own batch in
    the place of a quarter, and for nudged phases with a tolerance in their own
    landscape. Filling in another number never recompiles.

    **Arguments:**

    - `part`: a solver, or a method that holds some.
    - `landscape`: a free landscape of some hundred examples.
    - `state0`: where to start settling them, by default at rest.

    **Returns:**

    The part with numbers in the place of `None`; the same where nothing was open.

    **Raises:**

    - `ValueError`: exact block sweeps don't suit the landscape.
    """
    return fill_in(part, estimate_factors(part, landscape, state0))


def estimate_factors(
    part: Any,
    landscape: Landscape,
    state0: PyTree[Array] | None = None,
    *,
    batch: int | None = None,
) -> tuple[Scalar, ...]:
    """The factors that [`eqprop.tune`][] fills in, in the order of the solvers.

    **Arguments:**

    - `landscape`: free, or nudged where the solvers settle nudged phases.
    - `batch`: how many examples wait for each other; by default a quarter of these.
    """
    waiting = _open_solvers(part)
    if not waiting:
        return ()
    radius = _radii(landscape, state0)
    share = _SHARE if batch is None else min(1.0, batch / landscape.batch)
    return tuple(
        relaxation_for(radius, 0.9)
        if solver.stop is None
        else _fewest_sweeps(landscape, state0, radius, solver.stop, jnp.asarray(share))
        for solver in waiting
    )


def no_factors(part: Any) -> tuple[Scalar, ...]:
    """What stands for the open factors before there are estimates: ω = 1."""
    return tuple(jnp.ones((), float) for _ in _open_solvers(part))


def fill_in(part: _Part, factors: Sequence[Scalar]) -> _Part:
    """The part with these factors in the place of its open ones."""
    left = list(factors)

    def fill(node):
        if not _is_open(node):
            return node
        return dataclasses.replace(node, relaxation=left.pop(0))

    return jax.tree.map(fill, part, is_leaf=_is_solver)


def estimate_relaxation(
    landscape: Landscape, state0: PyTree[Array] | None = None, *, share: float = 0.9
) -> Scalar:
    """The relaxation factor ω with which block sweeps settle in the fewest steps.

    $$ω^* = \\frac{2}{1 + \\sqrt{1 - ρ^2}}$$

    where ρ is the spectral radius of the synchronous map, $s \\mapsto
    \\text{activate}(\\text{drive}(s))$, linearized at the equilibrium, so that
    saturated units take no part (Young 1954; exact for two blocks of quadratic units).
    Power iteration finds every example's ρ.

    **Arguments:**

    - `landscape`: some examples.
    - `state0`: where to start settling them, by default at rest.
    - `share`: the share of the examples whose ρ is at most the one chosen.

    **Returns:**

    ω in [1, 1.76].

    **Raises:**

    - `ValueError`: exact block sweeps don't suit the landscape.

    ??? cite "Young 1954"
        Iterative methods for solving partial difference equations of elliptic type,
        Transactions of the American Mathematical Society 76:92–111.
    """
    return relaxation_for(_radii(landscape, state0), share)


def relaxation_for(radius: Float[Array, " batch"], share: float) -> Scalar:
    """The ω for examples of these spectral radii: see
    [`eqprop.estimate_relaxation`][]."""
    rho = jnp.quantile(jnp.clip(radius, 0, _LARGEST_RADIUS), share)
    return (2 / (1 + jnp.sqrt(1 - rho**2))).astype(float)


@eqx.filter_jit
def _fewest_sweeps(
    landscape: Landscape,
    state0: PyTree[Array] | None,
    radius: Float[Array, " batch"],
    stop: Tolerance,
    share: Scalar,
) -> Scalar:
    """The ω with which a batch can be expected to settle in the fewest sweeps."""
    rows = jnp.argsort(-radius)[:_SLOWEST]
    beta = landscape.beta
    if beta is not None:
        beta = jnp.broadcast_to(beta, landscape.batch)
    own = (landscape.x, landscape.y, beta, landscape.held, state0)
    *fixed, start = jax.tree.map(lambda a: a[rows], own)
    slowest = Landscape(landscape.model, *fixed)

    def sweeps(omega):
        solver = BlockCoordinate(relaxation=omega, max_steps=_TRIAL_STEPS, stop=stop)
        return relax(slowest, solver, start, throw=False).num_steps

    tried = jnp.asarray(_TRIED)
    found = _slowest_of_share(jax.vmap(sweeps)(tried).astype(tried.dtype), share)
    best = tried[jnp.argmin(found)]
    settled = jnp.min(found) < _TRIAL_STEPS
    return jnp.where(settled, best, relaxation_for(radius, 1.0)).astype(float)


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


@eqx.filter_jit
def _radii(
    landscape: Landscape, state0: PyTree[Array] | None
) -> Float[Array, " batch"]:
    stop = Tolerance(1e-3)
    solver = BlockCoordinate(relaxation=1.3, max_steps=_SETTLING_STEPS, stop=stop)
    return spectral_radius(
        landscape, relax(landscape, solver, state0, throw=False).state
    )


def spectral_radius(
    landscape: Landscape, state: PyTree[Array]
) -> Float[Array, " batch"]:
    """For every example the spectral radius of its synchronous map's derivative, by
    power iteration from one fixed direction; 0 where it isn't a number."""
    blocks = landscape.blocks()

    def together(state):
        old, treedef = jax.tree.flatten(state)
        new = [jax.lax.stop_gradient(leaf) for leaf in old]
        for block in blocks:
            for k, goal in zip(block, landscape.minimum(state, block), strict=True):
                new[k] = goal
        return jax.tree.unflatten(treedef, new)

    def power(direction, _):
        image = jax.jvp(together, (state,), (direction,))[1]
        size = _norm(image)
        safe = jnp.where(size > 0, size, 1)
        return jax.tree.map(lambda a: a / per_example(safe, a), image), size

    start = _random_direction(state)
    _, growth = jax.lax.scan(power, start, length=_POWER_STEPS)
    # Eigenvalues come in pairs ±ρ, between which single steps of curved units swing.
    radius = jnp.sqrt(growth[-1] * growth[-2])
    return jnp.nan_to_num(radius, nan=0.0, posinf=0.0)


def _random_direction(state: PyTree[Array]) -> PyTree[Array]:
    leaves, treedef = jax.tree.flatten(state)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    drawn = [
        jnp.broadcast_to(jax.random.normal(key, s.shape[1:], s.dtype), s.shape)
        for key, s in zip(keys, leaves, strict=True)
    ]
    direction = jax.tree.unflatten(treedef, drawn)
    size = _norm(direction)
    return jax.tree.map(lambda a: a / per_example(size, a), direction)


def _norm(tree: PyTree[Array]) -> Float[Array, " batch"]:
    return jnp.sqrt(inner(tree, tree))


def _is_solver(node: Any) -> bool:
    return isinstance(node, BlockCoordinate)


def _is_open(node: Any) -> bool:
    return _is_solver(node) and node.relaxation is None


def _open_solvers(part: Any) -> list[BlockCoordinate]:
    return list(filter(_is_open, jax.tree.leaves(part, is_leaf=_is_solver)))
