"""`eqprop reproduce`: published figures, run again."""

import dataclasses
import json as json_module
import shlex
import textwrap
import time
from pathlib import Path
from typing import Annotated, Any, TYPE_CHECKING

from cyclopts import Parameter

from ._compilation import keep_compiled
from ._interrupt import stop_on_interrupt
from ._output import print_json, print_rows, program
from ._progress import Reporter, warn


if TYPE_CHECKING:
    from ..reproduce import Experiment


_CODES = {"REPRODUCED": 0, "DIFFERS": 1, "INCOMPLETE": 3}


def reproduce(
    name: str | None = None,
    /,
    *,
    list_all: Annotated[bool, Parameter(name="--list")] = False,
    seeds: int | None = None,
    quick: bool = False,
    hours: float | None = None,
    out: Path = Path("reproductions"),
    data_dir: Path | None = None,
    store: bool = False,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Runs a published experiment and says whether its figure comes out again.

    Writes report.md, report.json and figure.png into a folder below --out and ends
    with REPRODUCED (exit code 0), DIFFERS (1), or INCOMPLETE (3): not all has run.
    The same command again goes on where it was; what several experiments have in
    common is trained once.

    Parameters
    ----------
    name
        An experiment of the list, or a TOML file with one of your own.
    list_all
        Show every experiment: source, claim, published figure, what runs, cost,
        tolerance and the last result stored. With a name, only that one.
    seeds
        How many seeds, counted from 0; by default the experiment's own number.
    quick
        The experiment's small form, in seconds, held to what that can show.
    hours
        Stop after so many hours, at a point from which it can go on.
    out
        The folder for runs and reports.
    data_dir
        The folder that the data sets are in.
    store
        Keep the result in the package, as the last one of this experiment.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    from ..reproduce import find_experiment, list_experiments

    if list_all or name is None:
        names = list_experiments() if name is None else [name]
        return _list([find_experiment(each) for each in names], json=json)
    experiment = find_experiment(name)
    _require_sane(name, seeds, hours, quick=quick, store=store)
    if quick:
        assert experiment.quick is not None
        experiment = experiment.quick
    if seeds is not None:
        experiment = dataclasses.replace(experiment, seeds=seeds)
    words = ["eqprop", "reproduce", shlex.quote(name)]
    words += [] if seeds is None else ["--seeds", str(seeds)]
    words += ["--quick"] if quick else []
    folder = out / (experiment.name.replace("/", "-") + ("-quick" if quick else ""))
    result, interrupted = _perform(experiment, " ".join(words), out, data_dir, hours)
    _write(experiment, result, folder, name if store else None)
    if json:
        print_json(result)
    else:
        _print(result, folder, data_dir)
    return 130 if interrupted else _CODES[result["verdict"]]


def _require_sane(
    name: str, seeds: int | None, hours: float | None, *, quick: bool, store: bool
) -> None:
    if seeds is not None and seeds < 1:
        raise ValueError(f"`--seeds` is {seeds}, but it takes at least 1.")
    if hours is not None and not hours > 0:
        raise ValueError(
            f"`--hours` is {hours:g}, but nothing can be done in that time. Leave it "
            "out to run to the end."
        )
    if store and quick:
        raise ValueError(
            "`--store` keeps results of the full form; that of `--quick` says nothing "
            "about the published figure. Leave one of them out."
        )
    if store and name.endswith(".toml"):
        raise ValueError(
            "`--store` keeps results of experiments that come with the package; those "
            f"of {name} are in `--out`. Put the file among them first."
        )


def _list(experiments: "list[Experiment]", *, json: bool) -> int:
    from ..reproduce import list_rows, stored_result

    results = [stored_result(experiment.name) for experiment in experiments]
    if json:
        rows = [
            {
                "name": experiment.name,
                **experiment.words,
                "cost_minutes": experiment.cost,
                "seeds": experiment.seeds,
                "last": result
                and {k: result[k] for k in ("verdict", "command", "checks")},
            }
            for experiment, result in zip(experiments, results, strict=True)
        ]
        print_json({"experiments": rows})
        return 0
    for k, (experiment, result) in enumerate(zip(experiments, results, strict=True)):
        print(("\n" if k else "") + f"{experiment.name}: {experiment.words['title']}")
        for label, text in list_rows(experiment, result):
            print(_wrapped(f"  {label:12}", text))
    return 0


def _wrapped(lead: str, text: str) -> str:
    return textwrap.fill(
        text,
        88,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _perform(
    experiment: "Experiment",
    command: str,
    out: Path,
    data_dir: Path | None,
    hours: float | None,
) -> tuple[dict[str, Any], bool]:
    """The result, and whether Ctrl-C cut it short."""
    from ..reproduce._perform import perform
    from ..reproduce._training import Runs

    keep_compiled()
    deadline = None if hours is None else time.monotonic() + 3600 * hours
    with Reporter() as reporter, stop_on_interrupt(reporter.note) as pressed:

        def should_stop() -> bool:
            late = deadline is not None and time.monotonic() > deadline
            return late or pressed()

        runs = Runs(
            out / "runs",
            data_dir=data_dir,
            progress=reporter,
            should_stop=should_stop,
            note=reporter.note,
        )
        result = perform(experiment, runs, command=command)
        return result, pressed()


def _write(
    experiment: "Experiment", result: dict[str, Any], folder: Path, stored: str | None
) -> None:
    from ..plots import plot_reproduction
    from ..reproduce import report_markdown, result_file

    folder.mkdir(parents=True, exist_ok=True)
    figure: str | None = "figure.png"
    try:
        plot_reproduction(result).savefig(folder / "figure.png")
    except ImportError:
        figure = None
        warn(
            'note: there is no figure without matplotlib: `pip install "eqprop[plot]"`.'
        )
    (folder / "report.md").write_text(
        report_markdown(experiment, result, figure), "utf-8"
    )
    text = json_module.dumps(result, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "report.json").write_text(text, "utf-8")
    if stored is not None:
        file = result_file(stored)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


def _print(result: dict[str, Any], folder: Path, data_dir: Path | None) -> None:
    from ..reproduce import range_text, time_text, value_text

    rows = [
        (
            check["name"],
            f"{value_text(check)}; published {check['published']}; accepted "
            f"{range_text(check)}",
        )
        for check in result["checks"]
    ]
    print_rows([*rows, ("report", str(folder / "report.md"))])
    took = f"{time_text(result['seconds'])}, {time_text(result['cpu_seconds'])} CPU"
    print(f"{result['verdict']} ({took})")
    if result["verdict"] == "INCOMPLETE":
        again = result["command"].replace("eqprop", program(), 1)
        again += f" --out {shlex.quote(str(folder.parent))}"
        if data_dir is not None:
            again += f" --data-dir {shlex.quote(str(data_dir))}"
        warn(f"To go on: {again}")
