"""Help, versions, data sets, the doctor; and that help imports no JAX."""

import json
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from typing import Any

import pytest

import eqprop
from eqprop._presets import list_presets
from eqprop.apps.cli import _doctor, main
from pages import REPOSITORY


HEAVY = ["jax", "jaxlib", "equinox", "optax", "numpy", "safetensors", "optimistix"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["train", "digits", "--method.nudging.beta", "0.2", "--help"],
        ["eval", "--help"],
        ["data", "--help"],
        ["data", "fetch", "--help"],
        ["doctor", "--help"],
        # A mistyped option is told at once, too.
        ["train", "--sed", "3"],
    ],
)
def test_help_imports_nothing_heavy(argv: list[str]):
    code = (
        "import sys; from eqprop.apps.cli import main; main(sys.argv[1:]);"
        f"print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True
    )
    assert run.stderr.splitlines()[-1] == "[]"


def test_the_version_is_the_package_version(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{eqprop.__version__}\n"


def test_help_of_train_lists_presets_and_flags(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["train", "--help"]) == 0
    text = capsys.readouterr().out
    for name in [*list_presets(), "--data-dir", "--resume", "--method.nudging.beta"]:
        assert name in text


def test_every_preset_file_is_listed():
    folder = Path(eqprop.__file__).parent / "training" / "presets"
    assert len(list_presets()) == len(list(folder.rglob("*.toml")))
    assert list_presets() == [
        "digits",
        "mnist",
        "mnist-2h",
        "mnist-3h",
        "scellier2017/net1",
        "scellier2017/net2",
        "scellier2017/net2-certified",
        "scellier2017/net3",
        "scellier2017/net3-certified",
    ]


def test_the_installed_program_exits_with_the_code():
    program = Path(sys.executable).with_name("eqprop")
    run = subprocess.run([program, "train", "--sed"], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: Unknown option: --sed.")


@pytest.mark.parametrize(
    "argv, message",
    [
        (["train", "digits", "extra"], "error: `extra` is not expected here. Run"),
        (["eval", "a", "b", "c"], "error: `b`, `c` are not expected here. Run"),
    ],
)
def test_a_stray_word_is_named(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith(message)


def test_an_extra_that_is_missing_is_an_error_and_no_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "lineax", None)
    words = ["--method", "ImplicitDifferentiation", "--method.linear_solver.type"]
    assert main(["train", "digits", *words, "GMRES", "--out", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: `ep.GMRES` needs the lineax library")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_line_without_its_place_in_the_code(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def entries_of(things):
        warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)
        return {}

    monkeypatch.setattr("eqprop.training._citation.entries_of", entries_of)
    (tmp_path / "config.toml").write_text("[energy]\n[method]\n[data]\n")
    (tmp_path / "checkpoints").mkdir()
    assert main(["cite", str(tmp_path)]) == 0
    assert capsys.readouterr().err == "warning: mind the gap\n"


def ask(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, dict[str, Any]]:
    code = main([*argv, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_data_list_says_where_data_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, mnist_folder: Path
):
    place = tmp_path / "mnist"
    place.mkdir()
    for file in mnist_folder.iterdir():
        (place / file.name).symlink_to(file)
    code, found = ask(capsys, "data", "list", "--data-dir", str(tmp_path))
    assert code == 0
    assert found["mnist"] == str(place)
    assert found["kmnist"] is None
    shutil.rmtree(place)
    code, found = ask(capsys, "data", "list", "--data-dir", str(tmp_path))
    assert found["mnist"] is None
    assert main(["data", "list", "--data-dir", str(tmp_path)]) == 0
    assert "eqprop data fetch mnist" in capsys.readouterr().out


def test_data_fetch_puts_a_data_set_in_a_folder_of_its_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked = []

    def fetch(name: str, folder: Path | None) -> Path:
        asked.append((name, folder))
        return Path("there")

    monkeypatch.setattr("eqprop.data.fetch", fetch)
    code, told = ask(capsys, "data", "fetch", "mnist", "--data-dir", str(tmp_path))
    assert (code, told) == (0, {"name": "mnist", "folder": "there"})
    assert asked == [("mnist", tmp_path / "mnist")]


def test_the_doctor_finds_this_installation_healthy(
    capsys: pytest.CaptureFixture[str],
):
    code, report = ask(capsys, "doctor")
    assert (code, report["ok"]) == (0, True)
    assert report["versions"]["eqprop"] == eqprop.__version__
    assert report["presets"] == list_presets()
    assert report["data"]["digits"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    # A card's JAX is told by the devices, and `all` is the others.
    extras = set(project["project"]["optional-dependencies"]) - {"cuda13", "all"}
    assert set(report["extras"]) == extras
    # The bias of centered nudging falls with β², so at β/5 it is far below.
    assert report["gradient_error"] < 0.01


def test_the_doctor_notices_a_wrong_gradient(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    from eqprop.learning import Centered

    class Lopsided(Centered):
        """One-sided phases with the centered weights: a bias of O(β), 5 % and more."""

        def phases(self, landscape: Any, state: Any, y: Any, *, key: Any = None):
            _, (up, down) = super().phases(landscape, state, y, key=key)
            return (), (up, type(down)(landscape, state, 2 * down.weight))

    monkeypatch.setattr("eqprop.learning.Centered", Lopsided)
    code, report = ask(capsys, "doctor")
    assert (code, report["ok"]) == (1, False)
    assert main(["doctor"]) == 1
    assert "NOT OK" in capsys.readouterr().out


def test_the_doctor_says_what_an_extra_lacks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(_doctor._EXTRAS, "solvers", ("optimistix", "no_such_module"))
    _, report = ask(capsys, "doctor")
    assert report["extras"]["solvers"] == ["no_such_module"]
