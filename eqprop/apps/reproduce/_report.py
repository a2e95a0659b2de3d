"""A result in words: the report of a run, and lines of the list."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..bench._machine import machine_text
from ._experiment import Check, Experiment


Result = Mapping[str, Any]


def report_markdown(experiment: Experiment, result: Result, figure: str | None) -> str:
    """The whole report of one experiment.

    **Arguments:**

    - `experiment`: the form that was run.
    - `result`: what came of it.
    - `figure`: the file of the figure, as the report links it.
    """
    lines = [f"# {experiment.name}: {result['verdict']}", ""]
    return "\n".join([*lines, *section_lines(experiment, result, figure)]) + "\n"


def section_lines(
    experiment: Experiment, result: Result | None, figure: str | None
) -> Iterator[str]:
    """Claim, checks, figure and provenance, without a heading."""
    words = experiment.words
    yield f"**{words['title']}.** {words['source']}."
    yield ""
    yield f"- Claim: {words['claim']}"
    yield f"- Published: {words['published']}."
    yield f"- What runs: {words['runs']}"
    yield f"- Tolerance: {words['tolerance']}"
    yield ""
    if result is not None:
        yield from _check_table(result["checks"])
        yield ""
        if figure is not None:
            yield f"![{words['title']}: {_description(result)}]({figure})"
            yield ""
    if "analysis" in words:
        yield words["analysis"]
        yield ""
    if result is not None:
        yield from _provenance(result)


def summary(result: Result | None) -> str:
    """A verdict and its numbers in one line."""
    if result is None:
        return "not run yet"
    found = "; ".join(
        f"{check['name']} {value_text(check)}" for check in result["checks"]
    )
    return f"{result['verdict']}: {found}"


def value_text(check: Mapping[str, Any]) -> str:
    """A check's value, with its spread over seeds."""
    if not check["values"]:
        return "not known yet"
    if check["mean"] is None:
        return "not finite"
    unit = _unit(check)
    style = ".2f" if unit else ".3g"
    text = f"{check['mean']:{style}}"
    if check["deviation"] is not None:
        text += f" ± {check['deviation']:{style}}"
    text += unit
    if len(check["values"]) > 1:
        text += f" ({len(check['values'])} seeds)"
    return text if check["verdict"] != "INCOMPLETE" else f"{text} so far"


def range_text(check: Mapping[str, Any]) -> str:
    """What a check accepts."""
    low, high, tolerance = check["low"], check["high"], check["tolerance"]
    if low is not None and low == high:
        text = f"{low:g}"
    elif low is None:
        text = f"≤ {high:g}"
    elif high is None:
        text = f"≥ {low:g}"
    else:
        text = f"{low:g} to {high:g}"
    return f"{text}, ± {tolerance:g}" if tolerance else text


def list_rows(experiment: Experiment, result: Result | None) -> list[tuple[str, str]]:
    """What `--list` shows of an experiment: names and values."""
    words = experiment.words
    ranges = "; ".join(f"{c.name}: {range_text(bounds(c))}" for c in experiment.checks)
    return [
        ("source", words["source"]),
        ("claim", words["claim"]),
        ("published", words["published"]),
        ("what runs", words["runs"]),
        ("cost", f"{cost_text(experiment)}, seeds: {experiment.seeds}"),
        ("accepted", ranges),
        ("tolerance", words["tolerance"]),
        ("last result", summary(result)),
    ]


def cost_text(experiment: Experiment) -> str:
    """What an experiment costs."""
    minutes = experiment.cost
    if minutes < 1:
        return f"{60 * minutes:.0f} s on two cores"
    hours = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
    return f"{hours} on two cores"


def bounds(check: Check) -> dict[str, float | None]:
    """The range of a check as a result holds it."""
    low = None if check.low == float("-inf") else check.low
    high = None if check.high == float("inf") else check.high
    return {"low": low, "high": high, "tolerance": check.tolerance}


def _check_table(checks: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "| | published | accepted | found | verdict |"
    yield "|---|---|---|---|---|"
    for check in checks:
        cells = (
            check["name"],
            check["published"],
            range_text(check),
            value_text(check),
            check["verdict"],
        )
        yield f"| {' | '.join(cells)} |"


def _provenance(result: Result) -> Iterator[str]:
    machine = result["machine"]
    versions = machine["versions"]
    names = ("eqprop", "jax", "jaxlib", "equinox", "numpy")
    done = [run for run in result.get("runs", ()) if run["epochs_done"] < run["epochs"]]
    for run in done:
        why = "diverged" if run["diverged"] else "unfinished"
        yield (
            f"`{run['name']}`, seed {run['seed']}, is {why}: {run['epochs_done']} of "
            f"{run['epochs']} epochs."
        )
    if done:
        yield ""
    yield f"```console\n$ {result['command']}\n```"
    yield ""
    yield (
        f"{time_text(result['seconds'])} ({time_text(result['cpu_seconds'])} of "
        f"processor time) on {machine_text(machine)}; "
        f"{', '.join(f'{name} {versions[name]}' for name in names)}, Python "
        f"{versions['python']}; experiment {result['fingerprint'][:12]}."
    )


def time_text(seconds: float) -> str:
    """A duration, in its own unit."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _description(result: Result) -> str:
    """The figure for those who don't see it."""
    panels = [
        f"{panel['y']} against {panel['x']}, with the lines "
        + ", ".join(line["label"] for line in panel["lines"])
        for panel in result["panels"]
    ]
    return "; ".join(panels)


def _unit(check: Mapping[str, Any]) -> str:
    rate = check["run"] is not None and check["metric"].endswith("_error")
    if not rate or check["over"] is not None:
        return ""
    return " %" if check["minus"] is None else " points"
