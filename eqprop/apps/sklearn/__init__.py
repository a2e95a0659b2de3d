"""Estimators for scikit-learn."""

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        'The estimators need scikit-learn: `pip install "eqprop[sklearn]"`.'
    ) from error

from ._classifier import (
    EquilibriumPropagationClassifier as EquilibriumPropagationClassifier,
)
from ._regressor import (
    EquilibriumPropagationRegressor as EquilibriumPropagationRegressor,
)
