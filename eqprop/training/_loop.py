"""The compiled parts of training: whole chunks of an epoch in one call."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from ..data import AbstractAugmentation, Dataset
from ..energies import Model
from ..learning import AbstractEstimator, Outcome
from ..relaxation import AbstractSolver, Landscape, relax
from ._metrics import add_batch, add_weight_change, Sums
from ._optimizers import AbstractOptimizer


# The relative weight change is measured on every so many batches: its two passes over
# the weights would cost as much as a small net's update.
_EVERY = 16


class Progressing(eqx.Module):
    """All that training changes."""

    model: Model
    memory: PyTree[Array]
    states: PyTree[Array]
    sums: Sums


class Epoch(eqx.Module):
    """All that training reads: the data in batches, the method and its numbers.

    Where examples have weights, `share` is the mean weight of each batch: gradients are
    means over a batch, and a batch of light examples must count less.
    """

    data: Dataset
    indices: Int[Array, "batches batch"]
    weight: Float[Array, "batches batch"]
    share: Float[Array, " batches"] | None
    method: AbstractEstimator
    optimizer: AbstractOptimizer
    augmentation: AbstractAugmentation | None
    key: PRNGKeyArray
    epoch: Int[Array, ""]
    epochs: Float[Array, ""]


def run_keys(seed: int) -> tuple[PRNGKeyArray, PRNGKeyArray]:
    """The keys of a run: for the order of the examples, and for the method.

    Folded once, so that they share nothing with weights drawn from the same seed.
    """
    order_key, method_key = jax.random.split(
        jax.random.fold_in(jax.random.key(seed), 1)
    )
    return order_key, method_key


def batch_key(key: PRNGKeyArray, step: Int[Array, ""] | int) -> PRNGKeyArray:
    """The key that a method gets for the batch of this number, counted from the start
    of training."""
    return jax.random.fold_in(key, step)


@eqx.filter_jit(donate="all-except-first")
def train_batches(
    job: Epoch, progress: Progressing, start: Array, stop: Array
) -> tuple[Progressing, Array, Bool[Array, ""]]:
    """Trains on the batches from `start` to before `stop`.

    The bounds are arrays: one compilation serves every chunk. Returns how far it came
    and whether all costs were finite; it stops after the first that is not. The memory
    of `progress` and the bounds is given away: persistent states aren't held twice.
    """
    arrays, static = eqx.partition(progress, eqx.is_array)

    def unfinished(carry):
        _, index, fine = carry
        return (index < stop) & fine

    def body(carry):
        arrays, index, _ = carry
        progress, fine = _train_batch(job, eqx.combine(arrays, static), index)
        return eqx.filter(progress, eqx.is_array), index + 1, fine

    carry = (arrays, start, jnp.ones((), bool))
    arrays, index, fine = jax.lax.while_loop(unfinished, body, carry)
    return eqx.combine(arrays, static), index, fine


def _train_batch(
    job: Epoch, progress: Progressing, index: Array
) -> tuple[Progressing, Bool[Array, ""]]:
    rows, weight = job.indices[index], job.weight[index]
    x, y = _rows(job.data.x, rows), _rows(job.data.y, rows)
    state0 = jax.tree.map(lambda s: _rows(s, rows), progress.states)
    batches = job.indices.shape[0]
    step = job.epoch * batches + index
    key = batch_key(job.key, step)
    if job.augmentation is not None:
        key, own = jax.random.split(key)
        x = job.augmentation(own, x)
    model = progress.model
    outcome, gradient = job.method.value_and_grad(
        model, x, y, weight=weight, state0=state0, key=key
    )
    if job.share is not None:
        share = job.share[index]
        gradient = jax.tree.map(lambda g: share.astype(g.dtype) * g, gradient)

    def update():
        return job.optimizer.update(
            gradient,
            progress.memory,
            model,
            # Not step / batches, which a compiled reciprocal leaves short of whole
            # epochs.
            epoch=job.epoch.astype(job.epochs.dtype) + index / batches,
            epochs=job.epochs,
        )

    sums = add_batch(progress.sums, Landscape(model, x), outcome, y, weight)
    # Worked out again where it is measured: kept for both, it would be written to
    # memory in every batch instead of melting into the addition below.
    sums = jax.lax.cond(
        index % _EVERY == 0,
        lambda: add_weight_change(sums, model, update()[0]),
        lambda: sums,
    )
    change, memory = update()
    states = _write_rows(progress.states, rows, outcome.free.state)
    new = Progressing(eqx.apply_updates(model, change), memory, states, sums)
    return new, jnp.isfinite(outcome.cost)


@eqx.filter_jit
def evaluate_batches(
    model: Model,
    data: Dataset,
    solver: AbstractSolver,
    indices: Int[Array, "batches batch"],
    weight: Float[Array, "batches batch"],
    states: PyTree[Array],
    sums: Sums,
    start: Array,
    stop: Array,
) -> tuple[Sums, PyTree[Array]]:
    """Adds the free phases of the batches from `start` to before `stop` to `sums`."""

    def body(index, carry):
        sums, states = carry
        rows = indices[index]
        landscape = Landscape(model, _rows(data.x, rows))
        state0 = jax.tree.map(lambda s: _rows(s, rows), states)
        free = relax(landscape, solver, state0, throw=False)
        outcome = Outcome(jnp.zeros(()), free)
        sums = add_batch(sums, landscape, outcome, _rows(data.y, rows), weight[index])
        return sums, _write_rows(states, rows, free.state)

    return jax.lax.fori_loop(start, stop, body, (sums, states))


def _rows(array: Array, rows: Array) -> Array:
    return array.at[rows].get(mode="clip")


def _write_rows(store: Any, rows: Array, values: PyTree[Array]) -> Any:
    if store is None:
        return None
    return jax.tree.map(lambda s, v: s.at[rows].set(v, mode="drop"), store, values)
