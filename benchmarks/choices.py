"""What a choice of β, steps, solver and start costs or gains, on the digits nets.

    python benchmarks/choices.py --seeds 3 --out docs/choices.json

Runs `eqprop train digits` with each set of flags and stores the test errors and the
share of certified equilibria, also in the tables of docs/choose.md.
"""

import argparse
import contextlib
import io
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

from eqprop.apps.cli import main as eqprop


TWO_LAYERS = '--energy.sizes "[64, 128, 128, 10]"'


def steps(free: int, nudged: int) -> str:
    return f"--method.solver.max_steps {free} --method.nudged_solver.max_steps {nudged}"


# Of each table its rows: what is chosen, and the flags that choose it.
TABLES: dict[str, list[tuple[str, str]]] = {
    "beta": [
        *(
            (f"`Centered({beta})`", f"--method.nudging.beta {beta}")
            for beta in (0.001, 0.01, 0.05, 0.2, 0.5, 0.9)
        ),
        *(
            (f"`OneSided({beta})`", f"--method OneSided --method.nudging.beta {beta}")
            for beta in (0.001, 0.01, 0.2, 1.0)
        ),
    ],
    "steps": [
        (f"one hidden layer, {free} + 2·{nudged} sweeps", steps(free, nudged))
        for free, nudged in ((1, 1), (2, 1), (3, 2), (5, 3), (10, 6), (20, 12))
    ]
    + [
        (
            f"two hidden layers, {free} + 2·{nudged} sweeps",
            f"{TWO_LAYERS} {steps(free, nudged)}",
        )
        for free, nudged in ((2, 1), (5, 3), (10, 6), (20, 12), (40, 24))
    ],
    "start": [
        ("linear outputs, `FanInUniform(0.7)`: the default", ""),
        ("hard-sigmoid outputs", "--energy.output_unit.type HardSigmoid"),
        (
            "hard-sigmoid outputs, `GlorotUniform()`",
            "--energy.output_unit.type HardSigmoid --energy.init.type GlorotUniform",
        ),
        (
            "the same, two hidden layers",
            "--energy.output_unit.type HardSigmoid --energy.init.type GlorotUniform "
            f"{TWO_LAYERS} {steps(20, 12)}",
        ),
    ],
}


def trained(flags: str, seed: int) -> dict:
    """What `eqprop train digits` says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "digits", *shlex.split(flags), "--seed", str(seed), "--json"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = eqprop([*words, "--out", str(Path(folder) / "run")])
    if code != 0:
        raise SystemExit(f"eqprop {' '.join(words)} ended with exit code {code}.")
    return json.loads(out.getvalue())


def as_table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [
        "| choice | test error | seeds | certified | flags |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        errors = row["test_errors"]
        seeds = ", ".join(f"{e:.2f}" for e in errors)
        certified = f"{100 * statistics.mean(row['converged']):.0f} %"
        flags = f"`{row['flags']}`" if row["flags"] else ""
        mean = f"{statistics.mean(errors):.2f} %"
        lines.append(f"| {row['name']} | {mean} | {seeds} | {certified} | {flags} |")
    return "\n".join(lines)


def filled(page: str, tables: dict[str, list[dict]]) -> str:
    """The page with the measurements between their markers."""
    for name, rows in tables.items():
        before, rest = page.split(f"<!-- {name} -->")
        after = rest.split(f"<!-- end of {name} -->")[1]
        marked = f"<!-- {name} -->\n{as_table(rows)}\n<!-- end of {name} -->"
        page = before + marked + after
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found: dict[str, list[dict]] = {}
    for table, rows in TABLES.items():
        found[table] = []
        for name, flags in rows:
            runs = [trained(flags, seed) for seed in range(args.seeds)]
            row = {
                "name": name,
                "flags": flags,
                "test_errors": [round(run["test_error"], 2) for run in runs],
                "converged": [round(run["converged"], 4) for run in runs],
            }
            print(row, flush=True)
            found[table].append(row)
    if args.out:
        stored = {"seeds": args.seeds, "tables": found}
        args.out.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")
        page = args.out.with_name("choose.md")
        page.write_text(filled(page.read_text("utf-8"), found), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
