"""`eqprop train` and `eqprop eval`: results, refusals, interruptions."""

import json
import os
import re
import signal
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from eqprop.apps.cli import main
from eqprop.apps.cli._progress import Reporter
from eqprop.data import digits
from eqprop.training._load import load


TINY = [
    *("--energy.sizes", "[64, 6, 10]", "--training.batch_size", "256"),
    *("--method.solver.max_steps", "6", "--method.nudged_solver.max_steps", "3"),
]


class Output:
    """What a command wrote and returned."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def result(self) -> dict[str, Any]:
        return json.loads(self.out.splitlines()[-1])


Eqprop = Callable[..., Output]


@pytest.fixture
def eqprop(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Eqprop]:
    """The program, run in an empty folder and with JAX as a user has it."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith("EQPROP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no-cache"))
    users = {
        "jax_enable_x64": False,
        "jax_numpy_dtype_promotion": "standard",
        "jax_numpy_rank_promotion": "allow",
    }
    before = {name: getattr(jax.config, name) for name in users}

    def run(*argv: Any) -> Output:
        code = main([str(a) for a in argv])
        captured = capsys.readouterr()
        return Output(code, captured.out, captured.err)

    for name, value in users.items():
        jax.config.update(name, value)
    yield run
    for name, value in before.items():
        jax.config.update(name, value)


def predict(run: Path) -> np.ndarray:
    """The classes that a trained 64-6-10 chain assigns to the test digits, by NumPy."""
    energy = load(run).energy
    w, a, v, b = (
        np.asarray(leaf, np.float64)
        for leaf in jax.tree.leaves(eqx.filter(energy, eqx.is_inexact_array))
    )
    x = np.asarray(digits().test.x, np.float64)  # pyright: ignore
    h, o = np.zeros((len(x), len(a))), np.zeros((len(x), len(b)))
    for _ in range(500):
        h = np.clip(x @ w + o @ v.T + a, 0, 1)
        o = 0.5 * o + 0.5 * (h @ v + b)
    return o.argmax(1)


def test_train_reports_what_the_run_holds(eqprop: Eqprop):
    out = eqprop("train", *TINY, "--epochs", 3, "--seed", 2, "--json", "--out", "mine")
    assert out.code == 0
    result = out.result
    assert out.out.count("\n") == 1
    assert (result["preset"], result["seed"], result["epochs"]) == ("digits", 2, 3)
    assert result["run"] == "mine"
    rows = [json.loads(r) for r in Path("mine/metrics.jsonl").read_text().splitlines()]
    for name in ("train_error", "validation_error", "converged"):
        assert result[name] == rows[-1][name]
    assert result["seconds"] > 0
    assert result["compile_seconds"] > 0
    labels = np.asarray(digits().test.labels)  # pyright: ignore
    wrong = 100 * np.mean(predict(Path("mine")) != labels)
    # Float32 and few sweeps: an example or two may be on the fence.
    assert abs(result["test_error"] - wrong) <= 200 / len(labels)
    assert out.err.count("\n") == 3
    assert "epoch 3/3  train error" in out.err
    # The same again, from the saved run.
    again = eqprop("eval", "mine", "--json").result
    assert again["test_error"] == result["test_error"]
    assert set(again) == {
        *("test_error", "cost", "energy", "converged", "residual"),
        *("split", "checkpoint", "run"),
    }
    best = eqprop(
        "eval", "mine", "--split", "validation", "--checkpoint", "best", "--json"
    )
    assert best.result["validation_error"] == min(r["validation_error"] for r in rows)
    config = tomllib.loads(Path("mine/config.toml").read_text())
    assert config["training"]["epochs"] == 3
    assert config["energy"]["sizes"] == [64, 6, 10]
    assert config["method"]["nudging"] == {"type": "Centered", "beta": 0.2}


def test_early_stopping_reports_the_epoch_whose_model_it_keeps(eqprop: Eqprop):
    flags = ("--training.early_stopping.patience", 1, "--optimizer.learning_rate", 0.05)
    out = eqprop("train", *TINY, "--epochs", 40, *flags, "--json", "--out", "mine")
    rows = [json.loads(r) for r in Path("mine/metrics.jsonl").read_text().splitlines()]
    errors = [row["validation_error"] for row in rows]
    assert errors[-1] >= min(errors[:-1]), "it did not stop for want of improvement"
    assert out.result["stopped"] == "early"
    assert out.result["epochs"] == len(rows) < 40
    assert out.result["validation_error"] == min(errors)
    best = eqprop("eval", "mine", "--checkpoint", "best", "--json").result
    assert out.result["test_error"] == best["test_error"]
    again = eqprop("train", "--resume", "mine")
    assert f"the model of epoch {1 + np.argmin(errors)}, the best" in again.out
    assert "Early stopping ended it" in again.err


def test_the_summary_ends_with_the_test_error_and_what_to_try(eqprop: Eqprop):
    out = eqprop("train", *TINY, "--epochs", 1)
    assert out.code == 0
    summary, _, after = out.out.partition("\n\n")
    assert summary.splitlines()[-1].startswith("test error ")
    assert summary.endswith(" %")
    commands = [line.split() for line in after.splitlines() if "eqprop" in line]
    assert ["eqprop", "eval", "runs/digits-seed0-1", "--checkpoint", "best"] in commands
    # Every command that is suggested works.
    for command in commands[:1]:
        assert eqprop(*command[1:]).code == 0


def test_a_run_of_a_run_is_the_same(eqprop: Eqprop):
    eqprop("train", *TINY, "--epochs", 1, "--out", "one")
    eqprop("train", "--config", "one/config.toml", "--out", "two")
    assert eqx.tree_equal(load("one"), load("two"))
    one, two = (
        tomllib.loads(Path(n, "config.toml").read_text()) for n in ("one", "two")
    )
    assert one | {"preset": ""} == two | {"preset": ""}


def interrupt_at(monkeypatch: pytest.MonkeyPatch, phase: str, epoch: int) -> None:
    """Presses Ctrl-C when training first gets there."""
    show, pressed = Reporter.__call__, []

    def press(self: Reporter, progress: Any) -> None:
        if (progress.phase, progress.epoch) == (phase, epoch) and not pressed:
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        show(self, progress)

    monkeypatch.setattr(Reporter, "__call__", press)


def test_interrupted_and_resumed_is_uninterrupted(
    eqprop: Eqprop, monkeypatch: pytest.MonkeyPatch
):
    before = signal.getsignal(signal.SIGINT)
    plain = eqprop("train", *TINY, "--epochs", 3, "--out", "plain", "--json")
    with monkeypatch.context() as patch:
        interrupt_at(patch, "train", 1)
        cut = eqprop("train", *TINY, "--epochs", 3, "--out", "cut", "--json")
    assert cut.code == 130
    assert cut.result["stopped"] == "interrupted"
    assert cut.result["test_error"] is None
    assert "eqprop train --resume cut" in cut.err
    assert signal.getsignal(signal.SIGINT) is before
    resumed = eqprop("train", "--resume", "cut", "--json")
    assert resumed.code == 0
    assert eqx.tree_equal(load("plain"), load("cut"))
    for name in ("train_error", "validation_error", "test_error", "converged"):
        assert resumed.result[name] == plain.result[name]


def test_a_finished_run_says_so_and_goes_on_with_more_epochs(eqprop: Eqprop):
    first = eqprop("train", *TINY, "--epochs", 1, "--out", "run", "--json")
    finished = eqprop("train", "--resume", "run", "--json")
    assert finished.code == 0
    assert "Nothing was left to train" in finished.err
    assert finished.result["test_error"] == first.result["test_error"]
    more = eqprop("train", "--resume", "run", "--epochs", 2, "--json")
    assert (more.code, more.result["epochs"]) == (0, 2)
    # Written down: the next resume knows it without being told.
    config = tomllib.loads(Path("run/config.toml").read_text())
    assert config["training"]["epochs"] == 2
    assert "Nothing was left" in eqprop("train", "--resume", "run").err


def test_training_that_leaves_the_numbers_keeps_the_last_good_checkpoint(
    eqprop: Eqprop,
):
    eqprop("train", *TINY, "--epochs", 1, "--out", "run")
    good = load("run")
    config = Path("run/config.toml")
    rate = 'type = "Adam"\nlearning_rate = '
    assert rate + "0.003" in config.read_text()
    config.write_text(config.read_text().replace(rate + "0.003", rate + "1e38"))
    out = eqprop("train", "--resume", "run", "--epochs", 2, "--json")
    assert out.code == 1
    assert out.result["stopped"] == "nonfinite"
    assert "error: training stopped in epoch 2" in out.err
    assert "checkpoint, of epoch 1, is kept in run" in out.err
    assert "--optimizer.learning_rate" in out.err
    assert eqx.tree_equal(load("run"), good)


REFUSED = [
    (["train", "digitz"], "no preset 'digitz'. Did you mean 'digits'"),
    (["train", "--training.epoch", "3"], "`training.epoch` is unknown.*`epochs`"),
    (["train", "--method.nudging.beta", "0"], "`beta` of `Centered`.*but is 0.0"),
    (["train", "--method.solver.max_steps", "-1"], "`max_steps`.*positive integer"),
    (["train", "--optimizer.learning_rate", "nan"], "`learning_rate`.*but is nan"),
    (["train", "--optimizer.learning-rate=[1,2,3]"], r"must be one rate\s+for each"),
    (["train", "--training.batch_size", "1294"], "between 1 and 1293.*1294"),
    (["train", "--energy.sizes", "[63, 10]"], r"shape \(64,\).*\(63, 10\)"),
    (["train", "--energy.sizes", "[64, 9]"], r"targets of \(10,\)"),
    (["train", "--epochs", "0"], "`epochs` must be an integer 1 or more"),
    (["train", "--epochs", "two"], 'convert "two" into int'),
    (["train", "--seed", "-1"], "`training.seed` is -1"),
    (["train", "--config", "nope.toml"], "`--config` is nope.toml"),
    (["train", "mnist", "--data-dir", "nowhere"], r"mnist aren't on this machine"),
    (["train", "mnist"], "`eqprop data fetch mnist`"),
    (["train", "--resume", "nowhere"], "There is no run at nowhere"),
    (["train", "--unit.type", "x"], "`unit` is no part of a recipe"),
    (
        ["train", "--method.solver.type", "Euler", "--energy.unit.type", "Tanh"],
        "bounded",
    ),
    (
        ["train", "--method.nudging.type", "Clamped", "--cost.type", "CrossEntropy"],
        "hold",
    ),
    (["train", "--sed", "3"], "Unknown option: --sed. Did you mean --seed"),
    (["trian"], 'Unknown command "trian". Did you mean "train"'),
    (["eval", "nowhere"], "There is no run at nowhere"),
    (["eval", "."], "is not a run: it has no config.toml"),
    (["eval", "x", "--split", "some"], 'Invalid value "some"'),
    (["eval", "x", "--training.epochs", "3"], "only `eqprop train` takes"),
    (["eval"], "RUN requires an argument"),
    (["data", "fetch", "mnits"], "Did you mean 'mnist'"),
]


@pytest.mark.parametrize("argv, message", REFUSED)
def test_wrong_usage_is_refused_in_a_line(
    eqprop: Eqprop, tmp_path: Path, argv: list[str], message: str
):
    out = eqprop(*argv)
    assert out.code == 2
    assert out.out == ""
    assert "Traceback" not in out.err
    assert "\nerror: " in f"\n{out.err}"
    assert re.search(message, out.err, flags=re.DOTALL)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_an_error_came_from(eqprop: Eqprop):
    out = eqprop("train", "--method.nudging.beta", "0", "--debug")
    assert out.code == 2
    assert "Traceback" in out.err


def test_an_output_folder_is_never_overwritten(eqprop: Eqprop, tmp_path: Path):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years of work")
    out = eqprop("train", *TINY, "--epochs", 1, "--out", "mine")
    assert out.code == 2
    assert "nothing is overwritten" in out.err
    assert re.search(r"`--out`\s+is\s+mine.*`--resume\s+mine`", out.err, re.DOTALL)
    assert [p.name for p in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


def test_an_output_folder_that_cannot_be_made_is_named(eqprop: Eqprop, tmp_path: Path):
    Path("file").write_text("")
    out = eqprop("train", *TINY, "--epochs", 1, "--out", "file/run")
    assert out.code == 2
    assert re.search(r"Could not make the run directory file/run", out.err)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_resume_takes_no_other_recipe(eqprop: Eqprop):
    out = eqprop("train", "mnist", "--resume", "r", "--seed", 1, "--cost.type", "x")
    assert out.code == 2
    assert "but PRESET, --seed, --cost.type came too" in out.err


def test_damaged_runs_are_refused(eqprop: Eqprop):
    eqprop("train", *TINY, "--epochs", 1, "--out", "run")
    before = Path("run/config.toml").read_bytes()
    (weights,) = Path("run/checkpoints").glob("*/model.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    for argv in (["eval", "run"], ["train", "--resume", "run", "--epochs", "2"]):
        out = eqprop(*argv)
        assert out.code == 2
        assert "model.safetensors is corrupt" in out.err
        assert "Traceback" not in out.err
    assert Path("run/config.toml").read_bytes() == before


def test_a_run_of_another_architecture_is_refused(eqprop: Eqprop):
    eqprop("train", *TINY, "--epochs", 1, "--out", "run")
    config = Path("run/config.toml")
    assert "    6,\n" in config.read_text()
    config.write_text(config.read_text().replace("    6,\n", "    7,\n"))
    out = eqprop("eval", "run")
    assert out.code == 2
    assert "expected float32[64, 7], found float32[64, 6]" in out.err


def idx(array: np.ndarray) -> bytes:
    """The IDX format: two zeros, type 8, number of axes, their lengths, the bytes."""
    lengths = np.asarray(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + lengths + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, labels: int = 10) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for stem, count in (("train", 40), ("t10k", 10)):
        images = rng.integers(0, 256, (count, 2, 3))
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(images))
        kinds = np.arange(count) % labels
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(kinds))


SMALL = ["--data.validation", "10", "--energy.sizes", "[6, 5, 10]", "--epochs", "1"]
SMALL += ["--training.augmentation", "none"]


def test_the_data_folder_is_kept_in_the_run(eqprop: Eqprop, tmp_path: Path):
    write_mnist(tmp_path / "d")
    out = eqprop(
        "train", "mnist", "--data-dir", "d", *SMALL, "--training.batch_size", 10
    )
    assert out.code == 0
    config = tomllib.loads(Path("runs/mnist-seed0-1/config.toml").read_text())
    assert config["data"]["folder"] == str(tmp_path / "d")
    assert eqprop("eval", "runs/mnist-seed0-1").code == 0
    (tmp_path / "d").rename(tmp_path / "elsewhere")
    assert eqprop("eval", "runs/mnist-seed0-1").code == 2
    assert eqprop("eval", "runs/mnist-seed0-1", "--data-dir", "elsewhere").code == 0


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda f: f.write_bytes(f.read_bytes()[:-1]), "truncated"),
        (lambda f: f.write_bytes(b"not an IDX file"), "isn't an IDX file"),
        (lambda f: f.unlink(), "lacks train-labels"),
        (lambda f: f.write_bytes(idx(np.full(40, 10))), r"outside \[0, 10\)"),
        (lambda f: f.write_bytes(idx(np.zeros(39))), "40 examples and"),
    ],
)
def test_damaged_data_are_refused(
    eqprop: Eqprop, tmp_path: Path, damage: Callable[[Path], Any], message: str
):
    write_mnist(tmp_path / "d")
    damage(tmp_path / "d" / "train-labels-idx1-ubyte")
    out = eqprop("train", "mnist", "--data-dir", "d", *SMALL)
    assert out.code == 2
    assert re.search(message, out.err)
    assert "Traceback" not in out.err
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_is_one_clear_message(
    eqprop: Eqprop, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    out = eqprop("train", *TINY, "--epochs", 1, "--out", "run")
    assert out.code == 2
    assert "No space left on device" in out.err
    assert "Traceback" not in out.err


def test_bugs_are_not_dressed_up_as_wrong_usage(
    eqprop: Eqprop, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: Any, **__: Any) -> None:
        jnp.zeros(3) + None  # type: ignore

    monkeypatch.setattr("eqprop.training._recipe.build", broken)
    with pytest.raises(TypeError):
        eqprop("train")
