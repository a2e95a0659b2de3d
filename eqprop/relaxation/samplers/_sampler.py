import math
from collections.abc import Callable
from itertools import accumulate

import jax
import jax.numpy as jnp
from equinox import AbstractVar
from jaxtyping import Array, PRNGKeyArray, PyTree, Scalar, Shaped

from .._landscape import Landscape
from .._scalars import as_scalar, require
from .._solver import AbstractSolver, Tolerance


class AbstractSampler(AbstractSolver):
    """A solver that doesn't settle: a Markov chain with the stationary distribution

    $$p(s) \\propto e^{-F(s)/T}$$

    on the feasible set. Each example runs a chain of its own, which doesn't depend on
    its batch-mates. [`eqprop.relax`][] with a `key` runs `max_steps` steps and returns
    the last state: a sample, never `converged`, result `steps_completed`. As T → 0 the
    distribution shrinks to the minima of F. Not reverse-differentiable.

    **Attributes:**

    - `temperature`: T > 0, in the units of the energy; changing it doesn't recompile.
    """

    temperature: AbstractVar[Scalar]

    @property
    def stop(self) -> Tolerance | None:
        """`None`: a chain has no end."""
        return None

    @property
    def certify(self) -> Scalar:
        """Below any residual: no sample is an equilibrium, not even by chance."""
        return as_scalar(-1.0)


def require_temperature(owner: str, temperature: Scalar) -> None:
    """Raises unless T > 0."""
    fix = (
        "The limit T → 0 is deterministic: relax with a solver, as in "
        "`ep.BlockCoordinate()`, and learn by `ep.EquilibriumProp`."
    )
    require(owner, "temperature", temperature, above=0, fix=fix)


def start_chains(
    owner: str, landscape: Landscape, key: PRNGKeyArray | None
) -> Shaped[Array, "batch ..."]:
    """A key for each example's chain."""
    if key is None:
        raise ValueError(
            f"`{owner}` draws random numbers and needs a `key`, as in `ep.relax("
            "landscape, sampler, key=jax.random.key(0))`. To settle without one use a "
            "solver, such as `ep.BlockCoordinate()`."
        )
    if landscape.complex:
        raise ValueError(
            f"`{owner}` samples real states, but this landscape is complex: exp(−F/T) "
            "is no probability there. Use `ep.Centered(beta=0.2)`."
        )
    return jax.vmap(lambda k: jax.random.fold_in(key, k))(jnp.arange(landscape.batch))


def advance(keys: Array, count: int = 2) -> tuple[Array, ...]:
    """The examples' keys after a step, and those to draw from in it."""
    split = jax.vmap(lambda key: jax.random.split(key, count))(keys)
    return tuple(split[:, k] for k in range(count))


def draw(keys: Array, state: PyTree[Array], kind: Callable[..., Array]) -> list[Array]:
    """Random numbers for every leaf of the state.

    They depend on nothing but the examples' keys and the state's shapes: chains with
    the same key in landscapes that differ by a nudge move alike, and the noise of their
    difference is small.
    """
    leaves = jax.tree.leaves(state)
    sizes = [math.prod(leaf.shape[1:]) for leaf in leaves]

    def one(key):
        return kind(key, (sum(sizes),), leaves[0].dtype)

    # In one draw: each is a large program to compile.
    parts = jnp.split(jax.vmap(one)(keys), list(accumulate(sizes))[:-1], axis=1)
    return [
        part.reshape(leaf.shape).astype(leaf.dtype)
        for part, leaf in zip(parts, leaves, strict=True)
    ]
