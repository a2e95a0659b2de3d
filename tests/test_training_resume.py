"""A run is a function of its arguments, whatever interrupts it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import eqprop as ep
from eqprop.learning import relaxation_factors
from helpers_training import (
    base,
    bits,
    chain,
    last_model,
    splits,
    stored,
    without_seconds,
)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    return base(out=tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def one_batch_at_a_time(monkeypatch):
    monkeypatch.setattr("eqprop.training._trainer._REPORT_SECONDS", 0.0)


def at_call(number: int):
    """A `should_stop` that says yes when it is asked for the n-th time."""
    calls = iter(range(1, 1000))
    return lambda: next(calls) >= number


def assert_same_run(run: ep.training.Run, whole: ep.training.Run) -> None:
    assert run.path is not None
    assert whole.path is not None
    assert without_seconds(run) == without_seconds(whole)
    assert bits(run.model) == bits(whole.model)
    assert stored(run.path) == stored(whole.path)
    assert (run.stopped, run.best_epoch) == (whole.stopped, whole.best_epoch)
    rows = ep.training.RunDirectory.open(run.path).read_metrics()
    assert rows == run.metrics


def test_the_same_seed_gives_the_same_bits(uninterrupted, tmp_path):
    assert_same_run(base(out=tmp_path / "run"), uninterrupted)
    kinds = ("model", "optimizer", "states", "sums")
    assert stored(tmp_path / "run").keys() == {f"{kind}.safetensors" for kind in kinds}


def test_chunks_change_nothing(uninterrupted, tmp_path, one_batch_at_a_time):
    assert_same_run(base(out=tmp_path / "run"), uninterrupted)


def test_another_seed_gives_another_run(uninterrupted):
    other = base(seed=1)
    assert bits(other.model) != bits(uninterrupted.model)
    assert without_seconds(other) != without_seconds(uninterrupted)


# An epoch has five batches: before the first, in mid-epoch, before the last, right
# after an epoch, in mid-epoch later on.
@pytest.mark.parametrize("call", [1, 3, 5, 6, 13])
def test_interrupted_and_resumed_is_uninterrupted(
    call, uninterrupted, tmp_path, one_batch_at_a_time
):
    out = tmp_path / "run"
    first = base(out=out, should_stop=at_call(call))
    assert first.stopped == "interrupted"
    assert without_seconds(first) == without_seconds(uninterrupted)[: (call - 1) // 5]
    assert bits(last_model(out, chain())) == bits(first.model)
    assert_same_run(base(resume=out), uninterrupted)


def test_a_run_can_be_interrupted_again_and_again(tmp_path, one_batch_at_a_time):
    # Adam's memory, which counts its steps, comes back too.
    adam, out = ep.Adam(0.02), tmp_path / "run"
    run = base(optimizer=adam, out=out, should_stop=at_call(2))
    for _ in range(20):
        if run.stopped != "interrupted":
            break
        run = base(optimizer=adam, resume=out, should_stop=at_call(4))
    assert_same_run(run, base(optimizer=adam, out=tmp_path / "whole"))


def test_more_epochs_later_are_as_many_at_once(uninterrupted, tmp_path):
    out = tmp_path / "run"
    assert len(base(out=out, epochs=1).metrics) == 1
    assert_same_run(base(resume=out, epochs=3), uninterrupted)


def test_resuming_what_is_finished_changes_nothing(uninterrupted, tmp_path):
    out = tmp_path / "run"
    base(out=out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    assert_same_run(base(resume=out), uninterrupted)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


CHILD = """
import sys
import jax

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_disable_most_optimizations", True)
import eqprop.training._trainer

eqprop.training._trainer._REPORT_SECONDS = 0.0
from helpers_training import base

def tell(progress):
    print(progress.phase, progress.epoch, progress.batch, flush=True)
    if (progress.phase, progress.epoch, progress.batch) == ("train", 1, 3):
        sys.stdin.read()

base(out=sys.argv[1], progress=tell)
"""


def test_killed_in_mid_epoch_and_resumed_is_uninterrupted(uninterrupted, tmp_path):
    out = tmp_path / "run"
    tests = str(Path(__file__).parent)
    path = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.split() == ["train", "1", "3"]:
                break
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    assert len(ep.training.RunDirectory.open(out).read_metrics()) == 1
    assert_same_run(base(resume=out), uninterrupted)


def test_a_metrics_row_past_the_last_checkpoint_is_made_again(uninterrupted, tmp_path):
    # Killed between writing the row and moving `last`.
    out = tmp_path / "run"
    base(out=out, epochs=1)
    row = dict(uninterrupted.metrics[1], train_error=-1.0)
    ep.training.RunDirectory.open(out).append_metrics(row)
    assert_same_run(base(resume=out), uninterrupted)


def test_best_is_the_first_epoch_of_least_validation_error(uninterrupted, tmp_path):
    errors = [row["validation_error"] for row in uninterrupted.metrics]
    best = errors.index(min(errors))
    assert uninterrupted.best_epoch == best
    directory = ep.training.RunDirectory.open(uninterrupted.path)
    found, info = directory.load("best", {"model": chain()})
    until = base(epochs=best + 1)
    assert bits(found["model"]) == bits(until.model)
    assert info["epoch"] == best + 1


def test_progress_tells_every_batch_and_epoch(one_batch_at_a_time):
    told = []
    run = base(progress=told.append, epochs=2)
    kinds = [(p.phase, p.epoch, p.batch) for p in told]
    expected = [("compile", 0, 0)]
    for epoch in range(2):
        expected += [("train", epoch, batch) for batch in range(1, 6)]
        expected += [("validate", epoch, 5), ("epoch", epoch, 5)]
    assert kinds == expected
    assert all((p.epochs, p.batches) == (2, 5) for p in told)
    assert [p.metrics for p in told if p.phase == "epoch"] == run.metrics
    assert run.seconds == pytest.approx(sum(row["seconds"] for row in run.metrics))
    assert run.metrics[0]["compile_seconds"] == run.compile_seconds > 0


CHANGED = {
    "seed": ({"seed": 1}, "seed = 0, but 1 was given"),
    "batch_size": ({"batch_size": 4}, "batch_size = 5, but 4 was given"),
    "persistent": ({"persistent": False}, "persistent = True, but False was given"),
    "data": ({"data": splits(22)}, "train"),
    "validation": ({"data": splits(23, 8)}, "validation"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_resuming_another_run_is_refused(name, uninterrupted, tmp_path):
    changes, message = CHANGED[name]
    with pytest.raises(ValueError, match=message):
        base(resume=uninterrupted.path, epochs=4, **changes)
    assert base(resume=uninterrupted.path).metrics == uninterrupted.metrics


def test_a_run_without_states_cannot_be_resumed_with_them(tmp_path):
    out = tmp_path / "run"
    base(out=out, persistent=False, epochs=1)
    with pytest.raises(ValueError, match="persistent|states"):
        base(resume=out)


def test_validation_data_that_come_later_are_used_from_then_on(tmp_path):
    # Or refused: but not with a KeyError, for lack of earlier validation errors.
    out = tmp_path / "run"
    base(out=out, data=splits().train, epochs=1)
    try:
        run = base(resume=out, epochs=2)
    except ValueError as error:
        assert "validation" in str(error)
    else:
        assert len(run.metrics) == 2


def test_another_architecture_is_refused_by_its_tensors(uninterrupted):
    energy = ep.nets.mlp([5, 4, 3, 3], key=jax.random.key(0))
    deeper = ep.Model(energy, ep.SquaredError())
    sgd = ep.SGD(0.1, momentum=0.5)
    with pytest.raises(ValueError, match="`model`") as refusal:
        base(resume=uninterrupted.path, model=deeper, optimizer=sgd)
    message = str(refusal.value)
    # The first weights have another shape, the third layer's bias is extra or missing.
    for named in ("edges.0.interaction", "[5, 6]", "[5, 4]", "edges.5.interaction"):
        assert named in message


def test_another_optimizer_is_refused(uninterrupted):
    with pytest.raises(ValueError, match="optimizer"):
        base(resume=uninterrupted.path, optimizer=ep.Adam(0.1))


OPEN = ep.EquilibriumProp(
    ep.Centered(0.3),
    ep.BlockCoordinate(max_steps=4),
    ep.BlockCoordinate(max_steps=3, stop=ep.Tolerance()),
)


@pytest.mark.parametrize("call", [2, 4, 8])
def test_open_factors_are_resumed_where_they_were(call, tmp_path, one_batch_at_a_time):
    # Estimated before the first, third and fifth of the first five batches, then once
    # in five: in between, the factors of a resumed run are those of an older model.
    whole = base(method=OPEN, out=tmp_path / "whole")
    assert "factors.safetensors" in stored(tmp_path / "whole")
    out = tmp_path / "run"
    first = base(method=OPEN, out=out, should_stop=at_call(call))
    assert first.stopped == "interrupted"
    assert_same_run(base(method=OPEN, resume=out), whole)


def test_open_factors_are_estimated_more_often_in_the_first_epoch(monkeypatch):
    seen = []

    def spy(method, few, y, state0, *, batch):
        seen.append(str(bits(few.model)))
        # Persistent states are where these examples start, at rest at first.
        assert state0 is not None
        assert len(y) == len(state0[0]) == few.batch
        assert any(np.any(s) for s in state0) == (len(seen) > 2)
        assert batch == 5
        return relaxation_factors(method, few, y, state0, batch=batch)

    monkeypatch.setattr("eqprop.training._trainer.relaxation_factors", spy)
    run = base(method=OPEN, persistent=True)
    # Once to compile it, three times in the first five batches, once in five later.
    assert len(seen) == 1 + 3 + len(run.metrics) - 1
    # Each time of the model as it is by then.
    assert len(set(seen[1:])) == len(seen) - 1


def test_the_model_that_training_started_from_is_left_alone():
    # The compiled loop reuses the memory of its arguments; those are copies.
    model = chain()
    before = bits(model)
    base(model=model)
    assert bits(model) == before
