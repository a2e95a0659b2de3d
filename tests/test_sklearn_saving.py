"""Fitted estimators saved without pickle, and with it."""

import io
import json
import pickle

import numpy as np
import pandas as pd
import pytest

import eqprop as ep
from helpers_training import bits


pytestmark = pytest.mark.filterwarnings(
    "ignore:Training ended after:sklearn.exceptions.ConvergenceWarning"
)

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(30, 3)), columns=["a", "b", "c"])
LABELS = np.digitize(X["a"], [-0.4, 0.4])

Classifier = ep.EquilibriumPropagationClassifier
Regressor = ep.EquilibriumPropagationRegressor


def fitted(y, **params):
    kind = Regressor if np.asarray(y).dtype.kind == "f" else Classifier
    defaults = {"hidden_layer_sizes": (4, 3), "max_epochs": 2, "random_state": 0}
    return kind(**(defaults | params)).fit(X, y)


CASES = {
    "integers": (LABELS, {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}),
    "strings": (np.array(["u", "vw", "x"])[LABELS], {"cost": ep.CrossEntropy()}),
    "objects": (np.array(["u", "vw", "x"], object)[LABELS], {"early_stopping": True}),
    "booleans": (LABELS > 0, {"nudging": ep.Coupled(0.3), "unit": ep.Tanh()}),
    "one target": (np.asarray(X["a"]), {"solver": ep.BlockCoordinate(max_steps=9)}),
    "two targets": (np.asarray(X[["a", "b"]]), {"solver": ep.Euler(0.3, 20)}),
}


@pytest.mark.filterwarnings("ignore:In :sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", CASES)
def test_what_is_loaded_is_what_was_saved(tmp_path, case):
    y, params = CASES[case]
    saved = fitted(y, **params)
    saved.save(tmp_path / "saved")
    loaded = type(saved).load(tmp_path / "saved")
    assert bits(loaded.model_) == bits(saved.model_)
    predicted = saved.predict(X)
    assert loaded.predict(X).tolist() == predicted.tolist()
    assert loaded.predict(X).dtype == predicted.dtype
    for name in ("feature_names_in_", "loss_curve_", "n_iter_", "n_features_in_"):
        assert np.array_equal(getattr(loaded, name), getattr(saved, name)), name
    assert repr(loaded) == repr(saved)


def test_after_loading_training_goes_on_as_if_never_saved(tmp_path):
    options = {"nudging": ep.RandomSign(0.3), "batch_size": 8, "random_state": 0}
    saved = Classifier((4,), **options).partial_fit(X, LABELS, [0, 1, 2])
    saved.save(tmp_path / "saved")
    loaded = Classifier.load(tmp_path / "saved")
    for _ in range(2):
        saved.partial_fit(X, LABELS)
        loaded.partial_fit(X, LABELS)
    assert bits(loaded.model_) == bits(saved.model_)


def test_pickle_works_where_it_is_wanted():
    saved = fitted(LABELS)
    loaded = pickle.load(io.BytesIO(pickle.dumps(saved)))
    assert bits(loaded.model_) == bits(saved.model_)
    assert (loaded.predict(X) == saved.predict(X)).all()


def test_what_is_damaged_or_something_else_is_refused(tmp_path):
    folder = tmp_path / "saved"
    with pytest.raises(ValueError, match="There is no estimator at"):
        Classifier.load(folder)
    saved = fitted(LABELS)
    saved.save(folder)
    with pytest.raises(ValueError, match="exists already"):
        saved.save(folder)
    with pytest.raises(ValueError, match="holds EquilibriumPropagationClassifier, and"):
        Regressor.load(folder)
    tensors = folder / "model.safetensors"
    raw = bytearray(tensors.read_bytes())
    raw[-1] ^= 1
    tensors.write_bytes(raw)
    with pytest.raises(ValueError, match="is corrupt: its sha256"):
        Classifier.load(folder)
    manifest = folder / "manifest.json"
    content = json.loads(manifest.read_text())
    content["info"]["parameters"]["unit"] = {"part": {"type": "system"}}
    manifest.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="its checksum does not match"):
        Classifier.load(folder)


def test_what_no_file_can_hold_is_refused(tmp_path):
    folder = tmp_path / "saved"
    saved = fitted(LABELS, random_state=np.random.RandomState(0))
    with pytest.raises(
        ValueError, match="`random_state` is RandomState.* can't be sav"
    ):
        saved.save(folder)
    assert not folder.exists()
