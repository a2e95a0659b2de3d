"""An experiment run, and what came of it as plain JSON."""

import hashlib
import inspect
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ..bench._machine import machine
from ._experiment import Check, Experiment, Variant
from ._metrics import read_curves, read_metric
from ._panels import training_panels
from ._training import recipe_key, Runs, Trained
from ._verdict import judge, overall, Verdict
from .measurements import measurement


# The curves that a result keeps.
_KEPT = (
    *("train_error", "validation_error", "train_cost", "weight_change"),
    *("converged", "residual", "nudged_converged", "nudged_residual", "saturation"),
)


def perform(experiment: Experiment, runs: Runs, *, command: str) -> dict[str, Any]:
    """Runs an experiment in its full or its quick form.

    **Arguments:**

    - `experiment`: the form that is run, [`Experiment.quick`][] or the experiment.
    - `runs`: where its training runs are kept.
    - `command`: what was typed, to be written down.

    **Returns:**

    Plain JSON: the verdict, every check with its values, the curves, and what they
    depend on.

    **Raises:**

    - `ValueError`: a recipe, a metric or a measurement that doesn't exist.
    - `OSError`: the data aren't there, or the runs can't be written.
    """
    result: dict[str, Any] = {
        "experiment": experiment.name,
        "command": command,
        "fingerprint": fingerprint(experiment),
    }
    if experiment.measure is not None:
        result |= _measure(experiment)
    else:
        result |= _train(experiment, runs)
    verdict = overall(Verdict(check["verdict"]) for check in result["checks"])
    return {"verdict": verdict.value, **result, "machine": machine()}


def fingerprint(experiment: Experiment) -> str:
    """A checksum of what an experiment's file and presets say of its numbers and its
    verdict: recipes, the measurement's options, checks. Words are left out."""
    parts = {
        "runs": [
            [variant.name, recipe_key(variant, 0)] for variant in experiment.variants
        ],
        "measure": experiment.measure,
        "options": experiment.options,
        "checks": [_plain(check) for check in experiment.checks],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _plain(check: Check) -> dict[str, Any]:
    """What a check demands, without the words."""
    found = {k: v for k, v in vars(check).items() if k not in ("name", "published")}
    bounds = ("low", "high")
    return found | {k: v if math.isfinite(v := found[k]) else None for k in bounds}


def _measure(experiment: Experiment) -> dict[str, Any]:
    name = experiment.measure
    assert name is not None
    started, cpu = time.perf_counter(), time.process_time()
    # Its constants are made when it is imported, and must be float64 too.
    with jax.enable_x64(True):
        measure = measurement(name)
        try:
            inspect.signature(measure).bind(**experiment.options)
        except TypeError as error:
            raise ValueError(f"`options` don't suit `{name}`: {error}.") from error
        found = measure(**experiment.options)
    checks = []
    for check in experiment.checks:
        if check.metric not in found.values:
            raise ValueError(
                f"the check {check.name!r} has `metric` = {check.metric!r}, but "
                f"`{name}` measures: {', '.join(found.values)}."
            )
        values = [found.values[check.metric]]
        checks.append(_checked(check, values, complete=True))
    return {
        "seeds": 1,
        "checks": checks,
        "panels": found.panels,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
    }


def _train(experiment: Experiment, runs: Runs) -> dict[str, Any]:
    trained: dict[tuple[str, int], Trained] = {}
    with jax.enable_x64(False):
        # Every variant once before the second seed: cut short, it still compares.
        for seed in range(experiment.seeds):
            for variant in experiment.variants:
                trained[variant.name, seed] = runs.train(variant, seed)
    checks = [_check(check, experiment, trained) for check in experiment.checks]
    described = [
        _described(variant, seed, trained[variant.name, seed])
        for variant in experiment.variants
        for seed in range(experiment.seeds)
    ]
    return {
        "seeds": experiment.seeds,
        "checks": checks,
        "runs": described,
        "panels": training_panels(experiment.panels, described, checks),
        "seconds": sum(run.seconds for run in trained.values()),
        "cpu_seconds": sum(run.cpu_seconds for run in trained.values()),
    }


def _check(
    check: Check, experiment: Experiment, trained: Mapping[tuple[str, int], Trained]
) -> dict[str, Any]:
    needed = [name for name in (check.run, check.minus, check.over) if name is not None]
    values, complete = [], True
    for seed in range(experiment.seeds):
        of = {name: trained[name, seed] for name in needed}
        complete = complete and all(run.ended for run in of.values())
        if not all(run.rows or run.diverged for run in of.values()):
            continue
        assert check.run is not None
        value = _read(check, of[check.run])
        if check.minus is not None:
            value = value - _read(check, of[check.minus])
        if check.over is not None:
            below = _read(check, of[check.over])
            value = value / below if below else math.nan
        values.append(value)
    return _checked(check, values, complete=complete)


def _read(check: Check, run: Trained) -> float:
    if run.diverged:
        return math.nan
    if check.metric == "test_error" and run.test_error is not None:
        return run.test_error
    epoch = check.epoch
    if epoch is not None and not run.ended:
        epoch = min(epoch, len(run.rows))
    return read_metric(check.metric, run.rows, epoch)


def _checked(
    check: Check, values: Sequence[float], *, complete: bool
) -> dict[str, Any]:
    mean = math.fsum(values) / len(values) if values else math.nan
    spread = None
    if len(values) > 1:
        squares = math.fsum((v - mean) ** 2 for v in values)
        spread = math.sqrt(squares / (len(values) - 1))
    return {
        "name": check.name,
        "published": check.published,
        **_plain(check),
        "values": [_finite(v) for v in values],
        "mean": _finite(mean),
        "deviation": None if spread is None else _finite(spread),
        "verdict": judge(check, values, complete=complete).value,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _described(variant: Variant, seed: int, run: Trained) -> dict[str, Any]:
    return {
        "name": variant.name,
        "seed": seed,
        "epochs": run.epochs,
        "epochs_done": len(run.rows),
        "diverged": run.diverged,
        "test_error": run.test_error,
        "seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "curves": {
            name: [_shortened(v) for v in values]
            for name, values in read_curves(run.rows).items()
            if name.partition("/")[0] in _KEPT
        },
    }


def _shortened(value: float | None) -> float | None:
    # Six digits: float32 has no more, and the file stays small.
    return None if value is None else float(f"{value:.6g}")
