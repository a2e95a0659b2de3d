"""The README is run: its Python as one program, its commands as far as `--help`."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest


REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"


def fenced(text: str, language: str) -> list[tuple[int, str]]:
    """(line number, line) of everything in the ```language blocks of a page."""
    inside = None
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            inside = None if inside is not None else line[3:].split(" ")[0]
        elif inside == language:
            lines.append((number, line))
    return lines


def program(text: str) -> str:
    """The page's Python on the lines it stands on, so that tracebacks point there."""
    lines = [""] * len(text.splitlines())
    for number, line in fenced(text, "python"):
        lines[number - 1] = line
    return "\n".join(lines) + "\n"


def commands(text: str) -> list[list[str]]:
    """The commands of the page, each as its words."""
    return [
        shlex.split(line[2:], comments=True)
        for _, line in fenced(text, "console")
        if line.startswith("$ ")
    ]


def fault(words: list[str]) -> str | None:
    """Why a command of the page can't be what a reader should type, or None."""
    if words[0] == "make":
        makefile = (REPOSITORY / "Makefile").read_text("utf-8")
        targets = re.findall(r"^([a-z][\w-]*):", makefile, flags=re.MULTILINE)
        unknown = [w for w in words[1:] if "=" not in w and w not in targets]
        return f"make has no target {unknown}" if unknown else None
    if words[0] != "eqprop":
        return None
    options = [w.partition("=")[0] for w in words[1:] if w.startswith("--")]
    first = next((k for k, w in enumerate(words) if w.startswith("-")), len(words))
    run = subprocess.run(
        [Path(sys.executable).with_name("eqprop"), *words[1:first], "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    if run.returncode != 0:
        return f"{shlex.join(words)}: {run.stderr}"
    # Dotted options are fields of the configuration, which --help need not list.
    unknown = [o for o in options if "." not in o and o not in run.stdout]
    return f"{shlex.join(words)}: --help knows no {unknown}" if unknown else None


def test_the_python_of_the_readme_runs(tmp_path: Path):
    text = README.read_text("utf-8")
    assert fenced(text, "python")
    source = tmp_path / "readme.py"
    source.write_text(program(text), "utf-8")
    # As a reader has it: none of the settings of this test run.
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, source],
        cwd=tmp_path,
        env=env | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr


def test_the_commands_of_the_readme_exist():
    found = commands(README.read_text("utf-8"))
    assert found
    assert [f for f in map(fault, found) if f is not None] == []


def test_the_links_of_the_readme_resolve():
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README.read_text("utf-8"))
    assert [link for link in links if not (REPOSITORY / link).exists()] == []


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
        ("eqprop nonsense", "eqprop nonsense: "),
        ("eqprop train digits --nonsense 1", "--help knows no"),
    ],
)
def test_a_command_that_does_not_exist_is_caught(command: str, reason: str):
    assert (fault(shlex.split(command)) or "").find(reason) >= 0


def test_the_targets_of_the_makefile_exist():
    for target in ("train", "test", "test-long", "lint", "format", "clean"):
        assert fault(["make", target]) is None
