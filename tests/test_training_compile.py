"""Numbers are arguments of what is compiled: others of them compile nothing."""

import pytest

import eqprop as ep
from compiling import compiling
from eqprop.relaxation import _relax
from helpers_training import chain, splits, without_seconds


def run_with(*, beta, step_size, atol, rate, final, seed, epochs, certify):
    method = ep.EquilibriumProp(
        ep.Centered(beta),
        ep.Euler(step_size=step_size, max_steps=4, stop=ep.Tolerance(atol)),
        ep.Euler(step_size=step_size, max_steps=2, certify=certify),
    )
    optimizer = ep.SGD(rate, schedule=ep.Cosine(final))
    return ep.fit(
        chain(),
        splits(),
        method,
        optimizer,
        epochs=epochs,
        batch_size=5,
        seed=seed,
    )


FIRST = {
    "beta": 0.2,
    "step_size": 0.5,
    "atol": 1e-3,
    "rate": [0.3, 0.1],
    "final": 0.0,
    "seed": 0,
    "epochs": 2,
    "certify": 1e-3,
}
OTHERS = {
    "beta": 0.3,
    "step_size": 0.4,
    "atol": 1.0,
    "rate": [0.2, 0.2],
    "final": 0.5,
    "seed": 7,
    "epochs": 3,
    "certify": 0.5,
}


def run_logged(**numbers) -> tuple[ep.training.Run, list[str]]:
    """A run, and what was compiled for it."""
    with compiling() as names:
        run = run_with(**numbers)
    return run, names


@pytest.fixture(scope="module")
def first():
    return run_logged(**FIRST)


def test_a_first_run_compiles_training_and_evaluation_once(first):
    run, names = first
    assert len(run.metrics) == FIRST["epochs"]
    assert names.count("train_batches") == 1
    assert names.count("evaluate_batches") == 1


@pytest.mark.parametrize("name", FIRST)
def test_another_number_compiles_nothing(name, first):
    run, names = run_logged(**FIRST | {name: OTHERS[name]})
    assert not {"train_batches", "evaluate_batches"} & set(names)
    # The other number had its effect.
    assert without_seconds(run) != without_seconds(first[0])


def test_training_goes_on_from_the_trace_of_its_check(monkeypatch):
    # Most of what a second start takes is tracing: each phase of a batch, once.
    traced = []
    settle = _relax._settle

    def spy(landscape, *rest):
        traced.append(landscape.batch)
        return settle(landscape, *rest)

    monkeypatch.setattr(_relax, "_settle", spy)
    method = ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate(max_steps=3))
    data = splits()
    assert data.validation is not None
    ep.fit(chain(), data, method, ep.SGD(0.1), epochs=1, batch_size=6)
    # Besides: the examples that ω is estimated on, and those of the validation.
    others = {len(data.train), len(data.validation)}
    assert [n for n in traced if n not in others] == [6, 6]
