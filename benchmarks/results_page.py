"""Puts the stored results of `eqprop reproduce` into the page of results.

    eqprop reproduce NAME --store
    python benchmarks/results_page.py

What stands between the markers of docs/results.md is made anew from the experiments and
their stored results, and the figures in docs/results are drawn anew; a test holds the
page to them.
"""

import itertools
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from eqprop.apps.plots import plot_reproduction
from eqprop.apps.reproduce import (
    cost_text,
    find_experiment,
    list_experiments,
    recipe_key,
    Result,
    section_lines,
    stored_result,
    time_text,
    Verdict,
)


DOCS = Path(__file__).resolve().parent.parent / "docs"


def filled(page: str) -> str:
    """The page with the stored results in their places."""
    parts = {"totals": _totals(), "table": _table(), "results": _sections()}
    for name, lines in parts.items():
        text = "\n".join(lines).strip()
        block = f"<!-- {name} -->\n\n{text}\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- end of {name} -->"
        page = re.sub(pattern, lambda _, block=block: block, page, flags=re.DOTALL)
    return page


def _totals() -> Iterator[str]:
    verdicts = [verdict.value for verdict in Verdict]
    yield f"| paper | experiments | {' | '.join(verdicts)} | processor time |"
    yield f"|---|---|{'---|' * len(verdicts)}---|"
    for paper, names in itertools.groupby(list_experiments(), _paper):
        results = {name: stored_result(name) for name in names}
        found = Counter(None if r is None else r["verdict"] for r in results.values())
        counts = " | ".join(str(found[verdict]) for verdict in verdicts)
        time = time_text(math.fsum(_processor_times(results).values()))
        yield f"| `{paper}` | {len(results)} | {counts} | {time} |"


def _processor_times(results: Mapping[str, Result | None]) -> dict[str, float]:
    """Seconds that each run or measurement took: one that experiments have in common
    is there once."""
    times: dict[str, float] = {}
    for name, result in results.items():
        if result is None:
            continue
        variants = {v.name: v for v in find_experiment(name).variants}
        for run in result.get("runs", ()):
            key = recipe_key(variants[run["name"]], run["seed"])
            times[key] = max(run["cpu_seconds"], times.get(key, 0.0))
        if not variants:
            times[name] = result["cpu_seconds"]
    return times


def _paper(name: str) -> str:
    return name.partition("/")[0]


def _table() -> Iterator[str]:
    yield "| experiment | | cost on two cores | seeds | verdict |"
    yield "|---|---|---|---|---|"
    for name in list_experiments():
        experiment, result = find_experiment(name), stored_result(name)
        cost = cost_text(experiment).removesuffix(" on two cores")
        seeds = experiment.seeds if result is None else result["seeds"]
        verdict = "not run yet" if result is None else result["verdict"]
        link = f"[`{name}`](#{_anchor(name)})"
        title = experiment.words["title"]
        yield f"| {link} | {title} | {cost} | {seeds} | {verdict} |"


def _sections() -> Iterator[str]:
    for name in list_experiments():
        experiment, result = find_experiment(name), stored_result(name)
        figure = None if result is None else figure_file(name)
        yield f'### {name} <a id="{_anchor(name)}"></a>'
        yield ""
        yield from section_lines(experiment, result, figure)
        yield ""


def figure_file(name: str) -> str:
    """The figure of an experiment, as the page links it."""
    return f"results/{name.replace('/', '-')}.png"


def _anchor(name: str) -> str:
    return name.replace("/", "-")


def main() -> None:
    for name in list_experiments():
        result = stored_result(name)
        if result is not None:
            file = DOCS / figure_file(name)
            file.parent.mkdir(exist_ok=True)
            plot_reproduction(result).savefig(file, dpi=110)
    page = DOCS / "results.md"
    page.write_text(filled(page.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
