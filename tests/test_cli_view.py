"""What `eqprop view` says to what it can't do, and the file that it writes."""

import base64
import gzip
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import eqprop as ep
from eqprop.apps.cli import main
from eqprop.apps.viewer import bundled, decode
from helpers_training import chain, splits
from viewer_process import EQPROP


@pytest.mark.parametrize(
    "argv, message",
    [
        (["nowhere"], "There is no run at nowhere"),
        (["--example", "360"], "there are 360 examples, numbered from 0 to 359"),
        (["--example", "-1"], "numbered from 0 to 359"),
        (["--checkpoint", "best"], "eqprop view RUN --checkpoint best"),
        (["--port", "70000"], "must be from 0 to 65535"),
        (["--export", "no/such/folder/x.html"], "There is no folder"),
    ],
)
def test_what_cannot_be_shown_is_told(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    with jax.enable_x64(False):
        assert main(["view", *argv, "--no-browser"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "websockets"])
def test_without_what_serves_pages_nothing_is_compiled(
    missing: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, missing, None)
    with jax.enable_x64(False):
        assert main(["view", "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        "error: The viewer needs starlette, uvicorn and websockets: "
        '`pip install "eqprop[view]"`.\n'
    )


def test_a_run_without_recipe_is_sent_to_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    method = ep.EquilibriumProp(ep.Centered(0.2))
    out = str(tmp_path / "run")
    ep.fit(chain(), splits(), method, ep.Adam(1e-3), epochs=1, batch_size=8, out=out)
    for words, python in (
        (["view", out, "--no-browser"], "ep.view(ep.load(run, like=model), data)"),
        (["check-gradient", out], "ep.diagnostics.check_gradient"),
        (["train", "--resume", out], "ep.fit(model, data, …, resume=run)"),
    ):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert "has no `[energy]`" in error
        assert python in error


def test_a_trained_run_is_exported_with_its_own_solver(tmp_path: Path):
    run, file = tmp_path / "run", tmp_path / "trace.html"
    train = ["train", "digits", "--epochs", "1", "--energy.sizes", "[64, 16, 10]"]
    more = ["--method.solver.type", "FixedPoint", "--out", str(run)]
    subprocess.run([EQPROP, *train, *more], check=True, capture_output=True)
    export = ["view", str(run), "--export", str(file), "--example", "5", "--json"]
    done = subprocess.run([EQPROP, *export], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    assert report["export"] == str(file)
    frames = recorded(file)
    assert len(frames) == report["pictures"] + 1
    hello, first = frames[0][0], frames[1][0]
    assert hello["title"] == "run"
    assert hello["layers"][0]["shape"] == [16]
    assert first["solver"][0] == "FixedPoint"
    assert first["index"] == 5
    assert [frame["phase"] for frame, _ in frames[1:]].count("nudged") > 10


def recorded(file: Path) -> list:
    found = re.search(r'type="text/plain">([^<]+)<', file.read_text("utf-8"))
    assert found is not None
    data = gzip.decompress(base64.b64decode(found[1]))
    frames, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        frames.append(decode(data[at + 4 : at + 4 + length]))
        at += 4 + length
    return frames


def test_the_bundled_network_is_the_one_that_training_gives():
    with jax.enable_x64(False):
        subject = bundled()
        solver = subject.solver
        assert solver is not None
        test = ep.data.digits().test
        error = ep.evaluate(subject.model, test, solver)["error"]
        # `eqprop train digits` reports 1.67 % of 360.
        assert error <= 3
