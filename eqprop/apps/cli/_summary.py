"""What `eqprop train` says of a run when it ends."""

import shlex
from pathlib import Path
from typing import Any, TYPE_CHECKING

from ..._presets import list_presets
from ._output import percent, print_json, print_rows, program
from ._progress import warn


if TYPE_CHECKING:
    from ...data import Splits
    from ...training import EarlyStopping, Run
    from ...training._recipe import Recipe


# Every epoch that there was to be is there.
_COMPLETE = ("finished", "early")


def report_run(
    run: "Run", recipe: "Recipe", splits: "Splits", folder: Path, *, json: bool
) -> int:
    """Prints the results, the test error among them; the exit code."""
    from ...training import evaluate

    test_error = None
    if run.stopped in _COMPLETE and splits.test is not None:
        found = evaluate(run.model, splits.test, recipe.method.free_solver())
        test_error = found["error"]
    kept = _kept_row(run, recipe)
    results = {
        "run": str(folder),
        "preset": name_of(recipe),
        "seed": recipe.training["seed"],
        "epochs": len(run.metrics),
        "train_error": kept.get("train_error"),
        "validation_error": kept.get("validation_error"),
        "test_error": test_error,
        "converged": kept.get("converged"),
        "residual": kept.get("residual"),
        "best_epoch": run.best_epoch,
        "stopped": run.stopped,
        "seconds": run.seconds,
        "compile_seconds": run.compile_seconds,
    }
    code = _explain(run, folder)
    if json:
        print_json(results)
    else:
        _print_summary(results, recipe)
    return code


def _kept_row(run: "Run", recipe: "Recipe") -> dict[str, Any]:
    """The metrics of the epoch whose model the run ended with."""
    if not run.metrics:
        return {}
    back = _stopping(recipe) is not None and run.stopped in _COMPLETE
    return run.metrics[run.best_epoch if back and run.best_epoch is not None else -1]


def _stopping(recipe: "Recipe") -> "EarlyStopping | None":
    return recipe.training.get("early_stopping")


def _explain(run: "Run", folder: Path) -> int:
    """Says on the standard error why training ended early; the exit code."""
    done = len(run.metrics)
    if run.stopped == "interrupted":
        warn(
            f"Interrupted in epoch {done + 1}. Saved in {folder}; go on with\n"
            f"  {program()} train --resume {shlex.quote(str(folder))}"
        )
        return 130
    if run.stopped == "nonfinite":
        kept = f"The last good checkpoint, of epoch {done}, is kept in {folder}."
        if not done:
            kept = f"No epoch was finished, so {folder} holds no checkpoint."
        warn(
            f"error: training stopped in epoch {done + 1}: the cost or a parameter "
            f"became NaN or infinite. {kept} Try a smaller learning rate "
            "(`--optimizer.learning_rate`), a smaller β (`--method.nudging.beta`), or "
            "more steps of relaxation (`--method.solver.max_steps`)."
        )
        return 1
    if run.compile_seconds == 0:
        more = "For more pass `--epochs N`."
        if run.stopped == "early":
            more = "Early stopping ended it: for more start a run with more patience."
        warn(
            f"Nothing was left to train: {folder} already has its {done} epochs. {more}"
        )
    return 0


def _print_summary(results: dict[str, Any], recipe: "Recipe") -> None:
    run, name = shlex.quote(results["run"]), name_of(recipe)
    converged = results["converged"]
    rows = [
        ("run", results["run"]),
        (
            "trained",
            f"{results['epochs']} epochs in {results['seconds']:.1f} s, after "
            f"{results['compile_seconds']:.1f} s of compiling",
        ),
    ]
    if _stopping(recipe) is not None and results["epochs"]:
        rows += [("kept", f"the model of epoch {results['best_epoch'] + 1}, the best")]
    if converged is not None:
        share = f"{100 * converged:.1f} % of the free phases, residual"
        rows += [("converged", f"{share} {results['residual']:.1e}")]
    parts = ("train", "validation", "test")
    rows += [
        (f"{part} error", f"{percent(results[f'{part}_error']):>9}")
        for part in parts
        if results[f"{part}_error"] is not None
    ]
    print_rows(rows)
    if results["stopped"] in _COMPLETE:
        more = 2 * results["epochs"]
        again = f"{program()} train {shlex.quote(name)} --seed {results['seed'] + 1}"
        print("\nTry next")
        print(f"  {program()} eval {run} --checkpoint best")
        if name in list_presets():
            print(f"  {again}")
        if results["stopped"] == "finished":
            print(f"  {program()} train --resume {run} --epochs {more}")


def name_of(recipe: "Recipe") -> str:
    """What a recipe is called: its preset, or its file."""
    return recipe.table.get("preset", "run")
