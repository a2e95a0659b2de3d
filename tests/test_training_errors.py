"""Bad arguments are told before anything is compiled or written."""

import json
import logging
import os
import re
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning
from helpers_training import base, chain, euler, examples


class Bad(NamedTuple):
    changes: dict
    message: str


def parts(**changes) -> ep.data.Splits:
    fields = {"train": examples(), "validation": examples(7), "test": None, "name": "t"}
    return ep.data.Splits(**fields | changes)


def four_classes() -> ep.data.Dataset:
    rng = np.random.default_rng(0)
    return ep.data.dataset(rng.random((23, 5)), np.arange(23) % 4)


SWEEPS = ep.BlockCoordinate(max_steps=2)
LOGITS = ep.Model(chain().energy, ep.CrossEntropy())
TWO_EPOCHS = ep.data.GivenOrder(np.stack([np.arange(23)] * 2))


class OnlyThree(ep.data.AbstractOrder):
    """No order of all examples."""

    def __call__(self, key, epoch, size):
        return jnp.arange(3)


BAD = {
    "no epochs": Bad({"epochs": 0}, "`epochs` must be an integer 1 or more.*is 0"),
    "true epochs": Bad({"epochs": True}, "`epochs`.*is True"),
    "empty batch": Bad({"batch_size": 0}, "`batch_size`.*between 1 and 23.*is 0"),
    "batch larger than the data": Bad(
        {"batch_size": 24}, "`batch_size`.*between 1 and 23.*23 training examples.*24"
    ),
    "negative seed": Bad({"seed": -1}, "`seed`.*between 0 and 4294967295.*is -1"),
    "large seed": Bad({"seed": 2**32}, "`seed`.*is 4294967296"),
    "no data": Bad({"data": examples()[:0]}, "(?i)empty|0 training examples"),
    "no validation data": Bad(
        {"data": parts(validation=examples()[:0])}, "(?i)data.validation.*empty"
    ),
    "narrow input": Bad(
        {"data": examples(inputs=4)}, r"`data\.train`.*shape \(4,\).*do not fit"
    ),
    "narrow validation input": Bad(
        {"data": parts(validation=examples(7, inputs=4))},
        r"`data\.validation`.*shape \(4,\).*do not fit",
    ),
    "classes": Bad(
        {"data": four_classes()}, r"`data\.train`.*targets of \(4,\).*do not fit"
    ),
    "rates": Bad(
        {"optimizer": ep.SGD([0.1, 0.2, 0.3])},
        r"`learning_rate` has shape \(3,\).*each of hidden1, output",
    ),
    "rates with a readout": Bad(
        {
            "model": helpers_learning.readout(ep.SquaredError()).model,
            "optimizer": ep.Adam([0.1, 0.2]),
        },
        r"shape \(2,\).*each of hidden1, output, readout",
    ),
    "rates without layers": Bad(
        {
            "model": helpers_learning.own_energy().model,
            "optimizer": ep.SGD([0.1, 0.2]),
        },
        "`learning_rate` holds 2 rates.*`FunctionEnergy` has no layers.*single number",
    ),
    "order of other data": Bad(
        {"order": ep.data.GivenOrder(np.arange(22))}, r"`indices` has shape \(22,\).*23"
    ),
    "order of fewer epochs": Bad(
        {"order": TWO_EPOCHS, "epochs": 3}, r"`indices` has shape \(2, 23\).*epoch 2"
    ),
    "order of fewer examples": Bad({"order": OnlyThree()}, "order"),
    "lateral layers in sweeps": Bad(
        {
            "model": helpers_learning.lateral().model,
            "method": ep.EquilibriumProp(ep.Centered(0.2), SWEEPS),
        },
        "`BlockCoordinate` needs an interaction that is affine",
    ),
    "lateral layers in nudged sweeps": Bad(
        {
            "model": helpers_learning.lateral().model,
            "method": ep.EquilibriumProp(ep.Centered(0.2), euler(2), SWEEPS),
        },
        "`BlockCoordinate` needs an interaction that is affine",
    ),
    "clamped logits": Bad(
        {"model": LOGITS, "method": ep.EquilibriumProp(ep.Clamped(), euler(2))},
        "`Clamped`.*`CrossEntropy`",
    ),
    "out and resume": Bad({"resume": "there"}, "`out=.*` and `resume='there'` exclude"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_before_anything_is_done(name, tmp_path, caplog):
    changes, message = BAD[name]
    out = tmp_path / "run"
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        with pytest.raises(ValueError, match=message):
            base(**{"out": out} | changes)
    compiled = any("Compiling jit(train_" in r.getMessage() for r in caplog.records)
    caplog.clear()
    assert not compiled
    assert not out.exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="not an empty folder.*nothing is overwritten"):
        base(out=tmp_path)
    with pytest.raises(ValueError, match="not an empty folder"):
        base(out=tmp_path / "mine.txt")
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Could not make the run directory"):
        base(out=tmp_path / "file" / "run")


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        base(resume=tmp_path / "nothing")
    with pytest.raises(ValueError, match="is not a run"):
        base(resume=tmp_path)


NONSENSE = {
    "negative": (lambda: ep.SGD(-0.1), "`learning_rate` of `SGD`.*at least 0.*-0.1"),
    "nan": (lambda: ep.SGD(float("nan")), "`learning_rate` of `SGD`.*finite.*nan"),
    "infinite": (lambda: ep.Adam(float("inf")), "`learning_rate` of `Adam`.*inf"),
    "one of two": (lambda: ep.SGD([0.1, -0.2]), r"`learning_rate` of `SGD`.*-0\.2"),
    "nested": (
        lambda: ep.SGD([[0.1, 0.2]]),
        "`learning_rate` of `SGD`.*row of numbers",
    ),
    "momentum": (lambda: ep.SGD(0.1, momentum=1.0), "`momentum` of `SGD`.*below 1"),
    "negative momentum": (lambda: ep.SGD(0.1, momentum=-0.5), "`momentum`.*at least 0"),
    "b1": (lambda: ep.Adam(b1=1.0), "`b1` of `Adam`.*below 1"),
    "b2": (lambda: ep.Adam(b2=-0.1), "`b2` of `Adam`.*at least 0"),
    "eps": (lambda: ep.Adam(eps=0.0), "`eps` of `Adam`.*above 0"),
    "final": (lambda: ep.Cosine(-0.1), "`final` of `Cosine`.*at least 0"),
    "nan final": (lambda: ep.Cosine(float("nan")), "`final` of `Cosine`.*finite"),
    "factor": (lambda: ep.Exponential(0.0), "`factor` of `Exponential`.*above 0"),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_numbers_are_refused_when_they_are_made(name):
    make, message = NONSENSE[name]
    with pytest.raises((TypeError, ValueError), match=message):
        make()


def test_evaluating_data_that_do_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"`data` holds examples of shape \(4,\)"):
        ep.evaluate(chain(), examples(inputs=4), euler(2))
    with pytest.raises(ValueError, match="(?i)`data`.*empty"):
        ep.evaluate(chain(), examples()[:0], euler(2))


# What these tests themselves can't see: types are checked here by beartype before the
# library's own messages get a chance, and all floats have 64 bits.
PLAIN = """
import json, sys
import jax, numpy as np
import eqprop as ep
from helpers_training import base, chain, euler, examples, fit_by_hand, descend
from helpers_training import all_finite, relative_distance

def message(**changes):
    try:
        base(**changes)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"

out = {
    "model": message(model=chain().energy),
    "data": message(data=(np.zeros((5, 5)), np.zeros(5))),
    "method": message(method=ep.Centered(0.2)),
    "optimizer": message(optimizer="adam"),
    "order": message(order="shuffled"),
    "epochs": message(epochs=2.5),
    "batch_size": message(batch_size="5"),
}
method = ep.EquilibriumProp(ep.Centered(0.2), euler(4), euler(2))
data, model = examples(41), chain()
options = {"epochs": 2, "batch_size": 1, "seed": 2**32 - 1}

def update(model, gradient, step, epoch):
    return descend(model, gradient, [0.3 * 0.125 ** (step // 41)] * 5)

optimizer = ep.SGD(0.3, schedule=ep.Exponential(0.125))
run = ep.fit(model, data, method, optimizer, **options)
hand = fit_by_hand(model, data, method, update, **options)
out["types"] = sorted({str(a.dtype) for a in jax.tree.leaves(run.model)})
out["difference"] = relative_distance(run.model, hand)
narrow = jax.tree.map(lambda a: a.astype("bfloat16"), chain())
run = base(model=narrow, data=examples(), epochs=1)
out["bfloat16"] = sorted({str(a.dtype) for a in jax.tree.leaves(run.model)})
out["bfloat16 finite"] = all_finite(run.model)
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def plain(request):
    """The same library without test settings: float32, no checks of annotations."""
    path = os.pathsep.join([str(request.path.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", PLAIN],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path.rstrip(os.pathsep)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name, message",
    [
        ("model", r"TypeError: `model` is a Network\. Pass `ep\.Model"),
        ("data", r"TypeError: `data` is a tuple\. Pass .*ep\.data\.dataset"),
        ("method", r"TypeError: `method` is a Centered\. Pass an `ep\.EquilibriumProp"),
        ("optimizer", "TypeError: `optimizer` is a str"),
        ("order", "TypeError: `order` is a str"),
        ("epochs", r"(Type|Value)Error: `epochs`.*integer.*2\.5"),
        ("batch_size", "(Type|Value)Error: `batch_size`.*integer.*'5'"),
    ],
)
def test_arguments_of_another_type_are_named(plain, name, message):
    assert re.match(message, plain[name])


def test_float32_trains_as_the_loop_by_hand(plain):
    # 82 updates, with round-off of 6e-8 over β each. An epoch's 41 batches are a trap:
    # 41 · (1/41) is less than 1 in float32, and XLA divides by multiplying.
    assert plain["types"] == ["float32"]
    assert plain["difference"] < 1e-5


def test_bfloat16_trains_as_well(plain):
    assert plain["bfloat16"] == ["bfloat16"]
    assert plain["bfloat16 finite"]
