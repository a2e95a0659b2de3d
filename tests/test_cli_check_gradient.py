"""`eqprop check-gradient` and `eqprop train --method`, as they are typed."""

import json
from pathlib import Path

import jax
import pytest

from eqprop.apps.cli import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small net on the digits, trained for an epoch."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    flags = ["--energy.sizes", "[64, 16, 10]", "--epochs", "1"]
    assert main(["train", "digits", *flags, "--out", str(folder)]) == 0
    return folder


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict, str]:
    code = main(["check-gradient", *words, "--examples", "2", "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out), captured.err


def test_a_run_is_checked(run: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    code, found, err = checked(capsys, str(run), "--betas", "0.001,0.01")
    assert code == 0
    assert err == ""
    assert found["converged"] == 1
    assert found["problems"] == []
    assert (found["min_cos"], found["figures"]) == (0.9, [])
    estimators = found["estimators"]
    assert set(estimators) == {
        *("OneSided", "Centered", "RecurrentBackprop", "as trained")
    }
    # The tests of the estimators derive these orders; here they must come through.
    assert estimators["OneSided"]["order"] == pytest.approx(1, abs=0.05)
    assert estimators["Centered"]["order"] == pytest.approx(2, abs=0.05)
    at = estimators["Centered"]["betas"][0]
    assert at["beta"] == 0.001
    assert at["parameters"]["input-hidden1"]["cosine"] > 1 - 1e-8
    assert max(found["descending_updates_rmse"].values()) < 0.02
    # The switch to float64 is for the command alone.
    assert jax.config.read("jax_enable_x64") is True


def test_a_low_cosine_fails_the_check(run: Path, capsys: pytest.CaptureFixture[str]):
    capsys.readouterr()
    words = (str(run), "--estimators", "Clamped", "--min-cos", "0.99999")
    code, found, err = checked(capsys, *words, "--reference", "finite-difference")
    assert code == 1
    # The run's own few steps at β = 0.2 are off by more than that, too.
    clamped, trained = found["problems"]
    assert clamped.startswith("Clamped: the cosine to the reference is 0.")
    assert trained.startswith("as trained: the cosine to the reference is 0.")
    assert clamped in err
    assert found["min_cos"] == 0.99999


def test_a_preset_is_checked_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    figure = tmp_path / "check.svg"
    words = ["digits", "--betas", "0.001,0.01", "--estimators", "OneSided"]
    words += ["--examples", "1", "--reference", "bptt", "--plot", str(figure)]
    assert main(["check-gradient", *words]) == 0
    text = capsys.readouterr().out
    assert "reference     backpropagation through time" in text
    assert "OneSided: error of order β^" in text
    assert "verdict: passed (asked: every cosine at least 0.9, every phase" in text
    assert f"written  {figure}, {figure.with_stem('check-updates')}" in text
    assert figure.read_text().count("<path") > 10
    assert figure.with_stem("check-updates").is_file()


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere"], "`nowhere` is neither the folder of a run nor a preset"),
        (["digits", "--betas", "0.1,-1"], "`--betas` is '0.1,-1'"),
        (["digits", "--betas", "much"], "must be positive numbers with commas"),
        (["digits", "--examples", "0"], "`--examples` is 0"),
        (["digits", "--plot", "check.txt"], "its name must end with one of"),
        (["digits", "--plot", "no/such/check.png"], "There is no folder"),
        (["digits", "--estimators", "Centred"], "names `Centred`, but there are"),
        (["digits", "--method.nudging.beta", "1"], "which only `eqprop train` takes"),
        (
            ["digits", "--estimators", "Holomorphic"],
            "is clipped: on the complex plane it has no derivative",
        ),
    ],
)
def test_wrong_use_is_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["check-gradient", *words]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_method_is_named_by_its_nudging_or_its_estimator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    common = ["--energy.sizes", "[64, 8, 10]", "--epochs", "1", "--json"]
    for name, flags in {
        "Coupled": ["--method.nudging.eta", "0.2"],
        "RecurrentBackprop": [],
    }.items():
        folder = tmp_path / name
        words = ["train", "digits", "--method", name, *flags, *common]
        assert main([*words, "--out", str(folder)]) == 0
        assert f'type = "{name}"' in (folder / "config.toml").read_text()
    capsys.readouterr()
    assert main(["train", "digits", "--method", "Centred"]) == 2
    assert "`Centred` is no method. Did you mean `Centered`?" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder), "--method", "Coupled"]) == 2
    assert "--method came too" in capsys.readouterr().err
