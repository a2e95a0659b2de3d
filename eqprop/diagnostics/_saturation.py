import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..relaxation import Landscape


def changed_share(
    landscape: Landscape, free: PyTree[Array], nudged: PyTree[Array]
) -> Float[Array, " batch"]:
    """The share of units whose saturation differs between two states.

    Theorem 1 needs $s^β$ smooth in β. A unit that reaches a wall, or leaves one,
    between the phases breaks that: the contrast then mixes two slopes, and its bias is
    no power of β. Analytic units (sigmoid, tanh, …) have no such wall and count as
    unchanged.

    **Arguments:**

    - `landscape`: either phase's landscape.
    - `free`, `nudged`: the settled states.
    """
    count = 0
    changed = jnp.zeros(landscape.batch, int)
    leaves = zip(jax.tree.leaves(free), jax.tree.leaves(nudged), strict=True)
    for unit, (a, b) in zip(landscape.leaf_units(), leaves, strict=True):
        count += a[0].size
        if unit.analytic:
            continue
        differs = jax.vmap(unit.saturated)(a) != jax.vmap(unit.saturated)(b)
        changed = changed + jnp.sum(differs.reshape(landscape.batch, -1), axis=1)
    dtype = jnp.finfo(jax.tree.leaves(free)[0].dtype).dtype
    return changed.astype(dtype) / count
