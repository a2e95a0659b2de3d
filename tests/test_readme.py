"""The README is run: its Python as one program, its commands as far as `--help`."""

import re
import shlex
from pathlib import Path

import pytest

from pages import commands, fault, fenced, program, REPOSITORY, run_python


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
