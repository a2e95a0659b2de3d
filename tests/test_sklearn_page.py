"""The page on scikit-learn is run as one program."""

import os
import subprocess
import sys
from pathlib import Path

from scripts import REPOSITORY
from test_readme import fenced, program


PAGE = REPOSITORY / "docs" / "scikit-learn.md"


def test_the_python_of_the_page_runs(tmp_path: Path):
    text = PAGE.read_text("utf-8")
    assert fenced(text, "python")
    source = tmp_path / "page.py"
    source.write_text(program(text), "utf-8")
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    run = subprocess.run(
        [sys.executable, source],
        cwd=tmp_path,
        env=env | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    accuracy, *_ = run.stdout.splitlines()
    assert float(accuracy) >= 0.97
