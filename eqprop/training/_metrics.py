from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree, Scalar

from ..diagnostics import parameters_by_name
from ..energies import Model
from ..learning import Outcome
from ..relaxation import Equilibrium, Landscape


class PhaseSums(eqx.Module):
    """Sums over examples of what one kind of phase came to."""

    count: Scalar
    converged: Scalar
    residual: Scalar


class Sums(eqx.Module):
    """Sums over the examples seen so far, from which the epoch's metrics are made."""

    cost: Scalar
    energy: Scalar
    errors: Scalar
    saturated: Scalar
    free: PhaseSums
    nudged: PhaseSums
    weight_change: tuple[Scalar, ...]
    changes: Scalar
    weights: tuple[str, ...] = eqx.field(static=True)


def empty_sums(model: Model) -> Sums:
    """No examples seen."""
    zero = jnp.zeros((), jnp.result_type(float))
    none = PhaseSums(zero, zero, zero)
    names = tuple(weights_by_name(model))
    change = (zero,) * len(names)
    return Sums(zero, zero, zero, zero, none, none, change, zero, names)


def add_batch(
    sums: Sums,
    landscape: Landscape,
    outcome: Outcome,
    y: Float[Array, "batch ..."],
    weight: Float[Array, " batch"],
) -> Sums:
    """Adds a batch whose free and nudged phases are done."""
    state = outcome.free.state
    nudged = sums.nudged
    for equilibrium in outcome.nudged:
        nudged = _add_phase(nudged, equilibrium, weight)
    return Sums(
        sums.cost + _total(landscape.cost(state, y), weight),
        sums.energy + _total(landscape.energy(state), weight),
        sums.errors + _total(wrong(landscape, state, y), weight),
        sums.saturated + _total(saturated_share(landscape, state), weight),
        _add_phase(sums.free, outcome.free, weight),
        nudged,
        sums.weight_change,
        sums.changes,
        sums.weights,
    )


def add_weight_change(sums: Sums, model: Model, update: Model) -> Sums:
    """Adds the relative change RMS(ΔW)/RMS(W) of every weight matrix."""
    updates = weights_by_name(update)
    change = tuple(
        total + _rms(updates[name]) / _rms(w)
        for total, (name, w) in zip(
            sums.weight_change, weights_by_name(model).items(), strict=True
        )
    )
    return eqx.tree_at(
        lambda s: (s.weight_change, s.changes), sums, (change, sums.changes + 1)
    )


def summarize(sums: Sums) -> dict[str, Any]:
    """The means as plain numbers; errors, saturation and changes in percent."""
    sums = jax.device_get(sums)
    count, nudged = sums.free.count, sums.nudged
    return {
        "cost": _mean(sums.cost, count),
        "energy": _mean(sums.energy, count),
        "error": _mean(100 * sums.errors, count),
        "saturation": _mean(100 * sums.saturated, count),
        "converged": _mean(sums.free.converged, count),
        "residual": _mean(sums.free.residual, count),
        "nudged_converged": _mean(nudged.converged, nudged.count),
        "nudged_residual": _mean(nudged.residual, nudged.count),
        "weight_change": {
            name: _mean(100 * change, sums.changes)
            for name, change in zip(sums.weights, sums.weight_change, strict=True)
        },
    }


def wrong(
    landscape: Landscape, state: PyTree[Array], y: Float[Array, "batch ..."]
) -> Float[Array, " batch"]:
    """1 for every example whose largest prediction is not its largest target, or whose
    prediction is not finite."""
    assert isinstance(landscape.model, Model)
    prediction = jax.vmap(landscape.model.cost.predict)(landscape.output(state))
    prediction = prediction.reshape(prediction.shape[0], -1)
    target = jnp.argmax(y.reshape(y.shape[0], -1), axis=1)
    right = jnp.argmax(prediction, axis=1) == target
    right &= jnp.all(jnp.isfinite(prediction), axis=1)
    return (~right).astype(prediction.dtype)


def saturated_share(
    landscape: Landscape, state: PyTree[Array]
) -> Float[Array, " batch"]:
    """The share of every example's units that are saturated."""
    leaves = jax.tree.leaves(state)
    count = sum(s[0].size for s in leaves)
    total = jnp.zeros(landscape.batch, leaves[0].dtype)
    for unit, s in zip(landscape.leaf_units(), leaves, strict=True):
        flags = jax.vmap(unit.saturated)(s).reshape(s.shape[0], -1)
        total = total + jnp.sum(flags, axis=1).astype(s.dtype)
    return total / count


def weights_by_name(model: Model) -> dict[str, Array]:
    """The weights (parameters of two axes or more) by a readable name: the edge's
    layers in a network, the path elsewhere."""
    named = parameters_by_name(model).items()
    return {name: leaf for name, leaf in named if leaf.ndim >= 2}


def _add_phase(sums: PhaseSums, phase: Equilibrium, weight: Array) -> PhaseSums:
    return PhaseSums(
        sums.count + jnp.sum(weight),
        sums.converged + _total(phase.converged.astype(weight.dtype), weight),
        sums.residual + _total(phase.residual, weight),
    )


def _total(values: Array, weight: Array) -> Scalar:
    # A padded example may hold anything; zero times NaN would be NaN.
    values = values.astype(weight.dtype)
    return jnp.sum(jnp.where(weight > 0, weight * values, 0))


def _rms(values: Array) -> Scalar:
    return jnp.sqrt(jnp.mean(values.astype(jnp.result_type(float)) ** 2))


def _mean(total: Any, count: Any) -> float | None:
    # The shortest decimal of the array's own precision reads best in a file.
    return float(str(np.asarray(total / count))) if count > 0 else None
