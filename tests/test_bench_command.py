"""`eqprop bench`, as it is typed: its numbers are all there, whatever they are."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import pytest

from eqprop.apps.bench._report import report_lines
from eqprop.apps.cli import main
from eqprop.apps.plots import plot_bench


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a quick run of all sections wrote."""
    folder = tmp_path_factory.mktemp("bench") / "new"
    words = ["bench", "--quick", "--out", str(folder)]
    assert main([*words, "--plot", str(folder.parent / "bench.svg")]) == 0
    return folder


@pytest.fixture(scope="module")
def found(run: Path) -> dict[str, Any]:
    return json.loads((run / "bench.json").read_text("utf-8"))


def is_spread(table: dict[str, float]) -> bool:
    return 0 < table["low"] <= table["median"] <= table["high"] < math.inf


def test_a_quick_run_measures_everything(found: dict[str, Any]):
    assert set(found) == {
        *("command", "quick", "data", "other_load", "definitions", "machine"),
        *("steps", "sweeps", "scaling", "memory"),
    }
    assert found["command"] == "eqprop bench steps sweeps scaling memory --quick"
    machine = found["machine"]
    assert machine["cores"] >= 1
    assert machine["versions"]["jax"] == jax.__version__
    # float32, though the tests compute in float64; which is as it was afterwards.
    assert machine["x64"] is False
    assert jax.config.read("jax_enable_x64") is True


def test_steps_come_beside_hand_written_ones_and_the_floor(found: dict[str, Any]):
    assert len(found["steps"]) == 2
    torch = found["machine"]["versions"]["torch"] is not None
    for case in found["steps"]:
        by = case["implementations"]
        assert set(by) == {"library", "jax", "torch"}
        assert (by["torch"] is not None) == torch
        for name, row in by.items():
            if row is None:
                continue
            assert is_spread(row["ms"])
            rate = 1e3 * case["batch"] / row["ms"]["median"]
            assert row["examples_per_second"] == pytest.approx(rate)
            assert is_spread(case["share_of_floor"][name])
        for name in ("library", "jax"):
            assert by[name]["compile_seconds"] > 0
            assert by[name]["memory"]["temporary"] > 0
        assert is_spread(case["ratio_to_jax"])
        assert (case["ratio_to_torch"] is not None) == torch
        floor = case["floor"]
        assert is_spread(floor["ms"])
        assert floor["best_blas_gflops"] >= floor["gflops"] > 0
        counted = sum(
            2 * p["rows"] * p["inner"] * p["columns"] * p["count"]
            for p in floor["products"]
        )
        assert counted == case["flops"]
        whole = 2 * case["batch"] * case["weights"] * case["matrix_products"]
        assert whole == pytest.approx(case["flops"])


def test_sweeps_are_counted_for_every_solver(found: dict[str, Any]):
    early, late = found["sweeps"]
    assert (early["stage"], late["stage"]) == ("early", "late")
    for net in (early, late):
        assert (net["batch"], net["batches"]) == (256, 1)
        rows = {row["name"]: row for row in net["solvers"]}
        swept = [row for name, row in rows.items() if name.startswith("ω")]
        assert [row["relaxation"] for row in swept] == [
            pytest.approx(1 + 0.05 * k) for k in range(19)
        ]
        assert {"Euler(0.5)", "FixedPoint(0.5)", "AdaptiveEuler"} <= set(rows)
        assert 1 <= rows["estimated ω"]["relaxation"] <= 1.9
        steps = [row["steps"] for row in swept if row["steps"] is not None]
        assert net["best_steps"] == min(steps)
        assert all(row["unconverged"] == 0 for row in rows.values())
        assert all(row["steps_of_each"] == [row["steps"]] for row in rows.values())
        fixed = net["fixed"]
        assert fixed["sweeps"] == 5
        assert fixed["best_relaxation"] in [row["relaxation"] for row in swept]
        assert 0 <= fixed["best_left"] <= 100
        assert 0 <= fixed["left"] <= 100
        # On units without curvature but ½s² the two are one algorithm.
        assert rows["Euler(0.5)"]["steps"] == rows["FixedPoint(0.5)"]["steps"]


def test_memory_does_not_grow_with_the_steps(found: dict[str, Any]):
    for case in found["memory"]:
        assert case["steps"][-1] == 4 * case["steps"][0]
        assert case["growth"] == 1
        assert case["ratio"] == max(case["total"]) / sum(case["indispensable"].values())


def test_scaling_has_its_points(found: dict[str, Any]):
    points = found["scaling"]["points"]
    assert all(is_spread(point["spread"]) for point in points)
    assert points[1]["flops"] == 64 * points[0]["flops"]
    # Two points are no line.
    assert found["scaling"]["slopes"] == {"all": None, "batch": None}


def test_the_tables_and_the_figure_show_it(found: dict[str, Any], run: Path):
    text = "\n".join(report_lines(found))
    for case in found["steps"]:
        assert case["name"] in text
    for name in (
        "steps:",
        "sweeps:",
        "scaling:",
        "memory:",
        "ω = 1.90",
        "× JAX",
        "left, estimated",
    ):
        assert name in text
    figure = (run.parent / "bench.svg").read_text()
    assert figure.count("<path") > 40
    # The figure of a part, and of one that has none.
    assert len(plot_bench({"scaling": found["scaling"]}).axes) == 1
    assert len(plot_bench({"memory": found["memory"]}).axes) == 1


def test_solvers_that_never_settle_are_told_and_drawn(found: dict[str, Any]):
    net = json.loads(json.dumps(found["sweeps"][0]))
    for row in net["solvers"]:
        row |= {"steps": None, "matrix_products": None, "unconverged": 7}
    changed = found | {"sweeps": [net]}
    assert "never: 7 left" in "\n".join(report_lines(changed))
    plot_bench(changed)


def test_one_section_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["bench", "memory", "--quick", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["command"] == "eqprop bench memory --quick"
    assert "steps" not in found
    assert "memory: 64-32-32-10" in captured.err


@pytest.mark.parametrize(
    "words, message",
    [
        (
            ["stps"],
            "`stps` is no section of the benchmark. Did you mean `steps`? There are "
            "steps, sweeps, scaling, memory.",
        ),
        (["steps", "flops!"], "`flops!` is no section"),
        (["--plot", "bench.txt"], "its name must end with one of"),
        (["sweeps", "--data-dir", "no/such/folder"], "no/such/folder"),
        (["--quik"], "Unknown option"),
    ],
)
def test_wrong_use_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["bench", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("words", [["bench", "--help"], ["bench", "stps"]])
def test_help_and_a_mistyped_section_import_nothing_heavy(words: list[str]):
    heavy = ["jax", "jaxlib", "equinox", "numpy", "torch", "matplotlib"]
    code = (
        "import sys; from eqprop.apps.cli import main; main(sys.argv[1:]);"
        f"print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines()[-1] == "[]"
