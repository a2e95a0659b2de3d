"""Puts the measurements of `eqprop bench` into the page on performance.

    eqprop bench steps scaling memory --data-dir DIR --out docs
    eqprop bench sweeps --data-dir DIR --out docs/sweeps
    python benchmarks/performance_page.py

The tables between the markers of docs/performance.md and its figures are made anew from
docs/bench.json and docs/sweeps/bench.json; a test holds the page to these files.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from eqprop.apps.bench import report_lines
from eqprop.apps.plots import plot_bench


DOCS = Path(__file__).resolve().parent.parent / "docs"
# Times want a quiet machine, counts of sweeps don't: they are measured apart.
FIGURES = {"bench.png": "bench.json", "sweeps.png": "sweeps/bench.json"}
# Which sections of which measurement stand between which markers.
PLACES = {
    "steps": ("bench.json", ("steps",)),
    "sweeps": ("sweeps/bench.json", ("sweeps",)),
    "rest": ("bench.json", ("scaling", "memory")),
}


def stored() -> dict[str, Any]:
    """The measurements, by file."""
    return {
        name: json.loads((DOCS / name).read_text("utf-8")) for name in FIGURES.values()
    }


def filled(page: str, measured: dict[str, Any]) -> str:
    """The page with the measurements in their places."""
    for name, (file, sections) in PLACES.items():
        found = measured[file]
        part = {key: found[key] for key in ("machine", "other_load", *sections)}
        text = "\n".join(line.rstrip() for line in report_lines(part))
        block = f"<!-- {name} -->\n\n```\n{text}\n```\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- end of {name} -->"
        page = re.sub(pattern, lambda _, block=block: block, page, flags=re.DOTALL)
    return page


def main() -> None:
    page, measured = DOCS / "performance.md", stored()
    page.write_text(filled(page.read_text("utf-8"), measured), "utf-8")
    for figure, file in FIGURES.items():
        plot_bench(measured[file]).savefig(DOCS / figure)


if __name__ == "__main__":
    sys.exit(main())
