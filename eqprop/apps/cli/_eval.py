"""`eqprop eval`: what a trained network predicts."""

from pathlib import Path
from typing import Literal

from ._compilation import keep_compiled
from ._output import percent, print_json, print_rows
from ._train import with_folder


def evaluate_run(
    run: Path,
    /,
    *,
    checkpoint: Literal["last", "best"] = "last",
    split: Literal["test", "validation", "train"] = "test",
    data_dir: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Evaluates a trained network: every example settles from rest.

    Parameters
    ----------
    run
        The folder that `eqprop train` printed as its run.
    checkpoint
        The last, or the one of least validation error.
    split
        The part of the data.
    data_dir
        The folder that the data set is in, if it isn't where it was.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    from ...training import evaluate, RunDirectory
    from ...training._load import load
    from ...training._recipe import build

    keep_compiled()
    table = with_folder(RunDirectory.open(run).read_config(), data_dir)
    model = load(run, checkpoint=checkpoint)
    recipe = build(table)
    part = getattr(recipe.data(), split)
    if part is None:
        raise ValueError(
            f"`--split` is {split!r}, but the data of {run} have no such part. Its "
            "recipe says how they were split: `[data]` in config.toml."
        )
    found = evaluate(model, part, recipe.method.free_solver())
    if json:
        print_json(
            {
                f"{split}_error": found["error"],
                **{k: found[k] for k in ("cost", "energy", "converged", "residual")},
                "split": split,
                "checkpoint": checkpoint,
                "run": str(run),
            }
        )
        return 0
    print_rows(
        [
            ("run", f"{run}, checkpoint `{checkpoint}`"),
            ("cost", f"{found['cost']:.4f}"),
            ("energy", f"{found['energy']:.4f}"),
            (
                "converged",
                f"{100 * found['converged']:.1f} % of {len(part)} examples, residual "
                f"{found['residual']:.1e}",
            ),
            (f"{split} error", percent(found["error"])),
        ]
    )
    return 0
