"""Over-relaxation where no theorem covers it: less of it for examples that stall."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


# Sweeps without progress after which an example's over-relaxation is halved. The error
# of a good one rises for the few sweeps that a change takes to cross the network.
_PATIENCE = 5


class Caution(eqx.Module):
    """What over-relaxed sweeps remember of every example.

    **Attributes:**

    - `share`: how much of ω − 1 is still taken, in (0, 1].
    - `best`: the least error met.
    - `stalled`: sweeps since the error last fell to 0.9 times the least one.
    """

    share: Float[Array, " batch"]
    best: Float[Array, " batch"]
    stalled: Int[Array, " batch"]


def fresh(batch: int, like: Array) -> Caution:
    """The memory before the first sweep: full trust."""
    one = jnp.ones(batch, like.real.dtype)
    return Caution(one, one * jnp.inf, jnp.zeros(batch, jnp.int32))


def trusted(
    relaxation: Float[Array, "*batch"], caution: Caution
) -> Float[Array, " batch"]:
    """The ω that every example still takes. Under-relaxation (ω < 1) is safe as is."""
    excess = jnp.maximum(relaxation - 1, 0).astype(caution.share.dtype)
    return jnp.minimum(relaxation, 1).astype(excess.dtype) + caution.share * excess


def learn(caution: Caution, error: Float[Array, " batch"]) -> Caution:
    """The memory after a sweep that met this error."""
    better = error <= 0.9 * caution.best
    stalled = jnp.where(better, 0, caution.stalled + 1)
    give_way = stalled >= _PATIENCE
    return Caution(
        jnp.where(give_way, 0.5 * caution.share, caution.share),
        jnp.where(better | give_way, error, caution.best),
        jnp.where(give_way, 0, stalled),
    )
