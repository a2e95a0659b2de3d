"""The tests fail when what they test is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mutants import MUTANTS
from scripts import REPOSITORY


def test_every_mutant_is_one_of_the_package_as_it_is():
    for file, says, mutant, tests in MUTANTS:
        source = (REPOSITORY / "eqprop" / file).read_text("utf-8")
        assert source.count(says) == 1, (
            f"{file} says {says!r} {source.count(says)} times"
        )
        assert mutant != says
        assert (REPOSITORY / "tests" / tests.partition(" -k ")[0]).is_file()


@pytest.mark.long
@pytest.mark.parametrize("file, says, mutant, tests", MUTANTS)
def test_the_tests_kill_the_mutant(file, says, mutant, tests, tmp_path: Path):
    for folder in ("eqprop", "tests", "examples"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    target = tmp_path / "eqprop" / file
    target.write_text(target.read_text("utf-8").replace(says, mutant), "utf-8")
    name, _, chosen = tests.partition(" -k ")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", f"tests/{name}", "-k", chosen],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    # 1: tests ran and failed. Others: the mutant is no program, or nothing was run.
    assert done.returncode == 1, done.stdout
