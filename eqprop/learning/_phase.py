from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, PyTree, Scalar

from ..energies import AbstractEnergy, Model, require_kind
from ..relaxation import as_complex, as_real, as_scalar, grouped, Landscape, problem


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
    x: PyTree[Array] | None = None,
) -> Scalar:
    """The scalar whose gradient in the parameters is the update.

    $$\\sum_k w_k \\; \\text{mean}_b\\, F_{β_k}(θ, x_b, y_b, s_k[b])$$

    with the settled states held fixed. It holds the *nudged* energy F, so that a
    cost's own parameters learn too (Scellier & Bengio 2017, eq. 22). Of phases with
    complex states it is the real part.

    **Arguments:**

    - `phases`: the phases, settled.
    - `weight`: one non-negative number for each example: the mean over the batch
        becomes $\\sum_b v_b F_b / \\sum_b v_b$. Padding has weight 0.
    - `model`, `x`: parameters and inputs to evaluate at, in place of the phases' own.
    """
    _require_phases(phases)
    landscapes = _evaluated_at(model, x, [phase.landscape for phase in phases])
    total = jnp.zeros(())
    for group in grouped([problem(scape) for scape in landscapes]):
        energies = _energies([landscapes[k] for k in group], [phases[k] for k in group])
        for k, energy in zip(group, energies, strict=True):
            scape = landscapes[k]
            if scape.beta is not None:
                state = jax.lax.stop_gradient(phases[k].state)
                energy = energy + scape.beta * scape.cost(state)
            term = jnp.real(phases[k].weight * batch_mean(energy, weight))
            total = total.astype(term.dtype) + term
    return total


def contrast_grad(
    phases: Sequence[Phase], *, weight: Float[Array, " batch"] | None = None
) -> PyTree[Array]:
    """The gradient of the contrast in the parameters: a pytree like the model, with
    `None` in place of all that isn't an inexact array. Ready for descent.

    **Arguments:** as for [`eqprop.contrast`][].
    """
    _require_phases(phases)
    # The parameters are real numbers also where a complex landscape holds them.
    model = as_real(phases[0].landscape.model)
    return eqx.filter_grad(lambda m: contrast(phases, weight=weight, model=m))(model)


def _require_phases(phases: Sequence[Phase]) -> None:
    fix = (
        "Pass `[ep.Phase(up, s_up, 0.5 / beta), ep.Phase(down, s_down, -0.5 / beta)]`."
    )
    require_kind("phases", phases, Sequence, fix)
    if len(phases) == 0:
        raise ValueError(f"`phases` is empty: there is nothing to contrast. {fix}")


def _evaluated_at(model, x, landscapes: Sequence[Landscape]) -> list[Landscape]:
    if model is None and x is None:
        return list(landscapes)
    # Made complex once, so that the complex phases still share their input's product.
    real, continued = (model, x), as_complex((model, x))
    found = []
    for scape in landscapes:
        to_model, to_x = continued if scape.complex else real
        found.append(
            Landscape(
                scape.model if to_model is None else to_model,
                scape.x if to_x is None else to_x,
                scape.y,
                scape.beta,
                scape.held,
            )
        )
    return found


def _energies(
    landscapes: Sequence[Landscape], phases: Sequence[Phase]
) -> Inexact[Array, "phases batch"]:
    """The energies E of several phases with the same input."""
    # Mapped over the phases with the input held in common, so that its product with
    # the weights, and in the gradient the product of the input with the *combined*
    # states, is computed once and not for every phase.
    states = [
        jax.lax.stop_gradient(scape.hold(phase.state))
        for scape, phase in zip(landscapes, phases, strict=True)
    ]
    # Phases second: their sum in that gradient is then over the middle axis. Over the
    # first, XLA's CPU kernel takes hundreds of times longer (JAX 0.10).
    stacked = jax.tree.map(lambda *s: jnp.stack(s, axis=1), *states)
    x, energy = landscapes[0].x, landscapes[0].energy_fn
    energies = jax.vmap(lambda s, x: jax.vmap(lambda s: energy(s, x))(s))(stacked, x)
    return energies.T


def batch_mean(
    values: Inexact[Array, " batch"], weight: Float[Array, " batch"] | None
) -> Scalar:
    """The mean over the batch, weighted: padding counts nothing."""
    if weight is None:
        return jnp.mean(values)
    if jnp.shape(weight) != values.shape:
        raise ValueError(
            f"`weight` has shape {jnp.shape(weight)}, but there are {values.size} "
            "examples. Pass one number for each, as in `jnp.ones(len(x))`."
        )
    # A batch of padding alone has mean 0, not NaN.
    weight = weight.astype(values.dtype)
    total = jnp.sum(weight)
    return jnp.sum(weight * values) / jnp.where(total == 0, 1, total)
