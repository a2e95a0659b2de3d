"""scikit-learn's own checks of an estimator: all of them, no failure declared."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

import eqprop as ep


# A few of the checks ask for more epochs or steps than they give time for.
warns = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# In larger steps than the default's, and so sooner done.
SOON = {"hidden_layer_sizes": (20,), "learning_rate": 0.02, "max_epochs": 60}


@warns
@parametrize_with_checks([ep.EquilibriumPropagationClassifier(**SOON)])
def test_the_classifier_is_one_to_scikit_learn(estimator, check):
    check(estimator)


@warns
@parametrize_with_checks([ep.EquilibriumPropagationRegressor(**SOON)])
def test_the_regressor_is_one_to_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.long
@warns
@parametrize_with_checks(
    [
        ep.EquilibriumPropagationClassifier(),
        ep.EquilibriumPropagationRegressor(),
        ep.EquilibriumPropagationClassifier(cost=ep.CrossEntropy()),
        ep.EquilibriumPropagationRegressor((16, 8), unit=ep.Tanh()),
    ]
)
def test_the_defaults_and_other_parameters_pass_as_well(estimator, check):
    check(estimator)
