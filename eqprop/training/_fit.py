import contextlib
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import optax
from jaxtyping import Array, PyTree

from ..data import AbstractAugmentation, AbstractOrder, Dataset, Shuffled, Splits
from ..energies import Model
from ..learning import AbstractEstimator
from ._arguments import (
    check_memory,
    check_numbers,
    check_stopping,
    check_together,
    check_types,
    check_weight,
)
from ._config import to_table
from ._optimizers import AbstractOptimizer, Optax
from ._run import DivergenceWarning, Progress, Run
from ._rundir import RunDirectory
from ._stopping import EarlyStopping
from ._trainer import Trainer


def fit(
    model: Model,
    data: Splits | Dataset,
    method: AbstractEstimator,
    optimizer: AbstractOptimizer | optax.GradientTransformation,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    seed: int = 0,
    order: AbstractOrder = Shuffled(),
    persistent: bool = False,
    augmentation: AbstractAugmentation | None = None,
    early_stopping: EarlyStopping | None = None,
    memory: PyTree[Array] = None,
    out: str | Path | None = None,
    resume: str | Path | None = None,
    config: dict[str, Any] | None = None,
    progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Run:
    """Trains a model.

    The data stay on the device, and whole chunks of an epoch are compiled. The same
    arguments give bit-identical results on a CPU, also across an interruption.

    **Main arguments:**

    - `model`: the model to start from.
    - `data`: [`eqprop.data.Splits`][] (the validation part is evaluated after every
        epoch) or a single [`eqprop.data.Dataset`][]. If its examples have weights,
        $\\sum_i w_i C_i / \\sum_i w_i$ is minimized, and those of weight 0 are in no
        batch.
    - `method`: how gradients are estimated.
    - `optimizer`: [`eqprop.SGD`][], [`eqprop.Adam`][], or any optax optimizer.
    - `epochs`: passes over the training data.
    - `batch_size`: examples in a batch; the last of an epoch is padded with weight 0.
    - `seed`: decides the order of the examples and all that the method draws.

    **Other arguments:**

    - `order`: how an epoch is ordered; a function of seed and epoch.
    - `persistent`: whether every training and validation example keeps its free state
        from epoch to epoch as its next start (as in the original code).
    - `augmentation`: how training examples are varied before each use, as by
        [`eqprop.data.Shift`][]; by default not at all.
    - `early_stopping`: an [`eqprop.EarlyStopping`][], to end before the last epoch and
        go back to the best; by default all epochs are trained.
    - `memory`: the optimizer's memory to start with, as another run's `memory` holds
        it; by default a new one.
    - `out`: a new folder for the run: metrics, and a checkpoint after every epoch.
    - `resume`: a run's folder, to go on from its last checkpoint, with the same
        arguments (`epochs` may be raised).
    - `config`: a table to keep in the run's `config.toml`; by default the method and
        the optimizer, as far as they are made of public classes.
    - `progress`: called with a [`eqprop.training.Progress`][] a few times a second.
    - `should_stop`: asked between chunks; if true, a checkpoint is saved and training
        ends.

    **Returns:**

    A [`eqprop.training.Run`][].

    **Raises:**

    - `ValueError`: arguments that don't fit each other; nothing has been compiled or
        written then.
    - `OSError`: the run can't be written.

    **Warns:**

    - [`eqprop.training.DivergenceWarning`][]: the cost or a parameter became NaN or
        infinite. The run ends there, with the model of the last epoch before it.
    """
    if isinstance(data, Dataset):
        data = Splits(data, None, None, "data")
    if isinstance(optimizer, optax.GradientTransformation):
        optimizer = Optax(optimizer)
    check_types(
        model, data, method, optimizer, order, augmentation, progress, should_stop
    )
    usual = inspect.signature(fit).parameters["batch_size"].default
    check_numbers(len(data.train), epochs, batch_size, seed, usual_batch=usual)
    check_weight(data)
    check_together(
        model, data, method, optimizer, order, epochs, batch_size, augmentation
    )
    check_stopping(early_stopping, data)
    check_memory(memory, optimizer, model)
    directory = _directory(out, resume, config, method, optimizer)
    trainer = Trainer(
        model,
        data,
        method,
        optimizer,
        int(epochs),
        int(batch_size),
        int(seed),
        order,
        persistent,
        augmentation,
        early_stopping,
        memory,
    )
    trainer.directory = directory
    trainer.report = progress or (lambda _: None)
    trainer.should_stop = should_stop or (lambda: False)
    if resume is not None:
        trainer.restore()
    run = trainer.run()
    if run.stopped == "nonfinite":
        _warn_of_divergence(len(run.metrics), epochs)
    return run


def _directory(
    out: str | Path | None,
    resume: str | Path | None,
    config: dict[str, Any] | None,
    *parts: eqx.Module,
) -> RunDirectory | None:
    if out is not None and resume is not None:
        raise ValueError(
            f"`out={os.fspath(out)!r}` and `resume={os.fspath(resume)!r}` exclude each "
            "other: a resumed run goes on in its own folder."
        )
    if resume is not None:
        return RunDirectory.open(resume)
    if out is None:
        return None
    directory = RunDirectory.create(out)
    directory.write_config(_described(config, *parts))
    directory.write_environment()
    return directory


def _warn_of_divergence(done: int, epochs: int) -> None:
    kept = f"is that of epoch {done}" if done else "is the one you gave"
    warnings.warn(
        f"Training stopped in epoch {done + 1} of {epochs}: the cost or a parameter "
        f"became NaN or infinite. `run.model` {kept}. Look for NaN in the data; try a "
        "smaller learning rate, a smaller |β|, or more steps of relaxation.",
        DivergenceWarning,
        stacklevel=3,  # where `fit` was called
    )


def _described(config: dict[str, Any] | None, *parts: eqx.Module) -> dict[str, Any]:
    if config is not None:
        return config
    table = {}
    for name, part in zip(("method", "optimizer"), parts, strict=True):
        # A part of the user's own has no name that a file could hold.
        with contextlib.suppress(ValueError):
            table[name] = to_table(part)
    return table
