"""The tool that renders the tutorials, and what every tutorial's text must hold."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers_tutorials import FOLDER
from scripts import REPOSITORY, tool


SCRIPT = REPOSITORY / "tools" / "tutorials.py"


TOOL = tool("tutorials")


def run(code: list, folder: Path) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([str(REPOSITORY / "tools"), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, *code],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search},
        capture_output=True,
        text=True,
        timeout=300,
    )


def rendered(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`render` on a tutorial of this text, in a process of its own, which starts the
    kernel."""
    (folder / "small.py").write_text(source, "utf-8")
    code = (
        "from pathlib import Path; from tutorials import render; "
        "render('small', Path('.'), folder=Path('.'))"
    )
    return run(["-c", code], folder)


SMALL = """\
# %% [markdown]
# # Small
#
# With a formula $a < b$.

# %%
import matplotlib.pyplot as plt


a = 6 * 7
print("printed", a)
a + 1

# %%
figure, axis = plt.subplots()
axis.plot([0, 1])

# %% [markdown]
# *A line that
# rises.*
#
# The end.
"""


def test_a_tutorial_becomes_a_page_with_its_output_and_figures(tmp_path: Path):
    done = rendered(SMALL, tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "small.md").read_text("utf-8")
    assert page.startswith("# Small\n\nWith a formula $a < b$.\n")
    assert "```text\nprinted 42\n```" in page
    assert "```text\n43\n```" in page
    assert "![A line that rises.](small-1.png)" in page
    assert page.endswith("The end.\n")
    picture = (tmp_path / "small-1.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    notebook = nbformat.read(tmp_path / "small.ipynb", as_version=4)
    assert [cell.cell_type for cell in notebook.cells] == [
        "markdown",
        "code",
        "code",
        "markdown",
    ]
    assert not any(cell.get("outputs") for cell in notebook.cells)
    assert notebook.cells[0].source in page


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("assert a == 41", "AssertionError"),
        ("import warnings\nwarnings.warn('beware')", "writes to stderr: .*beware"),
        ("figure, axis = plt.subplots()", "has no caption"),
    ],
)
def test_a_tutorial_that_fails_warns_or_shows_without_a_word_is_no_page(
    cell: str, reason: str, tmp_path: Path
):
    done = rendered(f"{SMALL}\n# %%\n{cell}\n", tmp_path)
    assert done.returncode != 0
    assert re.search(reason, done.stderr, flags=re.DOTALL)
    assert not (tmp_path / "small.md").exists()


def test_all_notebooks_are_written_without_running_anything(tmp_path: Path):
    done = run([SCRIPT, "--notebooks", "out"], tmp_path)
    assert done.returncode == 0, done.stderr
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(f"{name}.ipynb" for name in TOOL.NAMES)
    first = (tmp_path / "out" / written[0]).read_bytes()
    assert run([SCRIPT, "--notebooks", "out"], tmp_path).returncode == 0
    assert (tmp_path / "out" / written[0]).read_bytes() == first


def test_a_tutorial_that_does_not_exist_is_refused(tmp_path: Path):
    done = run([SCRIPT, "out", "--only", "nonsense"], tmp_path)
    assert done.returncode == 2
    assert "paper_in_one_hour" in done.stderr


def test_every_tutorial_is_listed():
    scripts = sorted(path.stem for path in FOLDER.glob("*.py"))
    assert scripts == sorted(TOOL.NAMES)
    index = (FOLDER / "README.md").read_text("utf-8")
    assert re.findall(r"\((\w+)\.py\)", index) == list(TOOL.NAMES)


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_a_tutorial_is_plain_top_to_bottom_python_with_captions(name: str):
    cells = TOOL.read(FOLDER / f"{name}.py").cells
    code = "\n".join(c.source for c in cells if c.cell_type == "code")
    source = (FOLDER / f"{name}.py").read_text("utf-8")
    # A magic would not parse.
    assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(source))
    text = "\n\n".join(c.source for c in cells if c.cell_type == "markdown")
    assert text.startswith("# ")
    assert "## Exercises" in text
    assert text.count("*Answer.*") >= 2
    for k, cell in enumerate(cells):
        if cell.cell_type == "code" and "plt.subplots(" in cell.source:
            assert len(TOOL.caption(cells[k + 1 :], name)) > 40
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        # Other tutorials are pages beside this one; the rest are pages of docs/.
        target = FOLDER / link
        other = target.parent == FOLDER and target.with_suffix(".py").exists()
        assert other or target.exists(), link
