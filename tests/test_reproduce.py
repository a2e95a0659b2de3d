"""Published experiments: the verdict, the files, and runs that are gone on with."""

import dataclasses
import json
import math
import tomllib
from pathlib import Path

import pytest
import tomli_w

from eqprop.apps.reproduce import (
    find_experiment,
    judge,
    list_experiments,
    overall,
    range_text,
    stored_result,
    value_text,
    Verdict,
)
from eqprop.apps.reproduce._experiment import Check, parse_experiment
from eqprop.apps.reproduce._metrics import read_metric
from eqprop.apps.reproduce._panels import training_panels
from eqprop.apps.reproduce._perform import fingerprint, perform
from eqprop.apps.reproduce._training import recipe_key, recipe_table, Runs


MINE = """
title = "Mine"
source = "Nowhere"
claim = "It learns."
published = "2 %"
runs = "A tiny net."
tolerance = "Wide."
cost = 0.1
seeds = 2

[[run]]
name = "one"
preset = "digits"
changes.energy.sizes = [64, 8, 10]
changes.training.epochs = 3

[[run]]
name = "other"
preset = "digits"
changes.energy.sizes = [64, 8, 10]
changes.training.epochs = 3
changes.method.nudging = { type = "OneSided", beta = 0.3 }

[[check]]
name = "error"
run = "one"
metric = "train_error"
published = "2 %"
low = 0.0
high = 90.0

[quick]
runs = ["one"]
changes.training.epochs = 1

[[quick.check]]
name = "error"
metric = "train_error"
published = "2 %"
high = 100.0
"""


def mine(**changes):
    return parse_experiment(tomllib.loads(MINE) | changes, "mine")


def check(**changes) -> Check:
    table = {"low": 2.0, "high": 3.0, "tolerance": 0.25} | changes
    return Check("error", "train_error", "2 to 3 %", **table)


@pytest.mark.parametrize(
    "values, verdict",
    [
        ([2.5], "REPRODUCED"),
        # The edges, exact in binary, belong to it.
        ([1.75], "REPRODUCED"),
        ([3.25], "REPRODUCED"),
        ([math.nextafter(1.75, 0)], "DIFFERS"),
        ([math.nextafter(3.25, 4)], "DIFFERS"),
        # The mean decides, not each seed.
        ([1.0, 4.0], "REPRODUCED"),
        ([3.0, 4.0], "DIFFERS"),
        ([math.nan], "DIFFERS"),
        ([2.5, math.nan], "DIFFERS"),
        ([math.inf], "DIFFERS"),
        ([], "INCOMPLETE"),
    ],
)
def test_a_mean_within_range_and_tolerance_is_reproduced(values, verdict):
    assert judge(check(), values, complete=True) == Verdict(verdict)


@pytest.mark.parametrize("values", [[2.5], [9.0], [math.nan], []])
def test_nothing_is_decided_before_all_has_run(values):
    assert judge(check(), values, complete=False) == Verdict.INCOMPLETE


def test_a_range_may_be_open():
    assert judge(check(low=-math.inf), [-9.0], complete=True) == Verdict.REPRODUCED
    assert judge(check(high=math.inf), [9.0], complete=True) == Verdict.REPRODUCED
    assert judge(check(high=math.inf), [1.5], complete=True) == Verdict.DIFFERS


@pytest.mark.parametrize(
    "verdicts, whole",
    [
        (["REPRODUCED", "REPRODUCED"], "REPRODUCED"),
        (["REPRODUCED", "DIFFERS"], "DIFFERS"),
        (["DIFFERS", "INCOMPLETE"], "INCOMPLETE"),
        (["REPRODUCED", "INCOMPLETE"], "INCOMPLETE"),
        ([], "INCOMPLETE"),
    ],
)
def test_the_gravest_verdict_is_that_of_the_whole(verdicts, whole):
    assert overall(map(Verdict, verdicts)) == Verdict(whole)


ROWS = [
    {"epoch": 0, "train_error": 8.0, "weight_change": {"a": 1.0, "b": 6.0}},
    {"epoch": 1, "train_error": 4.0, "weight_change": {"a": 3.0, "b": 2.0}},
    {"epoch": 2, "train_error": None, "weight_change": {"a": 2.0, "b": 4.0}},
]


def test_a_metric_is_read_after_the_epoch_asked_for():
    assert read_metric("train_error", ROWS[:2]) == 4.0
    assert read_metric("train_error", ROWS, 1) == 8.0
    assert read_metric("weight_change/b", ROWS, 2) == 2.0
    # Sums over epochs, 6 and 12: their ratio, whichever layer changes more.
    assert read_metric("weight_change_spread", ROWS) == 2.0
    assert math.isnan(read_metric("train_error", ROWS))
    assert math.isnan(read_metric("train_error", []))
    with pytest.raises(ValueError, match="`metric` is 'loss'.*train_error"):
        read_metric("loss", ROWS[:1])
    with pytest.raises(ValueError, match="`epoch` is 4, but the run has 3"):
        read_metric("train_error", ROWS, 4)


def test_curves_are_means_and_extremes_over_seeds_as_far_as_all_go():
    runs = [
        {"name": "a", "curves": {"error": [4.0, 2.0, 1.0]}},
        {"name": "a", "curves": {"error": [2.0, 2.0]}},
        {"name": "b", "curves": {"error": [9.0, None]}},
    ]
    checks = [
        {"metric": "error", "minus": None, "over": None, "published": "2 %"}
        | {"low": None, "high": 2.0, "tolerance": 0.5},
        {"metric": "error", "minus": None, "over": None, "published": "2 %"}
        | {"low": None, "high": 2.0, "tolerance": 0.5},
        {"metric": "error", "minus": None, "over": None, "published": "more"}
        | {"low": 7.0, "high": None, "tolerance": 0.0},
        {"metric": "error", "minus": "b", "over": None, "published": "0"}
        | {"low": 0.0, "high": 1.0, "tolerance": 0.5},
    ]
    (panel,) = training_panels(mine().panels[:1], runs, checks) or [{}]
    assert panel == {}
    error = dataclasses.replace(mine().panels[0], metric="error")
    (panel,) = training_panels([error], runs, checks)
    assert panel["lines"] == [
        {
            "label": "a",
            "x": [1, 2],
            "y": [3.0, 2.0],
            "low": [2.0, 2.0],
            "high": [4.0, 2.0],
        },
        {"label": "b", "x": [1], "y": [9.0]},
    ]
    assert panel["bands"] == [{"label": "published: 2 %", "low": None, "high": 2.5}]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"titel": "x"}, r"no field `titel`\. Did you mean `title`"),
        ({"title": 3}, "`title` of the experiment is 3, which has the wrong type"),
        ({"seeds": 0}, "`seeds` is 0, but it takes at least 1"),
        ({"seeds": True}, "`seeds` of the experiment is True"),
        ({"run": []}, "one of the runs: there are none"),
        ({"measure": "stdp_timing"}, "either training runs"),
        ({"check": []}, r"no `\[\[check\]\]`"),
        ({"check": [{"name": "e", "metric": "m", "published": "p"}]}, "it must be one"),
        (
            {"check": [{"name": "e", "metric": "m", "published": "p", "run": "one"}]},
            "neither `low` nor `high`",
        ),
        ({"quick": {}}, r"\[quick\] has no `check`"),
        ({"quick": {"runs": ["two"], "check": []}}, "names 'two', but the runs are"),
        ({"run": [{"name": "a"}, {"name": "a"}]}, "two runs have the same name"),
        ({"run": ["a"]}, r"\[\[run\]\] is 'a', but it must be a table"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        mine(**changes)


def test_a_field_that_is_missing_is_named():
    table = tomllib.loads(MINE)
    del table["claim"]
    with pytest.raises(ValueError, match="has no `claim`"):
        parse_experiment(table, "mine")


def test_the_quick_form_is_the_experiment_but_for_what_it_changes():
    full = mine()
    assert full.quick is not None
    assert [v.name for v in full.quick.variants] == ["one"]
    assert (full.seeds, full.quick.seeds) == (2, 1)
    (one,) = full.quick.variants
    assert recipe_table(one, 0)["training"]["epochs"] == 1
    assert recipe_table(full.variants[0], 0)["training"]["epochs"] == 3
    assert recipe_table(one, 7)["training"]["seed"] == 7


def test_a_run_is_known_by_what_decides_its_numbers_alone():
    one, other = mine().variants
    key = recipe_key(one, 0)
    renamed = dataclasses.replace(one, name="x", layers=(*one.layers, {"title": "y"}))
    assert recipe_key(renamed, 0) == key
    assert recipe_key(one, 1) != key
    assert recipe_key(other, 0) != key
    net = find_experiment("scellier2017/net1").variants[0]
    here, there = (recipe_table(net, 0, Path(folder)) for folder in ("/a", "/b"))
    assert here["data"].pop("folder") != there["data"].pop("folder")
    assert here == there


def test_a_run_made_by_another_default_is_not_gone_on_with(tmp_path: Path):
    experiment = mine(seeds=1).quick
    assert experiment is not None
    result = perform(experiment, Runs(tmp_path), command="c")
    (run,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    config = tomllib.loads((run / "config.toml").read_text("utf-8"))
    # A field that did not exist then is no difference, another number is one.
    del config["method"]["solver"]["certify"]
    (run / "config.toml").write_text(tomli_w.dumps(config), "utf-8")
    assert curves(perform(experiment, Runs(tmp_path), command="c")) == curves(result)
    config["optimizer"]["b1"] = 0.8
    (run / "config.toml").write_text(tomli_w.dumps(config), "utf-8")
    with pytest.raises(ValueError, match="`optimizer.b1` = 0.8, but .* 0.9"):
        perform(experiment, Runs(tmp_path), command="c")


def test_words_are_no_part_of_a_fingerprint_and_ranges_are():
    key = fingerprint(mine())
    assert fingerprint(mine(title="Else", analysis="Because.")) == key
    looser = [tomllib.loads(MINE)["check"][0] | {"tolerance": 1.0}]
    assert fingerprint(mine(check=looser)) != key
    other = tomllib.loads(MINE)["run"]
    other[1]["changes"]["method"]["nudging"]["beta"] = 0.31
    assert fingerprint(mine(run=other)) != key


def curves(result):
    return [run["curves"] for run in result["runs"]]


def test_what_was_cut_short_goes_on_to_the_same_end(tmp_path: Path):
    experiment = mine(seeds=1)
    whole = perform(experiment, Runs(tmp_path / "whole"), command="c")
    assert whole["verdict"] == "REPRODUCED"
    asked = iter([False] * 3)
    cut = Runs(tmp_path / "cut", should_stop=lambda: next(asked, True))
    first = perform(experiment, cut, command="c")
    assert first["verdict"] == "INCOMPLETE"
    done = [run["epochs_done"] for run in first["runs"]]
    assert done[0] < 3
    assert done[1] == 0
    second = perform(experiment, Runs(tmp_path / "cut"), command="c")
    assert second["verdict"] == "REPRODUCED"
    assert curves(second) == curves(whole)
    assert second["checks"] == whole["checks"]
    assert second["cpu_seconds"] > first["cpu_seconds"] > 0
    # All of it is there now: nothing is trained again, for this experiment or another.
    epochs = []
    again = Runs(tmp_path / "cut", progress=lambda at: epochs.append(at.phase))
    third = perform(mine(seeds=1, title="Another"), again, command="c")
    assert epochs == []
    assert curves(third) == curves(whole)
    assert third["cpu_seconds"] == second["cpu_seconds"]
    assert third["seconds"] == second["seconds"]


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path):
    experiment = mine(seeds=1).quick
    assert experiment is not None
    result = perform(experiment, Runs(tmp_path), command="c")
    (run,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    (run / "checkpoints" / "last").unlink()
    assert curves(perform(experiment, Runs(tmp_path), command="c")) == curves(result)


def test_a_run_that_diverges_differs_and_is_not_incomplete(tmp_path: Path):
    runs = tomllib.loads(MINE)["run"][:1]
    runs[0]["changes"]["optimizer"] = {"type": "SGD", "learning_rate": 1e30}
    result = perform(mine(run=runs, seeds=1), Runs(tmp_path), command="c")
    assert result["runs"][0]["diverged"]
    assert result["checks"][0]["values"] == [None]
    assert result["verdict"] == "DIFFERS"
    assert value_text(result["checks"][0]) == "not finite"
    json.dumps(result, allow_nan=False)


def test_runs_are_compared_seed_by_seed(tmp_path: Path):
    checks = [
        {"name": n, "run": "other", "metric": "train_error", "published": "p"}
        | {"low": -200.0, "high": 200.0}
        | extra
        for n, extra in {
            "a": {},
            "b": {"run": "one"},
            "minus": {"minus": "one"},
            "over": {"over": "one"},
            "early": {"epoch": 1},
        }.items()
    ]
    result = perform(mine(check=checks), Runs(tmp_path), command="c")
    found = {c["name"]: c for c in result["checks"]}
    for k in range(2):
        a, b = found["a"]["values"][k], found["b"]["values"][k]
        assert found["minus"]["values"][k] == a - b
        assert found["over"]["values"][k] == a / b
        (run,) = [r for r in result["runs"] if (r["name"], r["seed"]) == ("other", k)]
        # What is kept of curves has six digits.
        early = found["early"]["values"][k]
        assert early == pytest.approx(run["curves"]["train_error"][0], rel=1e-5)
        assert early > a
    one, two = found["a"]["values"]
    assert found["a"]["mean"] == pytest.approx((one + two) / 2)
    assert found["a"]["deviation"] == pytest.approx(abs(one - two) / math.sqrt(2))


def test_a_measurement_is_one_of_a_fixed_list(tmp_path: Path):
    table = tomllib.loads(MINE)
    del table["run"], table["quick"]["runs"], table["quick"]["changes"]
    for item in (table["check"][0], table["quick"]["check"][0]):
        item.pop("run", None)

    def run(**changes):
        experiment = parse_experiment(table | changes, "mine")
        return perform(experiment, Runs(tmp_path), command="c")

    with pytest.raises(ValueError, match="`measure` is 'os.system', but the meas"):
        run(measure="os.system")
    with pytest.raises(
        ValueError, match="`options` don't suit `stdp_timing`: .*triles"
    ):
        run(measure="stdp_timing", options={"trials": 9, "triles": 9})
    with pytest.raises(ValueError, match="`metric` = 'train_error', but `stdp_timing`"):
        run(measure="stdp_timing", options={"trials": 10})


def test_ranges_and_values_are_written_as_they_are():
    base = {"tolerance": 0.0, "low": None, "high": None}
    assert range_text(base | {"high": 3.0}) == "≤ 3"
    assert range_text(base | {"low": 1.5, "tolerance": 0.5}) == "≥ 1.5, ± 0.5"
    assert range_text(base | {"low": 2.0, "high": 3.0}) == "2 to 3"
    assert range_text(base | {"low": 2.0, "high": 2.0}) == "2"
    found = {"values": [1.0, 2.0], "mean": 1.5, "deviation": 0.707107}
    found |= {"run": "a", "metric": "test_error", "minus": None, "over": None}
    assert value_text(found | {"verdict": "DIFFERS"}) == "1.50 ± 0.71 % (2 seeds)"
    assert value_text(found | {"verdict": "INCOMPLETE"}).endswith("so far")
    points = found | {"verdict": "DIFFERS", "minus": "b"}
    assert value_text(points) == "1.50 ± 0.71 points (2 seeds)"


@pytest.mark.parametrize("name", list_experiments())
def test_every_experiment_can_run_and_its_result_is_its_own(name: str):
    experiment = find_experiment(name)
    for form in (experiment, experiment.quick):
        assert form is not None
        for variant in form.variants:
            recipe_table(variant, 0)
    result = stored_result(name)
    if result is None:
        return
    assert result["experiment"] == name
    assert result["command"].startswith(f"eqprop reproduce {name}")
    assert "--quick" not in result["command"]
    assert result["fingerprint"] == fingerprint(experiment), (
        f"the file of {name} has changed since: run it again with --store"
    )
    assert result["seeds"] >= experiment.seeds
    assert result["seconds"] > 0
    assert result["cpu_seconds"] > 0
    complete = all(
        run["epochs_done"] == run["epochs"] or run["diverged"]
        for run in result.get("runs", ())
    )
    for check, kept in zip(experiment.checks, result["checks"], strict=True):
        values = [math.nan if v is None else v for v in kept["values"]]
        if complete or kept["verdict"] != "INCOMPLETE":
            assert judge(check, values, complete=True).value == kept["verdict"]
    verdicts = [Verdict(check["verdict"]) for check in result["checks"]]
    assert overall(verdicts).value == result["verdict"]
    assert complete or result["verdict"] == "INCOMPLETE"
    if complete and result["seconds"] > 60:
        # The cost that is announced is what it took, on a machine that may be busy.
        assert 1 / 3 < result["seconds"] / (60 * experiment.cost) < 3
