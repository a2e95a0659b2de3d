"""A run directory is never overwritten, and what is in it is read or refused."""

import errno
import json
import math
import os
import platform
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from eqprop.training._rundir import RunDirectory
from storage_helpers import count_calls, failing_at, Killed, net


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    run = RunDirectory.create(tmp_path / "run")
    run.write_config({"seed": 0})
    run.save("epoch-1", {"model": net()}, {"epoch": 1}, best=True)
    return run


def snapshot(folder: Path) -> dict:
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def test_create_makes_parents_and_takes_an_empty_folder(tmp_path):
    assert RunDirectory.create(tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    (tmp_path / "c").mkdir()
    RunDirectory.create(tmp_path / "c").write_config({})
    assert RunDirectory.open(str(tmp_path / "c")).path == tmp_path / "c"


def test_create_refuses_an_existing_run_and_leaves_it_unchanged(run):
    before = snapshot(run.path)
    with pytest.raises(
        ValueError, match=rf"`out` is {run.path}.*`resume='{run.path}'`"
    ):
        RunDirectory.create(run.path)
    assert snapshot(run.path) == before


def test_create_refuses_a_file_and_a_folder_with_anything_in_it(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(ValueError, match="nothing is overwritten"):
            RunDirectory.create(path)
    assert (tmp_path / "file").read_text() == "mine"


def test_of_two_runs_that_start_in_one_folder_one_is_refused(tmp_path, monkeypatch):
    # The other run starts just after this one has found the folder empty.
    def other_starts(path):
        (path / "checkpoints").mkdir()
        return iter(())

    (tmp_path / "run").mkdir()
    monkeypatch.setattr(Path, "iterdir", other_starts)
    with pytest.raises(ValueError, match="nothing is overwritten"):
        RunDirectory.create(tmp_path / "run")


def test_create_says_why_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Could not make.*Not a directory.*`--out DIR`"):
        RunDirectory.create(tmp_path / "file" / "run")
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with (
        pytest.raises(PermissionError, match="Permission denied.*`--out DIR`"),
        failing_at(1, denied),
    ):
        RunDirectory.create(tmp_path / "run")


def test_open_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        RunDirectory.open(tmp_path / "nope")
    with pytest.raises(ValueError, match="no config.toml and no checkpoints"):
        RunDirectory.open(tmp_path)


def test_default_path_is_the_first_free_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = RunDirectory.default_path("scellier2017/net1", 3)
    assert first == Path("runs/scellier2017-net1-seed3-1")
    RunDirectory.create(first)
    second = RunDirectory.default_path("scellier2017/net1", 3)
    assert second == Path("runs/scellier2017-net1-seed3-2")
    assert RunDirectory.default_path("digits", 0) == Path("runs/digits-seed0-1")


def test_config_comes_back(run):
    table = {"seed": 1, "method": {"type": "Centered", "beta": 0.1 + 0.2, "on": True}}
    run.write_config(table)
    assert run.read_config() == table


def test_a_bad_config_is_named(run):
    path = run.path / "config.toml"
    for content in (b"seed = ", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"config\.toml is not valid TOML"):
            run.read_config()
    path.unlink()
    with pytest.raises(ValueError, match=r"config\.toml is missing"):
        run.read_config()


def test_a_full_disk_leaves_the_config_as_it_was(run):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    for k in (1, 2):  # the sync, the rename
        with (
            pytest.raises(OSError, match=r"config\.toml: No space left.*intact"),
            failing_at(k, full),
        ):
            run.write_config({"seed": 1})
        assert run.read_config() == {"seed": 0}
        assert not list(run.path.glob(".*"))


def test_environment_names_versions_but_no_host_and_no_path(run, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1 --xla_dump_to=/home/someone --xla_b=2")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    run.write_environment()
    text = (run.path / "env.json").read_text()
    found = json.loads(text)
    assert found["versions"]["python"] == platform.python_version()
    assert found["versions"]["numpy"] == np.__version__
    assert found["x64"] is True
    assert found["devices"]["platform"] == "cpu"
    assert found["variables"]["OMP_NUM_THREADS"] == "2"
    assert found["variables"]["XLA_FLAGS"] == "--xla_a=1 --xla_b=2"
    assert "/" not in text
    assert not re.search(rf"\b{re.escape(platform.node())}\b", text)


def test_metrics_come_back_and_nan_is_null(run):
    assert run.read_metrics() == []
    run.append_metrics({"epoch": 0, "cost": jnp.float32(0.5), "error": math.nan})
    run.append_metrics({"epoch": 1, "cost": np.inf, "change": [0.1, 0.2]})
    assert (run.path / "metrics.jsonl").read_text() == (
        '{"epoch": 0, "cost": 0.5, "error": null}\n'
        '{"epoch": 1, "cost": null, "change": [0.1, 0.2]}\n'
    )
    assert run.read_metrics() == [
        {"epoch": 0, "cost": 0.5, "error": None},
        {"epoch": 1, "cost": None, "change": [0.1, 0.2]},
    ]


def test_a_row_torn_anywhere_is_dropped_and_written_again(run):
    path = run.path / "metrics.jsonl"
    rows = [{"epoch": n, "name": "Größe"} for n in range(3)]
    for row in rows:
        run.append_metrics(row)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        assert run.read_metrics() == rows[:2]
        run.append_metrics(rows[2])
        assert path.read_bytes() == whole


def test_a_corrupt_row_is_an_error_with_its_line(run):
    path = run.path / "metrics.jsonl"
    for bad in (b"{", b"7", b"\xff"):
        path.write_bytes(b'{"epoch": 0}\n' + bad + b'\n{"epoch": 1}\n')
        with pytest.raises(ValueError, match=r"metrics\.jsonl is corrupt in line 2"):
            run.read_metrics()


def test_truncating_keeps_the_earlier_rows_byte_for_byte(run):
    path = run.path / "metrics.jsonl"
    run.truncate_metrics(0)
    assert run.read_metrics() == []
    run.append_metrics({"note": "no epoch"})
    for epoch in (0, 1, 2):
        run.append_metrics({"epoch": epoch, "cost": 0.1 * epoch})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(path.read_bytes() + b'{"epoch": 3, "co')
    run.truncate_metrics(2)
    assert path.read_bytes() == b"".join(lines[:3])


def test_a_failed_append_leaves_the_rows_as_they_were(run):
    run.append_metrics({"epoch": 0})
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(OSError, match="Could not append.*No space left.*intact"),
        failing_at(1, full),
    ):
        run.append_metrics({"epoch": 1})
    assert (run.path / "metrics.jsonl").read_bytes() == b'{"epoch": 0}\n'


def test_config_and_metrics_survive_a_kill_at_any_moment(tmp_path):
    def change(run):
        run.write_config({"seed": 1})
        run.truncate_metrics(1)

    def fresh(k):
        run = RunDirectory.create(tmp_path / str(k))
        run.write_config({"seed": 0})
        for epoch in range(3):
            run.append_metrics({"epoch": epoch})
        return run

    control = fresh(0)
    for k in range(1, count_calls(lambda: change(control)) + 1):
        run = fresh(k)
        with pytest.raises(Killed), failing_at(k, Killed()):
            change(run)
        assert run.read_config() in ({"seed": 0}, {"seed": 1})
        assert [row["epoch"] for row in run.read_metrics()] in ([0, 1, 2], [0])
        change(run)
        assert not list(run.path.glob(".*"))
