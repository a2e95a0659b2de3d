"""`eqprop train`: a network learns by relaxing."""

import os
import textwrap
import warnings
from pathlib import Path
from typing import Annotated, Any, TYPE_CHECKING

from cyclopts import Parameter

from ..._presets import list_presets
from ._compilation import keep_compiled
from ._configure import configure
from ._interrupt import stop_on_interrupt
from ._progress import Reporter, warn
from ._summary import name_of, report_run


if TYPE_CHECKING:
    from ...data import Splits
    from ...energies import Model
    from ...training import Progress, Run
    from ...training._recipe import Recipe


def train_help() -> str:
    """The text of `eqprop train --help`, which lists the presets there are."""
    return f"""Trains a network and prints its test error.

The recipe is a preset, by default digits:
{textwrap.indent(textwrap.fill(", ".join(list_presets()), 76), "  ")}

Each of its fields is a flag: its dotted path, then a value as TOML has it. The
config.toml of a run shows all fields there are.

  eqprop train mnist --method.nudging.beta 0.1 --energy.sizes "[784, 256, 10]"
  eqprop train --method.solver.type Euler --method.solver.max_steps 50

What comes later wins: the defaults, the preset, --config, the environment
(EQPROP_TRAINING__EPOCHS=3), the flags."""


def train(
    preset: str | None = None,
    /,
    *,
    config: Path | None = None,
    data_dir: Path | None = None,
    seed: int | None = None,
    epochs: int | None = None,
    method: str | None = None,
    out: Path | None = None,
    resume: Path | None = None,
    json: bool = False,
    debug: bool = False,
    flags: Annotated[dict[str, Any] | None, Parameter(parse=False)] = None,
) -> int:
    """Trains a network.

    Parameters
    ----------
    preset
        The recipe to start from.
    config
        A TOML file with fields of the recipe, or with a whole one.
    data_dir
        The folder that the data set is in.
    seed
        Decides the initial weights, the order of the examples and all other chance.
    epochs
        Passes over the training data.
    method
        How gradients are estimated: OneSided, Centered, Holomorphic, ContinualEP,
        ImplicitDifferentiation, ... (short for the fields below `--method.`).
    out
        A new folder for the run; by default runs/PRESET-seedN-K.
    resume
        A run's folder, to go on from its last checkpoint.
    json
        Print one JSON object last on the standard output.
    debug
        Show the traceback of an error.
    """
    from ...training._config import merge
    from ...training._evaluate import check_data
    from ...training._recipe import build, method_named

    keep_compiled()
    flags = dict(flags or {})
    shorthands = {"seed": seed, "epochs": epochs}
    training = {name: n for name, n in shorthands.items() if n is not None}
    if training:
        below = flags.get("training", {})
        flags["training"] = (below if isinstance(below, dict) else {}) | training
    if method is not None:
        flags["method"] = merge(method_named(method), flags.get("method", {}))
    if resume is not None:
        _require_alone(
            preset=preset,
            config=config,
            seed=seed,
            method=method,
            out=out,
            flags={k: v for k, v in flags.items() if method is None or k != "method"},
        )
        table = _resumed(resume, flags)
    else:
        table = configure(preset, config, flags)
    recipe = build(with_folder(table, data_dir))
    if out is not None:
        _require_free(out)
    splits, model = recipe.data(), recipe.model()
    # All else is refused by `fit`, before it compiles or writes; it never sees these.
    if splits.test is not None:
        check_data(model, splits.test, "data.test")
    folder = resume or out or _default_path(recipe)
    with Reporter() as reporter:
        run = _fit(recipe, splits, model, reporter, folder, resume=resume is not None)
    return report_run(run, recipe, splits, folder, json=json)


def with_folder(table: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """The recipe with its data in `data_dir`, as an absolute path, so that the run can
    be evaluated from any other folder."""
    data = dict(table.get("data", {}))
    if data_dir is not None:
        if data.get("type") == "digits":
            warn("note: the digits come with eqprop; `--data-dir` is not used.")
            return table
        data["folder"] = str(data_dir)
    if "folder" in data:
        data["folder"] = os.path.abspath(os.path.expanduser(data["folder"]))
    return table | {"data": data}


def _require_alone(*, flags: dict[str, Any], **options: Any) -> None:
    training = flags.get("training")
    fields = [
        f"{section}.{field}"
        for section, table in flags.items()
        for field in (table if isinstance(table, dict) else {"": None})
        if table is not training or field not in ("seed", "epochs")
    ]
    names = {"preset": "PRESET"}
    given = [names.get(k, f"--{k}") for k, v in options.items() if v is not None]
    given += [f"--{field}" for field in fields]
    if given:
        raise ValueError(
            f"`--resume` goes on with the run's own recipe, but {', '.join(given)} "
            "came too. Only `--epochs`, `--data-dir` and `--json` can be given with "
            "it; for another recipe start a new run."
        )


def _require_free(out: Path) -> None:
    from ...training._rundir import occupied

    # `fit` refuses it too, in the words of Python.
    if occupied(out):
        raise ValueError(
            f"`--out` is {out}, which exists and is not an empty folder, and nothing "
            "is overwritten. Choose another `--out`, or continue that run with "
            f"`--resume {out}`."
        )


def _resumed(run: Path, flags: dict[str, Any]) -> dict[str, Any]:
    from ...training import RunDirectory
    from ...training._config import merge

    python = "Go on from Python: `ep.fit(model, data, …, resume=run)`."
    return merge(RunDirectory.open(run).read_recipe(python), flags)


def _default_path(recipe: "Recipe") -> Path:
    from ...training import RunDirectory

    return RunDirectory.default_path(name_of(recipe), recipe.training["seed"])


def _fit(
    recipe: "Recipe",
    splits: "Splits",
    model: "Model",
    reporter: Reporter,
    folder: Path,
    *,
    resume: bool,
) -> "Run":
    from ...training import DivergenceWarning, fit, RunDirectory

    where: dict[str, Any] = {"resume" if resume else "out": folder}
    unwritten = [RunDirectory.open(folder)] if resume else []

    def report(progress: "Progress") -> None:
        # The recipe may ask for more epochs now, which a later resume must know. Not
        # before training goes on: a damaged run is left as it is.
        while unwritten:
            unwritten.pop().write_config(recipe.table)
        reporter(progress)

    # The summary says it, in words of the command line.
    quiet = warnings.catch_warnings(action="ignore", category=DivergenceWarning)
    with quiet, stop_on_interrupt(reporter.note) as should_stop:
        return fit(
            model,
            splits,
            recipe.method,
            recipe.optimizer,
            **recipe.training,
            **where,
            config=recipe.table,
            progress=report,
            should_stop=should_stop,
        )
