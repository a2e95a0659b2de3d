"""The tutorials run, top to bottom, and say with `assert` what they claim."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from pages import REPOSITORY
from scripts import tool


FOLDER = REPOSITORY / "docs" / "tutorials"
TUTORIALS = tool("tutorials")


def test_every_script_is_rendered():
    assert {path.stem for path in FOLDER.glob("*.py")} == set(TUTORIALS.NAMES)


@pytest.mark.parametrize("name", TUTORIALS.NAMES)
def test_a_tutorial_runs(name: str, tmp_path: Path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    done = subprocess.run(
        # A warning would stand in the page, and be an error in the eyes of a reader.
        [sys.executable, "-W", "error", FOLDER / f"{name}.py"],
        cwd=tmp_path,
        env=env
        | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    claims = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert len(claims) > 5, "a tutorial that claims nothing"


@pytest.mark.parametrize("name", TUTORIALS.NAMES)
def test_a_notebook_holds_the_script(name: str, tmp_path: Path):
    TUTORIALS.render(name, tmp_path, page=False)
    notebook = nbformat.read(tmp_path / f"{name}.ipynb", as_version=4)
    code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(source))
    assert not any(c.source.startswith("%") for c in notebook.cells), "no magics"


def test_an_executed_cell_becomes_a_page_with_its_figure(tmp_path: Path):
    (tmp_path / "small.py").write_text(
        "# %% [markdown]\n# # Small\n\n# %%\nimport matplotlib.pyplot as plt\n\n"
        "print(6 * 7)\nplt.plot([1, 2])\nplt.show()\n\n"
        "# %% [markdown]\n# *A rising line.*\n",
        "utf-8",
    )
    TUTORIALS.render("small", tmp_path, folder=tmp_path)
    page = (tmp_path / "small.md").read_text("utf-8")
    assert "```text\n42\n```" in page
    assert "![A rising line.](small-1.png)" in page
    assert (tmp_path / "small-1.png").read_bytes().startswith(b"\x89PNG")
