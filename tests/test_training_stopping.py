"""Training that ends early, and goes back to its best epoch."""

import itertools

import numpy as np
import pytest

import eqprop as ep
from eqprop.training import EarlyStopping
from helpers_training import bits, chain, examples, METHOD, splits, without_seconds


def rows(values) -> list[dict[str, float]]:
    return [{"epoch": k, "train_cost": v} for k, v in enumerate(values)]


def exhausted_by_hand(values, patience: int, tolerance: float) -> bool:
    """No epoch of the last `patience` is below all before it by more than
    `tolerance`."""
    if len(values) < patience:
        return False
    return not any(
        values[k] < min(values[:k], default=np.inf) - tolerance
        for k in range(len(values) - patience, len(values))
    )


@pytest.mark.parametrize(
    "patience, tolerance", [(1, 0.0), (2, 0.0), (2, 1.0), (3, 0.0)]
)
def test_patience_ends_where_its_definition_says(patience, tolerance):
    stopping = EarlyStopping("train_cost", patience, tolerance)
    for values in itertools.product((1.0, 2.0, 3.0), repeat=5):
        wanted = exhausted_by_hand(values, patience, tolerance)
        assert stopping.exhausted(rows(values)) == wanted, values


def train(stopping: EarlyStopping | None, **options) -> ep.training.Run:
    defaults = {"epochs": 30, "batch_size": 5}
    rate = ep.SGD(2.0)  # too large on purpose: errors go up and down
    return ep.fit(
        chain(), splits(), METHOD, rate, early_stopping=stopping, **defaults | options
    )


def test_training_ends_after_its_patience_with_the_best_model():
    run = train(EarlyStopping("validation_cost", patience=3))
    costs = [row["validation_cost"] for row in run.metrics]
    best = int(np.argmin(costs))
    assert run.stopped == "early"
    assert run.best_epoch == best
    assert len(costs) == best + 1 + 3 < 30
    # The model is that of a run that ends there.
    assert bits(run.model) == bits(train(None, epochs=best + 1).model)
    assert bits(run.model) != bits(train(None, epochs=len(costs)).model)


def test_the_best_model_is_the_result_also_of_all_epochs():
    run = train(EarlyStopping("validation_cost", patience=30), epochs=6)
    best = int(np.argmin([row["validation_cost"] for row in run.metrics]))
    assert (run.stopped, best < 5) == ("finished", True)
    assert bits(run.model) == bits(train(None, epochs=best + 1).model)


# How often it is asked: five batches are an epoch, and as many chunks at most.
@pytest.mark.parametrize("chunks", [1, 4])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(tmp_path, chunks):
    stopping = EarlyStopping("validation_cost", patience=3)
    whole = train(stopping)
    asked = iter(range(chunks))
    run = train(
        stopping,
        out=tmp_path / "run",
        should_stop=lambda: next(asked, None) is None,
    )
    assert run.stopped == "interrupted"
    again = train(stopping, resume=tmp_path / "run")
    assert bits(again.model) == bits(whole.model)
    assert without_seconds(again) == without_seconds(whole)
    assert (again.stopped, again.best_epoch) == ("early", whole.best_epoch)
    # What was stopped stays stopped.
    once_more = train(stopping, resume=tmp_path / "run", epochs=60)
    assert len(once_more.metrics) == len(whole.metrics)
    assert bits(once_more.model) == bits(whole.model)


def test_what_cannot_be_watched_is_refused():
    with pytest.raises(ValueError, match="`metric` of `EarlyStopping` is 'loss'"):
        EarlyStopping("loss")
    with pytest.raises(ValueError, match="`patience` of `EarlyStopping` must be a pos"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="`tolerance` of `EarlyStopping` must be a f"):
        EarlyStopping(tolerance=-1.0)
    few = [chain(), examples(), METHOD, ep.Adam()]
    with pytest.raises(ValueError, match="`data` has no validation part"):
        ep.fit(*few, batch_size=5, early_stopping=EarlyStopping())
