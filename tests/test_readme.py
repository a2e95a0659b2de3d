"""The README is run: its Python as one program, its commands as far as `--help`."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pages import commands, fault, fenced, program, refused, REPOSITORY, run_python


README = REPOSITORY / "README.md"


def test_the_python_of_the_readme_runs(tmp_path: Path):
    assert fenced(README.read_text("utf-8"), "python")
    run_python(README, tmp_path)


def test_the_commands_of_the_readme_exist():
    found = commands(README.read_text("utf-8"))
    assert found
    assert [f for f in map(fault, found) if f is not None] == []


def test_the_links_of_the_readme_resolve():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text("utf-8"))
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


def test_the_ratios_of_the_readme_are_those_measured():
    bench = json.loads((REPOSITORY / "docs/bench.json").read_text("utf-8"))
    paper, blocks = bench["steps"][:2]
    text = " ".join(README.read_text("utf-8").split())
    to_jax, to_torch = (
        paper[f"ratio_to_{name}"]["median"] for name in ("jax", "torch")
    )
    share = blocks["share_of_floor"]["library"]["median"]
    assert f"costs {to_jax:.2f} times what the same step costs written by hand" in text
    assert f"and {to_torch:.2f} times what it costs in PyTorch" in text
    assert f"at {100 * share:.0f} % of the rate at which XLA multiplies" in text


PAGE = """Text
```python
x = 1
```
```console
$ make train ARGS="--epochs 3"  # a comment
its output
$ eqprop train digits --seed 1
```
```toml
y = 2
```
```python
raise ValueError(x)
```
"""


def test_blocks_keep_their_lines():
    lines = program(PAGE).splitlines()
    assert {k: line for k, line in enumerate(lines, start=1) if line} == {
        3: "x = 1",
        14: "raise ValueError(x)",
    }


def test_commands_are_read_as_a_shell_would():
    assert commands(PAGE) == [
        ["make", "train", "ARGS=--epochs 3"],
        ["eqprop", "train", "digits", "--seed", "1"],
    ]


@pytest.mark.parametrize(
    "command, reason",
    [
        ("make nonsense", "make has no target"),
        ("source venv/bin/activate", "make makes .venv/bin/activate"),
        ("eqprop nonsense", "eqprop nonsense: "),
        ("eqprop train digits --nonsense 1", "--help knows no"),
    ],
)
def test_a_command_that_does_not_exist_is_caught(command: str, reason: str):
    assert (fault(shlex.split(command)) or "").find(reason) >= 0


def test_a_block_is_pasted_as_into_a_prompt():
    sound = ["for k in range(2):", "    k", "", "@f", "def g():", "    return [", ""]
    assert list(refused(1, [*sound, "    ]", "", "x = 1"])) == []


@pytest.mark.parametrize(
    "lines, reason",
    [
        (["for k in range(2):", "    k", "k"], "line 12: SyntaxError"),
        (["class A:", "    a = 1", "", "    b = 2"], "line 13: IndentationError"),
        (["for k in range(2):", "    k"], "line 11: the last statement"),
    ],
)
def test_a_block_that_a_prompt_refuses_is_caught(lines: list[str], reason: str):
    (found,) = refused(10, lines)
    assert found.startswith(reason)


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_the_environment_is_activated_before_its_commands(page: str):
    """`make train` puts no `eqprop` on the PATH."""
    found = commands((REPOSITORY / page).read_text("utf-8"))
    first = [words[0] for words in found]
    assert "source" in first[: first.index("eqprop") if "eqprop" in first else None]
    assert first.index("make") < first.index("source")


def test_make_train_installs_what_the_first_pages_need():
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    (extras,) = re.findall(r"^RUN_EXTRAS := (\S+)$", makefile, flags=re.MULTILINE)
    # With uv and with pip.
    assert makefile.count('-e ".[$(RUN_EXTRAS)]"') == 2
    pages = [REPOSITORY / "README.md", REPOSITORY / "docs" / "index.md"]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    uses = {
        "data": r"eqprop data fetch",
        "plot": r"eqprop plot|--plot|import matplotlib",
        "view": r"eqprop view",
        "solvers": r"ep\.(Optimistix|GMRES|ConjugateGradient)",
        "ode": r"ep\.LeakyIntegrator",
        "sklearn": r"import sklearn|import EquilibriumPropagation",
        "notebook": r"ep\.ViewerWidget",
    }
    assert set(extras.split(",")) == {
        extra for extra, sign in uses.items() if re.search(sign, text)
    }


def test_the_targets_of_the_makefile_exist():
    for target in ("train", "test", "test-long", "lint", "format", "clean"):
        assert fault(["make", target]) is None
