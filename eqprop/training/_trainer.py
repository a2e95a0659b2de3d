"""The host's side of training."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..data import AbstractAugmentation, AbstractOrder, Splits
from ..energies import Model
from ..learning import AbstractEstimator, relaxation_factors
from ..relaxation import Factor, fill_in, no_factors
from ._arguments import check_same_optimizer
from ._checkpoint import read_manifest
from ._evaluate import Evaluation, first_examples, resting_states
from ._examples import Examples
from ._loop import Epoch, Progressing, run_keys, train_batches
from ._metrics import empty_sums, summarize
from ._optimizers import AbstractOptimizer
from ._run import Progress, Run
from ._rundir import RunDirectory
from ._stopping import best_epoch, EarlyStopping


_Tree = TypeVar("_Tree")

# Open relaxation factors are estimated so often in the first epoch, in which weights
# change most, and once in every other.
_ESTIMATES = 4

# Seconds between reports: long enough that the host costs nothing.
_REPORT_SECONDS = 0.25


class Trainer:
    """What happens between the compiled chunks."""

    directory: RunDirectory | None
    report: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def __init__(
        self,
        model: Model,
        data: Splits,
        method: AbstractEstimator,
        optimizer: AbstractOptimizer,
        epochs: int,
        batch_size: int,
        seed: int,
        order: AbstractOrder,
        persistent: bool,
        augmentation: AbstractAugmentation | None,
        stopping: EarlyStopping | None,
        memory: PyTree[Array],
    ):
        self.data, self.method, self.optimizer = data, method, optimizer
        self.epochs, self.batch_size, self.seed = epochs, batch_size, seed
        self.keys = run_keys(seed)
        self.order, self.persistent = order, persistent
        self.augmentation, self.stopping = augmentation, stopping
        memory = optimizer.init(model) if memory is None else memory
        states = resting_states(model, data.train) if persistent else None
        # Copies, since the compiled loop reuses the memory that it is given.
        self.state = _copied(Progressing(model, memory, states, empty_sums(model)))
        self.factors = no_factors(method)
        self.validation = None
        if data.validation is not None:
            self.validation = Evaluation(model, data.validation, persistent=persistent)
        self.examples = Examples(data.train, batch_size)
        self.batches = -(-self.examples.visited // batch_size)
        self.epoch, self.batch = 0, 0
        self.best: Model | None = None
        self.metrics: list[dict[str, Any]] = []
        self.seconds = self.compile_seconds = 0.0
        self.chunk = 1

    def run(self) -> Run:
        """Trains to the end, an interruption, or a value that isn't finite."""
        good = _copied(self.state.model)
        if self.epoch < self.epochs and not self._exhausted():
            self._compile()
        while self.epoch < self.epochs and not self._exhausted():
            started = time.perf_counter()
            stopped = self._train_epoch()
            if stopped == "interrupted":
                self.seconds += time.perf_counter() - started
                self._save(best=False)
                return self._result(self.state.model, stopped)
            if stopped == "nonfinite":
                return self._result(good, stopped)
            good = _copied(self.state.model)
            self._finish_epoch(good, time.perf_counter() - started)
        if self.best is not None:
            good = self.best
        return self._result(good, "early" if self._exhausted() else "finished")

    def _exhausted(self) -> bool:
        return self.stopping is not None and self.stopping.exhausted(self.metrics)

    def _compile(self) -> None:
        # Running no batches compiles everything.
        started = time.perf_counter()
        self._tell("compile", {})
        self._estimate()
        # A call gives its arrays away: each bound is one of its own.
        self.state, _, _ = train_batches(
            self._job(), self.state, jnp.asarray(0), jnp.asarray(0)
        )
        jax.block_until_ready(self.state)
        if self.validation is not None:
            self.validation.run(
                self.state.model, self.method.free_solver(), compile_only=True
            )
        self.compile_seconds = time.perf_counter() - started

    def _job(self) -> Epoch:
        order_key, method_key = self.keys
        order = self.order(order_key, self.epoch, self.examples.visited)
        return Epoch(
            self.data.train,
            *self.examples.in_batches(order),
            fill_in(self.method, self.factors),
            self.optimizer,
            self.augmentation,
            method_key,
            jnp.asarray(self.epoch),
            jnp.asarray(float(self.epochs)),
        )

    def _train_epoch(self) -> str:
        job = self._job()
        between = -(-self.batches // (1 if self.epoch else _ESTIMATES))
        while self.batch < self.batches:
            if self.should_stop():
                # Weights may have become NaN without a cost yet to show it.
                return "interrupted" if self._finite() else "nonfinite"
            if self.batch % between == 0:
                self.factors = self._estimate()
                method = fill_in(self.method, self.factors)
                job = dataclasses.replace(job, method=method)
            due = self.batch - self.batch % between + between
            stop = min(self.batch + self.chunk, self.batches, due)
            started = time.perf_counter()
            self.state, _, fine = train_batches(
                job, self.state, jnp.asarray(self.batch), jnp.asarray(stop)
            )
            if not bool(fine):
                return "nonfinite"
            elapsed = time.perf_counter() - started
            per_batch = max(elapsed / (stop - self.batch), 1e-6)
            self.chunk = max(1, int(_REPORT_SECONDS / per_batch))
            self.batch = stop
            self._tell("train", summarize(self.state.sums))
        return "finished" if self._finite() else "nonfinite"

    def _estimate(self) -> tuple[Factor, ...]:
        """The factors that the method leaves open, at the model of this moment."""
        if not self.factors:
            return ()
        few = first_examples(self.state.model, self.data.train)
        y, states = jax.tree.map(
            lambda a: a[: few.batch], (self.data.train.y, self.state.states)
        )
        size = self.batch_size
        return relaxation_factors(self.method, few, y, states, batch=size)

    def _finite(self) -> bool:
        return bool(_all_finite(eqx.filter(self.state.model, eqx.is_inexact_array)))

    def _finish_epoch(self, model: Model, seconds: float) -> None:
        started = time.perf_counter()
        means = summarize(self.state.sums)
        row: dict[str, Any] = {"epoch": self.epoch}
        row["train_error"] = means.pop("error")
        row["train_cost"] = means.pop("cost")
        row |= means
        if self.validation is not None:
            self._tell("validate", row)
            found = self.validation.run(self.state.model, self.method.free_solver())
            row |= {f"validation_{name}": value for name, value in found.items()}
        row["seconds"] = seconds + time.perf_counter() - started
        row["compile_seconds"] = self.compile_seconds if not self.metrics else 0.0
        self.seconds += row["seconds"]
        self.metrics.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        sums = _copied(empty_sums(self.state.model))
        self.state = eqx.tree_at(lambda s: s.sums, self.state, sums)
        if self.directory is not None:
            self.directory.append_metrics(row)
        best = best_epoch(self.metrics, self.stopping) == row["epoch"]
        if best and self.stopping is not None:
            self.best = model
        self._save(best=best)
        self._tell("epoch", row, epoch=row["epoch"], batch=self.batches)

    def _tell(self, phase: str, metrics: dict[str, Any], **at: int) -> None:
        epoch, batch = at.get("epoch", self.epoch), at.get("batch", self.batch)
        self.report(Progress(phase, epoch, self.epochs, batch, self.batches, metrics))

    def _result(self, model: Model, stopped: str) -> Run:
        return Run(
            model,
            self.metrics,
            None if self.directory is None else self.directory.path,
            best_epoch(self.metrics, self.stopping),
            stopped,
            self.seconds,
            self.compile_seconds,
            self.state.memory,
        )

    def _parts(self) -> dict[str, Any]:
        validation = None if self.validation is None else self.validation.states
        parts = {
            "model": self.state.model,
            "optimizer": self.state.memory,
            "sums": self.state.sums,
            "factors": self.factors,
            "states": {"train": self.state.states, "validation": validation},
        }
        return {
            name: arrays
            for name, part in parts.items()
            if jax.tree.leaves(arrays := eqx.filter(part, eqx.is_array))
        }

    def _facts(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that it continues."""
        return {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "train_examples": len(self.data.train),
            "persistent": self.persistent,
            "optimizer": type(self.optimizer).__name__,
        }

    def _save(self, *, best: bool) -> None:
        if self.directory is None:
            return
        step = self.epoch * self.batches + self.batch
        info = self._facts() | {
            "step": step,
            "epoch": self.epoch,
            "batch": self.batch,
            "seconds": self.seconds,
        }
        self.directory.save(f"{step:08d}", self._parts(), info, best=best)

    def restore(self) -> None:
        """Goes back to the run's last checkpoint."""
        assert self.directory is not None
        info = read_manifest(self.directory.checkpoint("last"))["info"]
        for name, value in self._facts().items():
            if info[name] != value:
                raise ValueError(
                    f"`resume`: the run in {self.directory.path} has {name} = "
                    f"{info[name]}, but {value} was given. Pass what it was trained "
                    "with, or start a new run with `out=`."
                )
        parts, _ = self.directory.load("last", self._parts())
        check_same_optimizer(self.directory, self.optimizer)
        states = parts.get("states", {"train": None, "validation": None})
        fresh = self.state
        self.state = Progressing(
            eqx.combine(parts["model"], fresh.model),
            eqx.combine(parts.get("optimizer", fresh.memory), fresh.memory),
            states["train"],
            parts["sums"],
        )
        self.factors = parts.get("factors", self.factors)
        if self.validation is not None:
            self.validation.states = states["validation"]
        self.epoch, self.batch = info["epoch"], info["batch"]
        self.seconds = info["seconds"]
        self.directory.truncate_metrics(self.epoch)
        self.metrics = self.directory.read_metrics()
        if self.stopping is not None and self.metrics:
            arrays = {"model": eqx.filter(self.state.model, eqx.is_array)}
            best, _ = self.directory.load("best", arrays)
            self.best = eqx.combine(best["model"], self.state.model)


@jax.jit
def _all_finite(tree: PyTree[Array]) -> Array:
    fine = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(fine)) if fine else jnp.ones((), bool)


def _copied(tree: _Tree) -> _Tree:
    return jax.tree.map(lambda a: jnp.copy(a) if eqx.is_array(a) else a, tree)
