"""Puts the measurements of `eqprop bench` into the page on performance.

    eqprop bench --data-dir DIR --out docs --plot docs/bench.png
    python benchmarks/performance_page.py

The tables between the markers of docs/performance.md are made anew from
docs/bench.json; a test holds the page to that file.
"""

import json
import re
import sys
from pathlib import Path

from eqprop.apps.bench import report_lines


DOCS = Path(__file__).resolve().parent.parent / "docs"
# Which sections of the report stand between which markers.
PLACES = {"steps": ("steps",), "sweeps": ("sweeps",), "rest": ("scaling", "memory")}


def filled(page: str, found: dict) -> str:
    """The page with the measurements in their places."""
    for name, sections in PLACES.items():
        part = {key: found[key] for key in ("machine", "other_load")}
        part |= {key: found[key] for key in sections}
        text = "\n".join(line.rstrip() for line in report_lines(part))
        block = f"<!-- {name} -->\n\n```\n{text}\n```\n\n<!-- end of {name} -->"
        pattern = rf"<!-- {name} -->.*?<!-- end of {name} -->"
        page = re.sub(pattern, lambda _, block=block: block, page, flags=re.DOTALL)
    return page


def main() -> None:
    page = DOCS / "performance.md"
    found = json.loads((DOCS / "bench.json").read_text("utf-8"))
    page.write_text(filled(page.read_text("utf-8"), found), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
