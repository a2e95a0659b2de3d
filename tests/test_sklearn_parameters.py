"""Parameters of the estimators: nested ones, wrong ones, and what they stand for."""

import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import eqprop as ep


X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.arange(12) % 2


def test_fields_of_modules_are_parameters():
    clf = ep.EquilibriumPropagationClassifier(nudging=ep.OneSided(0.3))
    params = clf.get_params()
    assert params["nudging"] is clf.nudging
    assert float(params["nudging__beta"]) == pytest.approx(0.3)
    # What a default stands for has fields too.
    assert params["solver"] is None
    assert params["solver__max_steps"] == 100
    assert float(params["solver__stop__atol"]) == pytest.approx(1e-4)
    assert "nudging__beta" not in clf.get_params(deep=False)


def test_a_field_is_set_in_a_copy():
    nudging = ep.OneSided(0.3)
    clf = ep.EquilibriumPropagationClassifier(nudging=nudging)
    copy = clone(clf).set_params(
        nudging__beta=0.1, solver__stop__atol=1e-6, solver__max_steps=7
    )
    assert isinstance(copy.nudging, ep.OneSided)
    assert float(copy.nudging.beta) == pytest.approx(0.1)
    assert copy.solver.max_steps == 7
    assert float(copy.solver.stop.atol) == pytest.approx(1e-6)
    assert float(nudging.beta) == pytest.approx(0.3)
    assert clf.solver is None


def test_a_new_part_comes_before_its_fields():
    clf = ep.EquilibriumPropagationClassifier()
    clf.set_params(nudging__eta=0.25, nudging=ep.Coupled(0.5))
    assert isinstance(clf.nudging, ep.Coupled)
    assert float(clf.nudging.eta) == 0.25


def test_fields_are_reached_through_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), ep.EquilibriumPropagationClassifier())
    pipeline.set_params(equilibriumpropagationclassifier__nudging__beta=0.125)
    assert float(pipeline[-1].nudging.beta) == 0.125


@pytest.mark.parametrize(
    "params, message",
    [
        ({"nudging__bta": 1}, "a `Centered` has no field `bta`. Did you mean `beta`"),
        (
            {"nudging__beta__x": 1},
            "`nudging__beta__x`: .* has no fields. Set",
        ),
        ({"nudging__beta": -1.0}, "`beta` of `Centered` must be a finite number above"),
        ({"nudgin__beta": 1}, "Invalid parameter 'nudgin'"),
        ({"beta": 1}, "Invalid parameter 'beta'"),
    ],
)
def test_parameters_that_are_none_are_refused(params, message):
    with pytest.raises(ValueError, match=message):
        ep.EquilibriumPropagationClassifier().set_params(**params)


WRONG = {
    "hidden_layer_sizes": ((0,), ValueError, "`hidden_layer_sizes` must hold the size"),
    "unit": ("relu", TypeError, r"`unit` must be an `AbstractUnit`, but is 'relu'"),
    "nudging": (0.2, TypeError, r"Pass `nudging=ep.Centered\(0.2\)`, or `None`"),
    "batch_size": (0, ValueError, "`batch_size` must be an integer of at least 1"),
    "max_epochs": (2.5, ValueError, "`max_epochs` must be an integer of at least 1"),
    "patience": (True, ValueError, "`patience` must be an integer"),
    "learning_rate": (-1, ValueError, "`learning_rate` must be a finite number of at"),
    "tol": (np.inf, ValueError, "`tol` must be a finite number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_by_fit(name):
    value, error, message = WRONG[name]
    clf = ep.EquilibriumPropagationClassifier(**{name: value})
    with pytest.raises(error, match=message):
        clf.fit(X, Y)


def test_wrong_values_together_are_refused():
    clf = ep.EquilibriumPropagationClassifier(
        early_stopping=True, validation_fraction=1.0
    )
    with pytest.raises(ValueError, match="`validation_fraction` must be between 0 and"):
        clf.fit(X, Y)
    clf.set_params(validation_fraction=0.5)
    with pytest.raises(ValueError, match="`partial_fit` is one epoch on what"):
        clf.partial_fit(X, Y, [0, 1])
    with pytest.raises(ValueError, match="needs all of `y` at once"):
        ep.EquilibriumPropagationClassifier(class_weight="balanced").partial_fit(
            X, Y, [0, 1]
        )
    with pytest.raises(ValueError, match="a regressor predicts numbers"):
        ep.EquilibriumPropagationRegressor(cost=ep.CrossEntropy()).fit(X, Y)
    with pytest.raises(ValueError, match="is 0 for every example"):
        ep.EquilibriumPropagationClassifier(class_weight={0: 0, 1: 0}).fit(X, Y)


def test_scikit_learn_is_imported_when_it_is_needed():
    code = (
        "import sys, eqprop as ep\n"
        "ep.fit\n"
        "assert 'sklearn' not in sys.modules\n"
        "sys.modules['sklearn'] = None\n"
        "try:\n    ep.EquilibriumPropagationClassifier\n"
        "except ImportError as error:\n    print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert 'need scikit-learn: `pip install "eqprop[sklearn]"`' in run.stdout
