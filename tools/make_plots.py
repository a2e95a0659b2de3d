"""Makes the figures of docs/plots.md: four networks trained on the digits, drawn.

python tools/make_plots.py
"""

import sys
import tempfile
from pathlib import Path

from eqprop.apps.cli import main


FIGURES = Path(__file__).parent.parent / "docs" / "plots"


def make(folder: Path) -> None:
    runs = []
    for seed, rate in ((0, 0.003), (1, 0.003), (2, 0.003), (0, 0.0005)):
        runs.append(str(folder / f"{seed}-{rate}"))
        options = ["--seed", str(seed), "--optimizer.learning_rate", str(rate)]
        run("train", "digits", *options, "--out", runs[-1])
    run("plot", *runs, "--out", str(FIGURES))
    kinds = "phases,weights,activity,gradients,bias"
    run("plot", runs[0], "--kind", kinds, "--out", str(FIGURES))


def run(*argv: str) -> None:
    if main(argv) != 0:
        sys.exit(1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
