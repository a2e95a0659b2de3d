import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ._landscape import Landscape
from ._relax import relax
from ._scalars import inner, per_example
from ._solver import Tolerance
from .solvers import BlockCoordinate


# A radius of 0.99 asks for ω = 1.75: what is estimated nearer to 1 is noise.
_LARGEST_RADIUS = 0.99
# Settled further, no factor changes in its third digit.
_SETTLING_STEPS, _POWER_STEPS = 24, 20


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
    return relaxation_for(radii(landscape, state0), share)


def relaxation_for(radius: Float[Array, " batch"], share: float) -> Scalar:
    """The ω for examples of these spectral radii: see
    [`eqprop.estimate_relaxation`][]."""
    rho = jnp.quantile(jnp.clip(radius, 0, _LARGEST_RADIUS), share)
    return (2 / (1 + jnp.sqrt(1 - rho**2))).astype(float)


@eqx.filter_jit
def radii(landscape: Landscape, state0: PyTree[Array] | None) -> Float[Array, " batch"]:
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
