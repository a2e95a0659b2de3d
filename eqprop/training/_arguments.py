"""What `fit` refuses before anything is compiled or written."""

from collections.abc import Callable
from types import NoneType
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..data import AbstractAugmentation, AbstractOrder, Splits
from ..energies import Model, require_kind
from ..learning import AbstractEstimator
from ..relaxation import fill_in, no_factors
from ._config import build_part, to_table
from ._evaluate import check_data, check_model
from ._examples import Examples
from ._optimizers import AbstractOptimizer
from ._rundir import RunDirectory
from ._stopping import EarlyStopping


def check_types(
    model: Any,
    data: Any,
    method: Any,
    optimizer: Any,
    order: Any,
    augmentation: Any,
    progress: Any,
    should_stop: Any,
) -> None:
    """Raises a `TypeError` unless the arguments of `fit` are of their kinds."""
    check_model(model, None)
    for name, value, kind, fix in (
        ("data", data, Splits, "Pass `ep.data.digits()` or `ep.data.dataset(x, y)`."),
        ("method", method, AbstractEstimator, "Pass an `ep.EquilibriumProp(...)`."),
        ("optimizer", optimizer, AbstractOptimizer, "Pass `ep.Adam(1e-3)`."),
        ("order", order, AbstractOrder, "Pass `ep.data.Shuffled()`."),
        (
            "augmentation",
            augmentation,
            AbstractAugmentation | None,
            "Pass an `ep.data.Shift(1)`, or `None`.",
        ),
        (
            "progress",
            progress,
            (Callable, NoneType),
            "Pass a function that is called with each report: `progress=print`.",
        ),
        (
            "should_stop",
            should_stop,
            (Callable, NoneType),
            "Pass a function without arguments: `should_stop=lambda: False`.",
        ),
    ):
        require_kind(name, value, kind, fix)


def check_numbers(
    size: int, epochs: Any, batch_size: Any, seed: Any, *, usual_batch: int
) -> None:
    """Raises a `ValueError` unless the numbers suit `size` training examples.

    **Arguments:**

    - `usual_batch`: the batch size that nobody may have asked for, the default.
    """
    if size == 0:
        raise ValueError("`data` is empty: it holds no training examples.")
    for name, value, low, high in (
        ("epochs", epochs, 1, None),
        ("batch_size", batch_size, 1, size),
        ("seed", seed, 0, 2**32 - 1),
    ):
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < low or (high is not None and value > high):
            top = f"between {low} and {high}" if high is not None else f"{low} or more"
            why = (
                f" (there are {size} training examples)" if name == "batch_size" else ""
            )
            what = f"{value!r}"
            if name == "batch_size" and whole and value > size:
                usual = ", the default" if value == usual_batch else ""
                what += f"{usual}. Pass `batch_size={size}`"
            raise ValueError(f"`{name}` must be an integer {top}{why}, but is {what}.")


# Never run. Under `jit` a second training of the same kind finds the trace, and the
# training itself those of its relaxations.
@eqx.filter_jit
def _gradient(
    method: AbstractEstimator, model: Model, x: Array, y: Array, key: Array
) -> Any:
    return method.value_and_grad(model, x, y, key=key)


def check_weight(data: Splits) -> None:
    """Raises a `ValueError` unless the weights of the examples are weights."""
    for name, part in (("train", data.train), ("validation", data.validation)):
        if part is None or part.weight is None:
            continue
        weight = np.asarray(part.weight)
        if weight.shape != (len(part),):
            raise ValueError(
                f"`data.{name}.weight` has shape {weight.shape}, but there are "
                f"{len(part)} examples. Give each one number, as in "
                f"`jnp.ones({len(part)})`."
            )
        if not np.all(np.isfinite(weight)) or weight.min() < 0 or weight.max() == 0:
            raise ValueError(
                f"`data.{name}.weight` must hold finite numbers of at least 0, not all "
                f"0, but goes from {weight.min()} to {weight.max()}. A weight of 0 "
                "leaves an example out."
            )


def check_stopping(stopping: Any, data: Splits) -> None:
    """Raises unless training can be stopped by this rule."""
    fix = "Pass an `ep.EarlyStopping(patience=10)`, or `None`."
    require_kind("early_stopping", stopping, EarlyStopping | None, fix)
    if stopping is None or data.validation is not None:
        return
    if stopping.metric.startswith("validation"):
        raise ValueError(
            f"`early_stopping` watches the {stopping.metric}, but `data` has no "
            "validation part. Pass `ep.data.Splits(train, validation, None, name)`, or "
            '`ep.EarlyStopping("train_cost")`.'
        )


def check_memory(memory: Any, optimizer: AbstractOptimizer, model: Model) -> None:
    """Raises a `ValueError` unless the optimizer would have such a memory."""
    if memory is None:
        return
    wanted = jax.eval_shape(optimizer.init, eqx.filter(model, eqx.is_inexact_array))
    given = jax.eval_shape(lambda: memory)
    if wanted != given:
        raise ValueError(
            "`memory` is not that of this optimizer and model: it holds "
            f"{jax.tree.leaves(given)}, but there should be "
            f"{jax.tree.leaves(wanted)}. Pass `memory=run.memory` of a run with the "
            "same optimizer and the same layers."
        )


def check_same_optimizer(directory: RunDirectory, optimizer: AbstractOptimizer) -> None:
    """Raises a `ValueError` if the run in a directory was told to be trained by another
    optimizer. What no file can hold, such as one of optax, is let through."""
    table = directory.read_config().get("optimizer")
    if not isinstance(table, dict):
        return
    try:
        given = to_table(optimizer)
        # Made and written again, its numbers are rounded as those of the other.
        kept = build_part(AbstractOptimizer, table, "optimizer")
    except (TypeError, ValueError):
        return
    if given != to_table(kept):
        raise ValueError(
            f"`resume`: the run in {directory.path} has optimizer = {kept}, but "
            f"{optimizer} was given. Pass what it was trained with, or start a new run "
            "with `out=`."
        )


def check_together(
    model: Model,
    data: Splits,
    method: AbstractEstimator,
    optimizer: AbstractOptimizer,
    order: AbstractOrder,
    epochs: int,
    batch_size: int,
    augmentation: AbstractAugmentation | None,
) -> None:
    """Finds what can't work together by tracing one batch; nothing is compiled."""
    check_data(model, data.train, "data.train")
    if data.validation is not None:
        check_data(model, data.validation, "data.validation")
    optimizer.init(model)
    x, y = (
        jax.ShapeDtypeStruct((batch_size, *a.shape[1:]), a.dtype)
        for a in (data.train.x, data.train.y)
    )
    key = jax.random.key(0)
    if augmentation is not None:
        varied = jax.eval_shape(augmentation, key, x)
        if varied.shape != x.shape or varied.dtype != x.dtype:
            raise ValueError(
                f"`augmentation` turns inputs of shape {x.shape} and type {x.dtype} "
                f"into {varied.shape} and {varied.dtype}. It must keep both."
            )
    closed = fill_in(method, no_factors(method))
    eqx.filter_eval_shape(_gradient, closed, model, x, y, key)
    size = Examples(data.train, 1).visited
    for epoch in {0, epochs - 1}:
        shape = order(key, epoch, size).shape
        if shape != (size,):
            raise ValueError(
                f"`order` gave indices of shape {shape} for {size} training examples. "
                "It must return every example's index once."
            )
