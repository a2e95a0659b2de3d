"""Metrics are what they say: recomputed in NumPy, example by example."""

import numpy as np
import pytest

import eqprop as ep
from eqprop.training._evaluate import first_examples
from helpers_training import (
    base,
    batches_by_hand,
    chain,
    ChainByHand,
    euler,
    examples,
    METHOD,
    splits,
)


# 95 examples in threes: 32 batches, the last of two examples and one of padding; two
# of the 32 are among "every 16th", the first and the seventeenth.
COUNT, BATCH, EPOCHS, SEED, BETA = 95, 3, 2, 5, 0.4
FREE_STEPS, NUDGED_STEPS = 5, 2
# Within the range of the residuals after so few steps: some are above, some below.
CERTIFY = 0.1
RATES = (0.5, 0.1)


def free_steps(steps: int) -> ep.Euler:
    return euler(steps, certify=CERTIFY)


def mean(rows):
    """Means over all examples of dictionaries of one number each per example."""
    return {name: np.mean(np.concatenate([r[name] for r in rows])) for name in rows[0]}


def one_batch(net: ChainByHand, x, y):
    """The free metrics, the nudged ones, and the contrast's slopes."""
    h, o = net.settle(x, *net.rest(x), FREE_STEPS)
    nudged, slopes = [], []
    for beta in (BETA, -BETA):
        top, out = net.settle(x, h, o, NUDGED_STEPS, y, beta)
        residual = net.residual(x, top, out, y, beta)
        nudged.append({"residual": residual, "converged": 1.0 * (residual <= CERTIFY)})
        slopes.append([s / (2 * beta) for s in net.slopes(x, top, out)])
    contrast = [up + down for up, down in zip(*slopes, strict=True)]
    return net.free_metrics(x, y, h, o, CERTIFY), nudged, contrast


def rms(a):
    return np.sqrt(np.mean(a * a))


def train_by_hand(model, data, validation):
    net, rows = ChainByHand.of(model), []
    for epoch in range(EPOCHS):
        free, nudged, changes = [], [], []
        batches = batches_by_hand(SEED, epoch, len(data), BATCH)
        for index, batch in enumerate(batches):
            x, y = np.asarray(data.x[batch]), np.asarray(data.y[batch])
            seen, others, slopes = one_batch(net, x, y)
            free.append(seen)
            nudged += others
            alphas = [RATES[0], RATES[0], RATES[1], RATES[1]]
            steps = [-a * s for a, s in zip(alphas, slopes, strict=True)]
            parameters = [net.w, net.b, net.v, net.c]
            pairs = list(zip(steps, parameters, strict=True))
            if index % 16 == 0:
                changes.append([rms(d) / rms(p) for d, p in pairs[::2]])
            net = ChainByHand(*(p + d for d, p in pairs))
        x, y = np.asarray(validation.x), np.asarray(validation.y)
        state = net.settle(x, *net.rest(x), FREE_STEPS)
        held_out = net.free_metrics(x, y, *state, CERTIFY)
        row = {"epoch": epoch}
        row |= {f"validation_{name}": np.mean(v) for name, v in held_out.items()}
        seen = mean(free)
        row |= {"train_error": seen.pop("error"), "train_cost": seen.pop("cost")} | seen
        row |= {f"nudged_{name}": value for name, value in mean(nudged).items()}
        names = ("input-hidden1", "hidden1-output")
        shares = 100 * np.mean(changes, axis=0)
        row["weight_change"] = dict(zip(names, shares, strict=True))
        rows.append(row)
    return rows, net


def test_metrics_are_what_they_say():
    model = chain()
    data = ep.data.Splits(examples(COUNT), examples(11, seed=1), None, "tiny")
    assert data.validation is not None
    method = ep.EquilibriumProp(
        ep.Centered(BETA), free_steps(FREE_STEPS), free_steps(NUDGED_STEPS)
    )
    optimizer = ep.SGD(list(RATES))
    run = ep.fit(
        model, data, method, optimizer, epochs=EPOCHS, batch_size=BATCH, seed=SEED
    )
    rows, net = train_by_hand(model, data.train, data.validation)
    for row, expected in zip(run.metrics, rows, strict=True):
        assert row.keys() == expected.keys() | {"seconds", "compile_seconds"}
        for name, value in expected.items():
            assert row[name] == pytest.approx(value, rel=1e-9), name
    ours = ChainByHand.of(run.model)
    for name in ("w", "b", "v", "c"):
        np.testing.assert_allclose(getattr(ours, name), getattr(net, name), rtol=1e-9)
    # So that agreeing says something: none of the shares is all or nothing.
    for name in ("train_error", "saturation", "validation_error"):
        assert 0 < rows[0][name] < 100
    for name in ("converged", "nudged_converged"):
        assert 0 < rows[0][name] < 1


def test_evaluation_is_the_mean_over_all_examples(monkeypatch):
    model, data = chain(), examples(11)
    net = ChainByHand.of(model)
    x, y = np.asarray(data.x), np.asarray(data.y)
    state = net.settle(x, *net.rest(x), FREE_STEPS)
    # Between the residuals of the fifth and the sixth.
    certify = float(np.mean(np.sort(net.residual(x, *state))[4:6]))
    solver = euler(FREE_STEPS, certify=certify)
    expected = net.free_metrics(x, y, *state, certify)
    assert np.sum(expected["converged"]) == 5
    whole = ep.evaluate(model, data, solver)
    assert whole.keys() == expected.keys()
    # Cut into three, the last with a place for padding.
    monkeypatch.setattr("eqprop.training._evaluate._BATCH", 4)
    parts = ep.evaluate(model, data, solver)
    for name, values in expected.items():
        assert whole[name] == pytest.approx(np.mean(values), rel=1e-12), name
        assert parts[name] == pytest.approx(np.mean(values), rel=1e-12), name


@pytest.mark.parametrize(
    ("size", "count"), [(23, 23), (128 * 128, 128), (128 * 130 + 5, 130)]
)
def test_open_factors_are_estimated_on_one_example_in_128(size, count):
    data = examples(size)
    found = first_examples(chain(), data)
    np.testing.assert_array_equal(found.x, data.x[:count])
    assert found.batch == count


def test_persistent_states_go_on_where_they_stopped():
    # Without learning, e epochs of n steps are e·n steps from rest: also where nudged
    # phases, whose states are not kept, come in between.
    frozen = ep.SGD([0.0, 0.0], momentum=0.5)
    run = base(optimizer=frozen, persistent=True)
    fresh = base(optimizer=frozen, persistent=False)
    data, net = splits(), ChainByHand.of(chain())
    assert data.validation is not None
    steps = METHOD.solver.max_steps
    for epoch in range(3):
        for part, prefix in ((data.train, ""), (data.validation, "validation_")):
            x = np.asarray(part.x)
            for found, count in ((run, steps * (epoch + 1)), (fresh, steps)):
                state = net.settle(x, *net.rest(x), count)
                expected = np.mean(net.residual(x, *state))
                residual = found.metrics[epoch][f"{prefix}residual"]
                assert residual == pytest.approx(expected, rel=1e-9)
    assert run.metrics[2]["residual"] < 0.5 * fresh.metrics[2]["residual"]
