from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ..energies import AbstractEnergy, Model
from ..relaxation import as_scalar, Landscape


class Phase(eqx.Module):
    """One relaxation of the two or three that learning needs.

    **Arguments:**

    - `landscape`: where it settles, nudged or not.
    - `state`: the settled state (before relaxing, where to start).
    - `weight`: the phase's weight in the contrast.
    """

    landscape: Landscape
    state: PyTree[Array]
    weight: Scalar = eqx.field(converter=as_scalar)


def contrast(
    phases: Sequence[Phase],
    *,
    weight: Float[Array, " batch"] | None = None,
    model: Model | AbstractEnergy | None = None,
) -> Scalar:
    """The scalar whose gradient in the parameters is the update.

    $$\\sum_k w_k \\; \\text{mean}_b\\, F_{β_k}(θ, x_b, y_b, s_k[b])$$

    with the settled states held fixed. It holds the *nudged* energy F, so that a
    cost's own parameters learn too (Scellier & Bengio 2017, eq. 22).

    **Arguments:**

    - `phases`: the phases, settled.
    - `weight`: one non-negative number for each example: the mean over the batch
        becomes $\\sum_b v_b F_b / \\sum_b v_b$. Padding has weight 0.
    - `model`: parameters to evaluate at, in place of the phases' own.
    """
    total = jnp.zeros(())
    for phase in phases:
        landscape = phase.landscape
        if model is not None:
            landscape = Landscape(
                model, landscape.x, landscape.y, landscape.beta, landscape.held
            )
        energies = landscape.energy(phase.state)
        term = phase.weight * batch_mean(energies, weight)
        total = total.astype(term.dtype) + term
    return total


@eqx.filter_jit
def contrast_grad(
    phases: Sequence[Phase], *, weight: Float[Array, " batch"] | None = None
) -> PyTree[Array]:
    """The gradient of the contrast in the parameters: a pytree like the model, with
    `None` in place of all that isn't an inexact array. Ready for descent.

    **Arguments:** as for [`eqprop.contrast`][].
    """
    model = phases[0].landscape.model
    phases = jax.lax.stop_gradient(tuple(phases))
    return eqx.filter_grad(lambda m: contrast(phases, weight=weight, model=m))(model)


def batch_mean(
    values: Float[Array, " batch"], weight: Float[Array, " batch"] | None
) -> Scalar:
    """The mean over the batch, weighted: padding counts nothing."""
    if weight is None:
        return jnp.mean(values)
    # A batch of padding alone has mean 0, not NaN.
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total > 0, total, 1)
