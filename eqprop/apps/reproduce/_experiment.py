"""An experiment: one TOML file that says what was published and what is run."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


_NUMBER = (int, float)
_WORDS = ("title", "source", "claim", "published", "runs", "tolerance", "analysis")
_OPTIONAL = ("analysis",)
_FIELDS = {
    **dict.fromkeys(_WORDS, str),
    "cost": _NUMBER,
    "seeds": int,
    "run": list,
    "measure": str,
    "options": dict,
    "check": list,
    "panel": list,
    "quick": dict,
}
_RUN = {"name": str, "preset": str, "changes": dict}
_CHECK = {
    **dict.fromkeys(("name", "metric", "run", "minus", "over", "published"), str),
    **dict.fromkeys(("low", "high", "tolerance"), _NUMBER),
    "epoch": int,
}
_PANEL = {"metric": str, "label": str, "log": bool}
_QUICK = {
    "seeds": int,
    **dict.fromkeys(("runs", "check"), list),
    **dict.fromkeys(("changes", "options"), dict),
}


@dataclasses.dataclass(frozen=True)
class Variant:
    """One training run of an experiment, for every seed: a recipe by name.

    **Arguments:**

    - `name`: what it is called in reports and checks.
    - `preset`: the recipe to start from; `None` if the first layer is a whole one.
    - `layers`: what is laid over it, one after the other.
    """

    name: str
    preset: str | None
    layers: tuple[dict[str, Any], ...]


@dataclasses.dataclass(frozen=True)
class Check:
    """A number that must come out: within `low` to `high`, give or take `tolerance`.

    **Arguments:**

    - `name`: what it is.
    - `metric`: a column of a run's metrics, `test_error`, `weight_change_spread`, or a
        value of the experiment's measurement.
    - `published`: the published figure, in words.
    - `low`, `high`, `tolerance`: the published range, and how far outside it a result
        still agrees.
    - `run`: whose metric; `None` of a measurement.
    - `minus`, `over`: another run, whose metric is subtracted or divided by.
    - `epoch`: after how many epochs it is read; `None` after the last.
    """

    name: str
    metric: str
    published: str
    low: float = -math.inf
    high: float = math.inf
    tolerance: float = 0.0
    run: str | None = None
    minus: str | None = None
    over: str | None = None
    epoch: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """A panel of the figure: a metric of every run against the epoch."""

    metric: str
    label: str
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What was published, and what is run to see whether it comes out again.

    **Arguments:**

    - `name`: such as `scellier2017/net1`.
    - `words`: `title`, `source`, `claim`, `published`, `runs` (what we run),
        `tolerance` (why it is what it is), and perhaps `analysis`.
    - `cost`: minutes on two cores.
    - `seeds`: how many seeds, counted from 0.
    - `variants`: the training runs; none if it is a measurement.
    - `measure`, `options`: a measurement by name, and its numbers.
    - `checks`: the numbers that decide the verdict.
    - `panels`: the figure of training runs.
    - `quick`: the same experiment in seconds, held to what that can show.
    """

    name: str
    words: dict[str, str]
    cost: float
    seeds: int
    variants: tuple[Variant, ...]
    measure: str | None
    options: dict[str, Any]
    checks: tuple[Check, ...]
    panels: tuple[Panel, ...]
    quick: "Experiment | None" = None


def read_experiment(file: Path, name: str) -> Experiment:
    """Reads an experiment from its TOML file. Nothing in it is executed.

    **Raises:**

    - `ValueError`: it isn't TOML, lacks a field, or has one that is unknown or of the
        wrong type; says which.
    - `OSError`: it can't be read.
    """
    try:
        table = tomllib.loads(file.read_bytes().decode())
    except ValueError as error:
        raise ValueError(f"{file} is not valid TOML: {error}.") from error
    try:
        return parse_experiment(table, name)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def parse_experiment(table: Mapping[str, Any], name: str) -> Experiment:
    """Makes an experiment from a table, checked.

    **Raises:**

    - `ValueError`: as [`read_experiment`][].
    """
    _check_fields(table, _FIELDS, "the experiment")
    needed = [word for word in _WORDS if word not in _OPTIONAL]
    _require(table, [*needed, "cost", "check", "quick"], "the experiment")
    if ("run" in table) == ("measure" in table):
        raise ValueError(
            "an experiment has either training runs, `[[run]]`, or a measurement by "
            "name, `measure = …`, but this has both or neither."
        )
    full = _parse(table, name)
    quick = table["quick"]
    _check_fields(quick, _QUICK, "[quick]")
    _require(quick, ["check"], "[quick]")
    small = {
        **table,
        **_chosen_runs(table, quick),
        "seeds": quick.get("seeds", 1),
        "options": {**table.get("options", {}), **quick.get("options", {})},
        "check": quick["check"],
    }
    extra = (quick["changes"],) if "changes" in quick else ()
    return dataclasses.replace(full, quick=_parse(small, name, extra))


def _chosen_runs(
    table: Mapping[str, Any], quick: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """The runs that the quick form takes: those it names, or all."""
    if "runs" not in quick:
        return {}
    named = {run["name"]: run for run in table.get("run", ())}
    for name in quick["runs"]:
        if name not in named:
            raise ValueError(
                f"`runs` of [quick] names {name!r}, but the runs are: "
                f"{', '.join(named) or 'there are none'}."
            )
    return {"run": [run for name, run in named.items() if name in quick["runs"]]}


def _parse(
    table: Mapping[str, Any], name: str, extra: tuple[dict[str, Any], ...] = ()
) -> Experiment:
    for kind, fields in (("run", _RUN), ("check", _CHECK), ("panel", _PANEL)):
        for item in table.get(kind, ()):
            _check_fields(item, fields, f"[[{kind}]]")
    variants = []
    for run in table.get("run", ()):
        _require(run, ["name"], "[[run]]")
        layers = (run.get("changes", {}), *extra)
        variants.append(Variant(run["name"], run.get("preset"), layers))
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have the same name, of {', '.join(names)}.")
    checks = []
    for item in table["check"]:
        _require(item, ["name", "metric", "published"], "[[check]]")
        checks.append(_parse_check(item, names))
    if not checks:
        raise ValueError("there is no `[[check]]`, so nothing would decide a verdict.")
    seeds = table.get("seeds", 1)
    if seeds < 1:
        raise ValueError(f"`seeds` is {seeds}, but it takes at least 1.")
    return Experiment(
        name,
        {word: " ".join(table[word].split()) for word in _WORDS if word in table},
        float(table["cost"]),
        seeds,
        tuple(variants),
        table.get("measure"),
        table.get("options", {}),
        tuple(checks),
        tuple(Panel(**panel) for panel in table.get("panel", ())) or _CURVES,
    )


_CURVES = (
    Panel("train_error", "training error (%)", log=True),
    Panel("validation_error", "validation error (%)", log=True),
)


def _parse_check(item: Mapping[str, Any], names: Sequence[str]) -> Check:
    if names and "run" not in item and len(names) == 1:
        item = {**item, "run": names[0]}
    for field in ("run", "minus", "over"):
        if (field == "run" and names and field not in item) or (
            field in item and item[field] not in names
        ):
            raise ValueError(
                f"the check {item['name']!r} has `{field}` = {item.get(field)!r}, but "
                f"it must be one of the runs: {', '.join(names) or 'there are none'}."
            )
    if "low" not in item and "high" not in item:
        raise ValueError(
            f"the check {item['name']!r} has neither `low` nor `high`, so it could "
            "never fail."
        )
    numbers = {k: float(item[k]) for k in ("low", "high", "tolerance") if k in item}
    return Check(**{**item, **numbers})


def _check_fields(table: Any, known: Mapping[str, Any], where: str) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where} is {table!r}, but it must be a table.")
    for name, value in table.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise ValueError(
                f"{where} has no field `{name}`.{hint} Its fields: {', '.join(known)}."
            )
        kinds = known[name]
        wrong = isinstance(value, bool) and kinds is not bool
        if wrong or not isinstance(value, kinds):
            raise ValueError(
                f"`{name}` of {where} is {value!r}, which has the wrong type."
            )


def _require(table: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    for name in names:
        if name not in table:
            raise ValueError(f"{where} has no `{name}`, which it needs.")
