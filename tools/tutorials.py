"""Renders the tutorials: `python tools/tutorials.py OUT_DIR`.

Each script of `docs/tutorials/` becomes a notebook, `OUT_DIR/NAME.ipynb`, without
outputs, and is run in a fresh kernel to become a page, `OUT_DIR/NAME.md`, with what it
printed and its figures beside it as PNG. An error stops it, and so does anything that
is written to stderr, such as a warning. `--notebooks` writes the notebooks only.
"""

import argparse
import base64
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config


SCRIPTS = Path(__file__).resolve().parent.parent / "docs" / "tutorials"

# In the order in which they are best read.
NAMES = (
    "paper_in_one_hour",
    "your_own_energy",
    "gradient_checking",
    "hybrid_networks",
    "stochastic_ep",
)

# What is run in the kernel before the first cell.
_SETUP = """\
%matplotlib inline
import matplotlib_inline.backend_inline
matplotlib_inline.backend_inline.set_matplotlib_formats("png", dpi=110)
"""


def read(script: Path) -> NotebookNode:
    """A script in percent format as a notebook that any Python kernel runs."""
    notebook = jupytext.read(script, fmt="py:percent")
    # Not what is installed here, which jupytext would note.
    notebook.metadata = NotebookNode(
        kernelspec={
            "display_name": "Python 3",
            "language": "python",
            "name": "python3",
        },
        language_info={"name": "python"},
    )
    for k, cell in enumerate(notebook.cells):
        # Random by default, and the file another one every time.
        cell.id = f"cell-{k}"
    nbformat.validate(notebook)
    return notebook


def execute(notebook: NotebookNode, *, timeout: int = 600) -> None:
    """Runs a notebook in a kernel of its own, filling in the outputs.

    **Raises:**

    - `CellExecutionError`: a cell failed, or warned.
    """
    setup = nbformat.v4.new_code_cell(_SETUP)
    notebook.cells.insert(0, setup)
    # Through files instead of ports, which anyone on the machine could listen to.
    config = Config({"KernelManager": {"transport": "ipc"}})
    client = NotebookClient(
        notebook, timeout=timeout, kernel_name="python3", config=config
    )
    try:
        client.execute(env=os.environ | {"JAX_PLATFORMS": "cpu"})
    finally:
        notebook.cells.remove(setup)


def as_page(notebook: NotebookNode, name: str, out: Path) -> str:
    """An executed notebook as Markdown; its figures are written beside it."""
    blocks, figures = [], 0
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            blocks.append(cell.source)
            continue
        blocks.append(_fenced("python", cell.source))
        for output in cell.outputs:
            if output.output_type == "stream":
                if output.name != "stdout":
                    raise ValueError(f"{name}.py writes to stderr: {output.text}")
                blocks.append(_fenced("text", output.text))
            elif "image/png" in output.get("data", {}):
                figures += 1
                picture = f"{name}-{figures}.png"
                png = base64.b64decode(output.data["image/png"])
                (out / picture).write_bytes(png)
                alternative = caption(notebook.cells[k + 1 :], name)
                blocks.append(f"![{alternative}]({picture})")
            elif output.output_type != "error":
                blocks.append(_fenced("text", output.data["text/plain"]))
    blocks.insert(1, f"*As a notebook: [{name}.ipynb]({name}.ipynb).*")
    return "\n\n".join(blocks) + "\n"


def caption(cells: list[NotebookNode], name: str) -> str:
    """What a figure shows, for those who can't see it: the paragraph in italics that
    the next cell begins with."""
    text = cells[0].source if cells and cells[0].cell_type == "markdown" else ""
    found = re.match(r"\*([^*]+)\*(?:\n\n|$)", text)
    if found is None:
        raise ValueError(
            f"A figure of {name}.py has no caption. Begin the Markdown cell after it "
            "with a paragraph in italics that says what there is to see."
        )
    return " ".join(found[1].split())


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.strip(chr(10))}\n```"


def render(name: str, out: Path, *, page: bool = True, folder: Path = SCRIPTS) -> None:
    """Writes one tutorial's notebook and, with `page`, runs it and writes its page."""
    notebook = read(folder / f"{name}.py")
    nbformat.write(notebook, out / f"{name}.ipynb")
    if page:
        execute(notebook)
        (out / f"{name}.md").write_text(as_page(notebook, name, out), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="where to")
    parser.add_argument(
        "--notebooks", action="store_true", help="write the notebooks only; run nothing"
    )
    parser.add_argument(
        "--only", choices=NAMES, action="append", help="this one; may be repeated"
    )
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name in chosen.only or NAMES:
        try:
            render(name, chosen.out, page=not chosen.notebooks)
        except (CellExecutionError, ValueError) as error:
            sys.exit(f"{name}: {error}")
        print(chosen.out / f"{name}.{'ipynb' if chosen.notebooks else 'md'}")


if __name__ == "__main__":
    main()
