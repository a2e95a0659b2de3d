"""A run's checkpoints survive kills and full disks."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eqprop.training._checkpoint import read_manifest
from eqprop.training._rundir import RunDirectory
from storage_helpers import (
    assert_same,
    count_calls,
    failing_at,
    Killed,
    net,
    zeros_like,
)


def parts(n: int) -> dict:
    return {"model": net(3), "states": jnp.full(4, float(n))}


TEMPLATES = {"model": zeros_like(net(3)), "states": jnp.zeros(4)}


def save(run: RunDirectory, n: int, *, best: bool) -> None:
    run.save(f"epoch-{n}", parts(n), {"epoch": n}, best=best)


def loaded(run: RunDirectory, pointer: str) -> int:
    """The epoch a pointer loads, its tensors compared with what was saved."""
    found, info = run.load(pointer, TEMPLATES)
    assert_same(found, parts(info["epoch"]))
    return info["epoch"]


def steps(run: RunDirectory) -> set[str]:
    return {path.name for path in (run.path / "checkpoints").iterdir()}


def two_epochs(path: Path) -> RunDirectory:
    """`best` names epoch 1, `last` names epoch 2."""
    run = RunDirectory.create(path)
    run.write_config({"seed": 0})
    save(run, 1, best=True)
    save(run, 2, best=False)
    return run


@pytest.fixture
def run(tmp_path) -> RunDirectory:
    return two_epochs(tmp_path / "run")


def test_best_and_last_are_kept_and_the_rest_is_removed(run):
    assert steps(run) == {"best", "last", "epoch-1", "epoch-2"}
    assert (loaded(run, "best"), loaded(run, "last")) == (1, 2)
    save(run, 3, best=False)
    assert steps(run) == {"best", "last", "epoch-1", "epoch-3"}
    save(run, 4, best=True)
    assert steps(run) == {"best", "last", "epoch-4"}
    assert (loaded(run, "best"), loaded(run, "last")) == (4, 4)


def test_a_step_saved_again_does_not_touch_the_one_in_use(run):
    run.save("epoch-2", parts(5), {"epoch": 5}, best=False)
    assert steps(run) == {"best", "last", "epoch-1", "epoch-2-2"}
    assert (loaded(run, "best"), loaded(run, "last")) == (1, 5)


def test_checkpoint_is_the_folder_to_read_the_manifest_of(run):
    assert read_manifest(run.checkpoint("best"))["info"] == {"epoch": 1}


def test_a_pointer_that_is_not_there_is_named(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    save(run, 1, best=False)
    assert loaded(run, "last") == 1
    with pytest.raises(ValueError, match="no `best` checkpoint"):
        run.load("best", TEMPLATES)
    with pytest.raises(ValueError, match="`pointer` is 'first'"):
        run.load("first", TEMPLATES)


@pytest.mark.parametrize("step", ["", "best", "last", "../epoch", ".tmp-1", "a b"])
def test_a_step_must_name_a_folder(run, step):
    with pytest.raises(ValueError, match="`step` is"):
        run.save(step, parts(3), {}, best=False)


@pytest.fixture(scope="module")
def flippable(tmp_path_factory) -> RunDirectory:
    return two_epochs(tmp_path_factory.mktemp("flips") / "run")


@given(st.sampled_from(["best", "last"]), st.integers(0, 20), st.integers(1, 255))
@settings(max_examples=200)
def test_no_changed_byte_of_a_pointer_goes_unnoticed(flippable, pointer, offset, mask):
    # `epoch-1` and `epoch-2` both exist and differ by one byte.
    path = flippable.path / "checkpoints" / pointer
    content = path.read_bytes()
    changed = bytearray(content)
    changed[offset % len(content)] ^= mask
    path.write_bytes(changed)
    try:
        with pytest.raises(ValueError, match=f"{pointer} is corrupt"):
            flippable.checkpoint(pointer)
    finally:
        path.write_bytes(content)


def test_nothing_is_removed_while_a_pointer_is_corrupt(run):
    (run.path / "checkpoints" / "best").write_bytes(b"epoch-")
    save(run, 3, best=False)
    assert {"epoch-1", "epoch-2", "epoch-3"} <= steps(run)
    save(run, 4, best=True)
    assert steps(run) == {"best", "last", "epoch-4"}


@pytest.mark.parametrize("best", [False, True])
def test_a_kill_at_any_moment_leaves_last_and_best_loadable(tmp_path, best):
    control = two_epochs(tmp_path / "0")
    calls = count_calls(lambda: save(control, 3, best=best))
    assert calls > 12
    seen = set()
    for k in range(1, calls + 1):
        run = two_epochs(tmp_path / str(k))
        with pytest.raises(Killed), failing_at(k, Killed()):
            save(run, 3, best=best)
        last, found_best = loaded(run, "last"), loaded(run, "best")
        seen.add((last, found_best))
        assert last in (2, 3)
        # Once `last` has moved, everything has.
        assert found_best == (3 if best else 1) or last == 2
        # The resumed run does again what the killed one did after `last`.
        if last == 2:
            save(run, 3, best=best)
            assert (loaded(run, "last"), loaded(run, "best")) == (3, 3 if best else 1)
        save(run, 4, best=True)
        assert steps(run) == {"best", "last", "epoch-4"}
    expected = {(2, 1), (2, 3), (3, 3)} if best else {(2, 1), (3, 1)}
    assert seen == expected


def test_a_kill_in_the_first_save_leaves_a_run_that_can_save(tmp_path):
    control = RunDirectory.create(tmp_path / "0")
    for k in range(1, count_calls(lambda: save(control, 1, best=True)) + 1):
        run = RunDirectory.create(tmp_path / str(k))
        with pytest.raises(Killed), failing_at(k, Killed()):
            save(run, 1, best=True)
        save(run, 2, best=True)
        assert steps(run) == {"best", "last", "epoch-2"}
        assert loaded(run, "last") == 2


def test_a_full_disk_at_any_moment_leaves_last_and_best_loadable(tmp_path):
    control = two_epochs(tmp_path / "0")
    calls = count_calls(lambda: save(control, 3, best=True))
    failures = 0
    for k in range(1, calls + 1):
        run = two_epochs(tmp_path / str(k))
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        try:
            with failing_at(k, full):
                save(run, 3, best=True)
            message = None  # it hit the removal of the old ones, after `last`
        except OSError as error:
            message = str(error)
        if message is not None:
            failures += 1
            assert "No space left on device" in message
            assert f"`eqprop train --resume {run.path}`" in message
            named = {run.checkpoint(pointer).name for pointer in ("best", "last")}
            # What it could not finish is gone; the old ones may stay for a save more.
            assert steps(run) - {"epoch-1", "epoch-2"} <= {"best", "last"} | named
        assert loaded(run, "last") in (2, 3)
        assert loaded(run, "best") in (1, 3)
    assert failures > 10


WRITER = """
import sys
import numpy as np
from eqprop.training._rundir import RunDirectory

run = RunDirectory.open(sys.argv[1])
n = 0
while True:
    n += 1
    states = np.full(50_000, n)
    run.save(f"epoch-{n}", {"states": states}, {"epoch": n}, best=n % 3 == 0)
    run.append_metrics({"epoch": n})
    print(n, flush=True)
"""


def test_a_real_kill_leaves_a_run_that_loads(tmp_path):
    waits = random.Random(0)
    for trial in range(2):
        run = RunDirectory.create(tmp_path / str(trial))
        run.write_config({})
        command = [sys.executable, "-c", WRITER, str(run.path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(3):
                assert process.stdout.readline()
            time.sleep(waits.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            told = [int(line) for line in process.stdout]
        told = max(told, default=3)
        for pointer in ("last", "best"):
            found, info = run.load(pointer, {"states": np.zeros(50_000, int)})
            np.testing.assert_array_equal(found["states"], info["epoch"])
            oldest = told if pointer == "last" else told - told % 3
            assert info["epoch"] >= oldest
        rows = [row["epoch"] for row in run.read_metrics()]
        assert rows == list(range(1, len(rows) + 1))
        assert len(rows) >= told
