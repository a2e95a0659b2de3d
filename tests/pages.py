"""Pages of the documentation, read and run: their Python as one program, their commands
as far as `--help`."""

import codeop
import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path


REPOSITORY = Path(__file__).resolve().parent.parent


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


def blocks(text: str) -> list[tuple[int, list[str]]]:
    """The page's Python blocks, each as the number and the text of its lines."""
    found: list[tuple[int, list[str]]] = []
    for number, line in fenced(text, "python"):
        if not found or number != found[-1][0] + len(found[-1][1]):
            found.append((number, []))
        found[-1][1].append(line)
    return found


def refused(first: int, lines: list[str]) -> Iterator[str]:
    """What a plain Python prompt says to a block that is pasted into it, line by line.

    Such a prompt ends an indented block at the first blank line, and only there.
    """
    compiler = codeop.CommandCompiler()
    waiting: list[str] = []
    for number, line in enumerate(lines, start=first):
        waiting.append(line)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                if compiler("\n".join(waiting), symbol="single") is None:
                    continue
            except SyntaxError as error:
                yield f"line {number}: {type(error).__name__}: {error.msg}"
        waiting = []
    if waiting:
        yield f"line {first + len(lines) - 1}: the last statement is not complete"


def commands(text: str) -> list[list[str]]:
    """The commands of the page, each as its words."""
    return [
        shlex.split(line[2:], comments=True)
        for _, line in fenced(text, "console")
        if line.startswith("$ ")
    ]


def fault(words: list[str]) -> str | None:
    """Why a command of the page can't be what a reader should type, or None."""
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    if words[0] == "source":
        (environment,) = re.findall(r"^VENV := (\S+)$", makefile, flags=re.MULTILINE)
        made = f"{environment}/bin/activate"
        return None if words[1:] == [made] else f"make makes {made}, not {words[1:]}"
    if words[0] == "make":
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


def readers_environment() -> dict[str, str]:
    """JAX as a reader has it, with none of the settings of this test run. But what one
    page compiles, the others read: that is most of their time."""
    others = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    return others | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(REPOSITORY / ".pytest_cache" / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": str(REPOSITORY),
    }


def run_python(page: Path, folder: Path) -> str:
    """Runs the page's Python in a folder, as a reader would. What it printed."""
    source = folder / f"{page.stem}.py"
    source.write_text(program(page.read_text("utf-8")), "utf-8")
    done = subprocess.run(
        [sys.executable, source],
        cwd=folder,
        env=readers_environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
