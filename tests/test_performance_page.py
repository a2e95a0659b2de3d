"""The page on performance: its tables are the stored measurements, its code runs."""

import dataclasses
import re

import numpy as np

from eqprop.apps.bench._cases import house
from eqprop.apps.bench._products import equivalents
from eqprop.training import read_preset
from scripts import benchmark, REPOSITORY


PAGE = (REPOSITORY / "docs/performance.md").read_text("utf-8")
STORED = benchmark("performance_page").stored()


def test_the_tables_are_the_stored_measurements():
    assert benchmark("performance_page").filled(PAGE, STORED) == PAGE
    for name in benchmark("performance_page").PLACES:
        assert (
            PAGE.count(f"<!-- {name} -->") == PAGE.count(f"<!-- end of {name} -->") == 1
        )


def test_they_were_taken_in_full_and_times_with_the_machine_to_themselves():
    assert not any(found["quick"] for found in STORED.values())
    assert STORED["bench.json"]["other_load"] < 0.15


def test_the_sweeps_beside_those_in_hindsight_are_the_stored_ones():
    estimated, best = [], []
    for net in STORED["sweeps/bench.json"]["sweeps"]:
        rows = {row["name"]: np.array(row["steps_of_each"]) for row in net["solvers"]}
        tried = np.array([rows[name] for name in rows if name.startswith("ω")])
        hindsight = tried.min(axis=0)
        estimated.append(np.mean(rows["estimated ω"] / hindsight))
        best.append(np.mean(tried[tried.mean(axis=1).argmin()] / hindsight))
    text = " ".join(PAGE.split())
    for ratios, tail in ((estimated, "times the sweeps, network"), (best, "times.")):
        assert f"takes {min(ratios):.2f} to {max(ratios):.2f} {tail}" in text


def test_conjugate_sweeps_beside_the_best_factor_are_the_stored_ones():
    ratios = [
        row["ratio_to_best"]
        for net in STORED["sweeps/bench.json"]["sweeps"]
        if len(net["sizes"]) > 3
        for row in net["solvers"]
        if row["name"] == "ConjugateSweeps"
    ]
    said = f"{min(ratios):.2f} to {max(ratios):.2f} times the "
    choose = (REPOSITORY / "docs/choose.md").read_text("utf-8")
    assert f"{said}sweeps of the constant ω" in " ".join(PAGE.split())
    assert f"{said}best constant one's" in choose


def test_the_page_that_helps_to_choose_says_the_same():
    nets = STORED["sweeps/bench.json"]["sweeps"]
    found = [{row["name"]: row["steps"] for row in net["solvers"]} for net in nets]
    shares = [100 * steps["estimated ω"] / steps["Euler(0.5)"] for steps in found]
    beside = max(
        steps["estimated ω"] / net["best_steps"]
        for steps, net in zip(found, nets, strict=True)
    )
    late = [
        steps for steps, net in zip(found, nets, strict=True) if net["stage"] == "late"
    ]
    one, two, three = (f"{steps['estimated ω']:.0f}" for steps in late)
    euler = [f"{steps['Euler(0.5)']:.0f}" for steps in late]
    page = " ".join((REPOSITORY / "docs/choose.md").read_text("utf-8").split())
    assert f"{min(shares):.0f} to {max(shares):.0f} % of `Euler`'s steps" in page
    assert f"at most {beside:.2f} times the best constant ω's sweeps" in page
    assert f"in {one}, {two} and {three} sweeps (in the mean)" in page
    assert f"against {euler[0]}, {euler[1]} and {euler[2]} Euler steps" in page


def test_the_answer_on_what_a_step_costs_is_that_of_the_preset():
    preset = read_preset("mnist-2h")
    method, sizes = preset["method"], preset["energy"]["sizes"]
    steps = method["solver"]["max_steps"], method["nudged_solver"]["max_steps"]
    case = house(*sizes[1:-1], batch=128, inputs=sizes[0])
    case = dataclasses.replace(case, free_steps=steps[0], nudged_steps=steps[1])
    page = " ".join((REPOSITORY / "docs/faq.md").read_text("utf-8").split())
    passes = f"{equivalents(case):.0f} passes over the weights"
    assert f"layers of `mnist-2h` {passes}" in page


def test_the_code_on_the_page_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "performance.md", "exec"), {})
    # The estimated factor of an untrained net, which couples its layers weakly.
    shown = capsys.readouterr().out
    found = re.search(r"relaxation=([\d.]+), .*falls_over=10", shown)
    assert found is not None, shown
    assert 1 < float(found[1]) < 1.5


def test_the_commands_on_the_page_exist():
    from eqprop.apps.cli._bench import SECTIONS

    named = re.findall(r"eqprop bench ([a-z]+)", PAGE)
    assert set(named) <= set(SECTIONS)
    assert named
