"""`eqprop reproduce`, as it is typed, every experiment's quick form, and its page."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import matplotlib
import numpy as np
import pytest

import eqprop as ep
from eqprop.apps.cli import main
from eqprop.apps.reproduce import (
    find_experiment,
    list_experiments,
    report_markdown,
    result_file,
    stored_result,
)
from scripts import benchmark, REPOSITORY
from test_reproduce import MINE


matplotlib.use("Agg")

PAGE = (REPOSITORY / "docs/results.md").read_text("utf-8")
VERDICTS = {0: "REPRODUCED", 1: "DIFFERS", 3: "INCOMPLETE"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all, so that what experiments have in common is trained once."""
    return tmp_path_factory.mktemp("reproductions")


@pytest.mark.usefixtures("optimized")
@pytest.mark.parametrize("name", list_experiments())
def test_the_quick_form_of_every_experiment_holds(name: str, shared: Path, capsys):
    code = main(["reproduce", name, "--quick", "--out", str(shared), "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (code, result["verdict"]) == (0, "REPRODUCED"), result["checks"]
    folder = shared / f"{name.replace('/', '-')}-quick"
    assert json.loads((folder / "report.json").read_text("utf-8")) == result
    assert (folder / "figure.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    report = (folder / "report.md").read_text("utf-8")
    assert report.startswith(f"# {name}: REPRODUCED\n")
    experiment = find_experiment(name)
    for text in (experiment.words["claim"], f"$ {result['command']}\n"):
        assert text in report


def test_the_nearest_class_mean_errs_as_the_quick_forms_say():
    data = ep.data.digits()
    x, labels = np.asarray(data.train.x), np.asarray(data.train.labels)
    means = np.stack([x[labels == k].mean(axis=0) for k in range(10)])
    distances = np.sum((np.asarray(data.test.x)[:, None] - means) ** 2, axis=-1)
    error = 100 * np.mean(distances.argmin(axis=1) != np.asarray(data.test.labels))
    assert f"{error:.2f}" == "10.28"


def mine(folder: Path, **changes: str) -> Path:
    text = MINE
    for old, new in changes.items():
        text = text.replace(old, new)
    file = folder / "mine.toml"
    file.write_text(text, "utf-8")
    return file


def run(*words: str | Path) -> int:
    return main(["reproduce", *map(str, words)])


def test_an_experiment_of_ones_own_is_a_file(tmp_path: Path, capsys):
    file, out = mine(tmp_path), tmp_path / "out"
    assert run(file, "--out", out) == 0
    printed = capsys.readouterr()
    assert "REPRODUCED" in printed.out
    assert "one, seed 1" in printed.err
    result = json.loads((out / "mine" / "report.json").read_text("utf-8"))
    assert result["seeds"] == 2
    assert len(result["runs"]) == 4
    assert run(file, "--seeds", "1", "--out", out, "--json") == 0
    assert json.loads(capsys.readouterr().out)["command"].endswith("--seeds 1")


def test_a_figure_that_does_not_come_out_is_exit_code_1(tmp_path: Path, capsys):
    file = mine(tmp_path, **{"high = 100.0": "high = 0.001"})
    assert run(file, "--quick", "--out", tmp_path / "out") == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_a_stop_for_want_of_time_is_exit_code_3_and_says_how_to_go_on(
    tmp_path: Path, capsys
):
    file, out = mine(tmp_path), tmp_path / "out"
    assert run(file, "--hours", "1e-9", "--out", out) == 3
    printed = capsys.readouterr()
    assert "INCOMPLETE" in printed.out
    command = re.search(r"To go on: (.*)", printed.err)
    assert command is not None
    assert command[1] == f"eqprop reproduce {file} --out {out}"
    assert main(command[1].split()[1:]) == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["scellier2017/net"], r"no experiment 'scellier2017/net'. Did you mean"),
        (["net3"], "Did you mean 'scellier2017/net3'"),
        (["nowhere.toml"], "nowhere.toml"),
        (["scellier2017/net1", "--seeds", "0"], "`--seeds` is 0"),
        (["scellier2017/net1", "--hours", "-1"], "`--hours` is -1"),
        (["scellier2017/net1", "--hours", "nan"], "`--hours` is nan"),
        (["scellier2017/net1", "--quick", "--store"], "`--store` keeps results of the"),
        (["scellier2017/net1", "--data-dir", "nowhere"], "nowhere"),
    ],
)
def test_wrong_words_are_refused(words, message, tmp_path: Path, capsys):
    assert run(*words, "--out", tmp_path) == 2
    assert re.search(message, capsys.readouterr().err)


def test_ones_own_is_not_stored_in_the_package(tmp_path: Path, capsys):
    assert run(mine(tmp_path), "--store", "--out", tmp_path) == 2
    assert "come with the package" in capsys.readouterr().err


def test_a_preset_that_does_not_exist_is_named(tmp_path: Path, capsys):
    file = mine(tmp_path, **{'preset = "digits"': 'preset = "didgits"'})
    assert run(file, "--out", tmp_path) == 2
    assert "Did you mean 'digits'" in capsys.readouterr().err


def test_the_list_shows_all_there_is_to_know(capsys):
    assert run("--list") == 0
    text = " ".join(capsys.readouterr().out.split())
    for name in list_experiments():
        experiment = find_experiment(name)
        for word in ("title", "source", "claim", "published", "runs", "tolerance"):
            assert experiment.words[word] in text
        assert f"{name}: " in text
    assert text.count(" last result ") == len(list_experiments())
    assert run("--list", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["experiments"]
    assert [row["name"] for row in rows] == list_experiments()
    for row in rows:
        result = stored_result(row["name"])
        assert (row["last"] or {}).get("verdict") == (result or {}).get("verdict")


def test_the_page_is_made_of_the_stored_results():
    script = benchmark("results_page")
    assert script.filled(PAGE) == PAGE
    for name in list_experiments():
        if stored_result(name) is not None:
            assert (REPOSITORY / "docs" / script.figure_file(name)).is_file()
    figures = (REPOSITORY / "docs/results").glob("*.png")
    linked = re.findall(r"\]\((results/[^)]*)\)", PAGE)
    assert sorted(linked) == sorted(f"results/{file.name}" for file in figures)


def test_the_total_counts_what_experiments_have_in_common_once():
    names = [n for n in list_experiments() if n.startswith("scellier2017/")]
    results = [stored_result(name) for name in names]
    known = [result for result in results if result is not None]
    # A run that is shared is stored with the same times, to the last digit.
    runs = {
        (run["seed"], run["seconds"], run["cpu_seconds"])
        for result in known
        for run in result.get("runs", ())
    }
    measured = [result["cpu_seconds"] for result in known if "runs" not in result]
    seconds = sum(cpu for *_, cpu in runs) + sum(measured)
    assert seconds < 0.8 * sum(result["cpu_seconds"] for result in known)
    lines = PAGE.splitlines()
    row = next(line for line in lines if line.startswith("| `scellier2017`"))
    assert row.endswith(f"| {seconds / 3600:.1f} h |")
    counts = [sum(r["verdict"] == v for r in known) for v in VERDICTS.values()]
    assert f"| {len(names)} | {' | '.join(map(str, counts))} |" in row


def test_results_are_stored_beside_experiments_and_nowhere_else():
    folder = result_file("scellier2017/net1").parents[1]
    stored = {
        f.relative_to(folder).with_suffix("").as_posix() for f in folder.rglob("*.json")
    }
    assert stored <= set(list_experiments())
    for name in stored:
        text = result_file(name).read_text("utf-8")
        # Nothing of the machine that made it but its kind.
        assert str(REPOSITORY) not in text
        assert str(Path.home()) + "/" not in text


def test_the_experiment_on_the_page_runs(tmp_path: Path, capsys):
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert tomllib.loads(example)["seeds"] == 2
    file = tmp_path / "mine.toml"
    file.write_text(example, "utf-8")
    assert run(file, "--quick", "--out", tmp_path / "out") == 0
    assert "REPRODUCED" in capsys.readouterr().out


def test_a_report_without_a_figure_links_none():
    name = "scellier2017/net1"
    result = stored_result(name)
    assert result is not None
    assert "](figure.png)" in report_markdown(
        find_experiment(name), result, "figure.png"
    )
    assert "![" not in report_markdown(find_experiment(name), result, None)


@pytest.mark.parametrize("epochs", [1, 2, 4, 25])
def test_a_figure_has_no_half_epochs(epochs: int):
    x = list(range(1, epochs + 1))
    line = {"label": "net", "x": x, "y": [1.0 / k for k in x]}
    panel = {"title": "", "x": "epoch", "y": "error", "log": ["y"], "lines": [line]}
    (axes,) = ep.plots.plot_reproduction({"panels": [panel]}).axes
    low, high = axes.get_xlim()
    ticks = [t for t in axes.get_xticks() if low <= t <= high]
    assert ticks
    assert all(tick == round(tick) for tick in ticks)


def test_results_do_not_depend_on_where_the_command_is_typed(
    tmp_path: Path, monkeypatch, capsys
):
    file = shutil.copy(mine(tmp_path), tmp_path / "copy.toml")
    monkeypatch.chdir(tmp_path)
    assert run("copy.toml", "--quick", "--json") == 0
    here = json.loads(capsys.readouterr().out)
    assert (tmp_path / "reproductions" / "copy-quick" / "report.md").is_file()
    assert run(file, "--quick", "--json", "--out", tmp_path / "b") == 0
    there = json.loads(capsys.readouterr().out)
    assert here["checks"] == there["checks"]
    assert here["fingerprint"] == there["fingerprint"]
