"""Puts the stored results of `eqprop reproduce` into the page of results.

    eqprop reproduce NAME --store
    python benchmarks/results_page.py

What stands between the markers of docs/results.md is made anew from the experiments and
their stored results, and the figures in docs/results are drawn anew; a test holds the
page to them.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from eqprop.apps.plots import plot_reproduction
from eqprop.apps.reproduce import (
    cost_text,
    find_experiment,
    list_experiments,
    section_lines,
    stored_result,
)


DOCS = Path(__file__).resolve().parent.parent / "docs"


def filled(page: str) -> str:
    """The page with the stored results in their places."""
    for name, lines in (("table", _table()), ("results", _sections())):
        text = "\n".join(lines).strip()
        block = f"<!-- {name} -->\n\n{text}\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- end of {name} -->"
        page = re.sub(pattern, lambda _, block=block: block, page, flags=re.DOTALL)
    return page


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
