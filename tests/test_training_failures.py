"""Values that aren't finite stop a run, and what was good is kept."""

import equinox as eqx
import jax.numpy as jnp
import pytest

import eqprop as ep
from helpers_training import (
    all_finite,
    base,
    bits,
    chain,
    euler,
    last_model,
    splits,
    stored,
    without_seconds,
)


class Exploding(ep.training.AbstractSchedule):
    """No change until an epoch, and then rates that no float survives for long."""

    since: jnp.ndarray = eqx.field(converter=lambda t: jnp.asarray(float(t)))

    def __call__(self, epoch, epochs):
        return jnp.where(epoch >= self.since, 1e200, 1.0)


def exploding(since: float) -> ep.SGD:
    return ep.SGD([0.3, 0.1], momentum=0.5, schedule=Exploding(since))


def diverging(**options) -> ep.training.Run:
    with pytest.warns(ep.training.DivergenceWarning, match="became NaN or infinite"):
        return base(**options)


def test_an_explosion_ends_the_run_with_what_was_good_before(tmp_path):
    good = base(optimizer=exploding(9), epochs=2, out=tmp_path / "good")
    assert good.path is not None
    # In mid-epoch, after two batches more.
    run = diverging(optimizer=exploding(2.4), epochs=4, out=tmp_path / "run")
    assert run.path is not None
    assert run.stopped == "nonfinite"
    assert without_seconds(run) == without_seconds(good)
    assert bits(run.model) == bits(good.model)
    assert run.best_epoch == good.best_epoch
    assert stored(run.path) == stored(good.path)
    # Resumed with rates that do no harm, it goes on from there.
    again = base(optimizer=exploding(9), epochs=4, resume=run.path)
    whole = base(optimizer=exploding(9), epochs=4)
    assert again.stopped == "finished"
    assert bits(again.model) == bits(whole.model)


def test_weights_that_are_nan_stop_the_first_batch(tmp_path):
    where = lambda m: m.energy.edges[0].interaction.weight  # noqa: E731
    model = eqx.tree_at(where, chain(), where(chain()).at[2, 3].set(jnp.nan))
    run = diverging(model=model, out=tmp_path / "run")
    assert (run.stopped, run.metrics, run.best_epoch) == ("nonfinite", [], None)
    with pytest.raises(ValueError, match="no `last` checkpoint"):
        last_model(tmp_path / "run", model)


def test_the_warning_says_which_model_is_left():
    left = {1: "is that of epoch 1", 0: "is the one you gave"}
    for since, words in left.items():
        message = f"stopped in epoch {since + 1} of 3.*{words}"
        with pytest.warns(ep.training.DivergenceWarning, match=message):
            base(optimizer=exploding(since), epochs=3)


def test_an_input_that_is_nan_stops_the_run():
    data = splits()
    x = data.train.x.at[11, 2].set(jnp.nan)
    bad = ep.data.Splits(
        ep.data.Dataset(x, data.train.y), data.validation, None, "tiny"
    )
    assert diverging(data=bad).stopped == "nonfinite"


def test_a_cost_that_overflows_stops_the_run_though_the_weights_stay_finite():
    where = lambda m: m.energy.edges[3].interaction.bias  # noqa: E731
    far = eqx.tree_at(where, chain(), jnp.full(3, 1e200))
    run = diverging(model=far, optimizer=ep.SGD([0.0, 0.0], momentum=0.5))
    assert (run.stopped, run.metrics) == ("nonfinite", [])
    assert bits(run.model) == bits(far)


# 1 + β ≤ 0 leaves the outputs' squared error no minimum.
BETAS = {
    "one-sided": ep.OneSided(-1.0),
    "centered": ep.Centered(1.0),
    "random sign": ep.RandomSign(1.5),
}


SWEEPS = ep.BlockCoordinate(max_steps=1)


def hopeless(nudging: ep.AbstractNudging, **options) -> ep.training.Run:
    method, data = ep.EquilibriumProp(nudging, SWEEPS), splits().train
    return diverging(method=method, data=data, persistent=False, **options)


@pytest.mark.parametrize("name", BETAS)
def test_a_beta_without_minimum_is_reported(name):
    run = hopeless(BETAS[name])
    assert run.stopped == "nonfinite"
    assert bits(run.model) == bits(chain())


def test_the_last_update_of_an_epoch_is_looked_at_too():
    # A single batch: its cost is finite, the weights after it are not.
    run = hopeless(BETAS["one-sided"], batch_size=23, epochs=1)
    assert (run.stopped, run.metrics) == ("nonfinite", [])
    assert all_finite(run.model)


def test_an_interruption_never_saves_weights_that_are_not_finite(tmp_path, monkeypatch):
    # Asked to stop after the batch whose update was NaN, before the next cost is.
    monkeypatch.setattr("eqprop.training._trainer._REPORT_SECONDS", 0.0)
    calls = iter(range(100))
    run = hopeless(
        BETAS["one-sided"], out=tmp_path / "run", should_stop=lambda: next(calls) >= 1
    )
    assert run.stopped == "nonfinite"
    assert all_finite(run.model)
    assert not (tmp_path / "run" / "checkpoints" / "last").exists()


def test_states_that_run_away_are_told_by_the_metrics():
    # A step of 3 times 1 overshoots the linear outputs' minimum by twice the distance.
    wild = ep.Euler(step_size=3.0, max_steps=6)
    method = ep.EquilibriumProp(ep.RandomSign(0.3), wild, euler(3))
    run = base(method=method, optimizer=ep.SGD([0.0, 0.0], momentum=0.5), epochs=2)
    assert run.stopped == "finished"
    row = run.metrics[1]
    assert (row["converged"], row["validation_converged"]) == (0, 0)
    # Eleven doublings of a distance of about a half, in the mean over two epochs.
    assert 1e2 < row["residual"] < 1e5


def test_evaluating_what_is_not_finite_warns_and_counts_it_as_wrong():
    data = splits().train
    # Of class 0, which is what the largest of NaNs looks like.
    y = data.y.at[11].set(jnp.zeros(3).at[0].set(1.0))
    fine = ep.data.Dataset(data.x, y)
    bad = ep.data.Dataset(data.x.at[11, 2].set(jnp.nan), y)
    rest = jnp.delete(jnp.arange(len(data)), 11)
    errors = ep.evaluate(chain(), fine[rest], euler(5))["error"] * (len(data) - 1)
    with pytest.warns(ep.training.DivergenceWarning, match="settled to NaN"):
        found = ep.evaluate(chain(), bad, euler(5))
    assert found["error"] * len(data) == pytest.approx(errors + 100)
    assert found["converged"] < 1
