from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import (
    _check_partial_fit_first_call,
    check_classification_targets,
)
from sklearn.utils.validation import _check_sample_weight, validate_data

from ...energies import CrossEntropy, SquaredError
from ._base import AbstractEquilibriumPropagation, PRECISIONS


def _has_probabilities(estimator: Any) -> bool:
    """Only the cross-entropy reads the outputs as probabilities."""
    if isinstance(estimator._parts()["cost"], CrossEntropy):
        return True
    raise AttributeError(
        "Probabilities need `cost=ep.CrossEntropy()`: with any other cost the outputs "
        "are none. `decision_function` gives them as they are."
    )


class EquilibriumPropagationClassifier(ClassifierMixin, AbstractEquilibriumPropagation):
    """A classifier for scikit-learn that learns by Equilibrium Propagation.

    A chain of layers, [`eqprop.nets.mlp`][], with one linear output for each class, is
    trained by [`eqprop.fit`][] with [`eqprop.Adam`][]. The class predicted is that of
    the largest output at equilibrium. As for every network inputs should be of size 1
    or so: put a `StandardScaler` or `MinMaxScaler` before it.

    Numbers are JAX's: float32, or float64 after `jax.config.update("jax_enable_x64",
    True)`. One `random_state`, one result, bit for bit (on a CPU).

    **Main arguments:**

    - `hidden_layer_sizes`: the size of each hidden layer.
    - `unit`: the hidden units, by default `ep.HardSigmoid()`.
    - `cost`: by default `ep.SquaredError()`, to one-hot targets. With
        `ep.CrossEntropy()` the outputs are logits and there is `predict_proba`; their
        feedback into the hidden units grows with them, and saturates more of these.
    - `nudging`: which phases are contrasted, by default `ep.Centered(beta=0.2)`.
    - `solver`: how phases settle, by default `ep.BlockCoordinate` with a tolerance.
    - `learning_rate`: of Adam.
    - `batch_size`: examples in a batch, at most.
    - `max_epochs`: passes over the data, at most.

    The fields of `unit`, `cost`, `nudging` and `solver` are parameters too, to be set
    and searched: `nudging__beta`, `solver__max_steps`.

    **Other arguments:**

    - `tol`, `patience`: training ends after `patience` epochs in which the training
        cost did not fall by more than `tol` below its least (with `early_stopping`, in
        which the score on the part held out did not rise by more than `tol`). The
        weights are then those of the best epoch.
    - `early_stopping`, `validation_fraction`: whether to hold out a part of the data,
        and how large.
    - `class_weight`: a number for each class in a dictionary, or `"balanced"`; by
        default 1.
    - `warm_start`: whether `fit` starts from the weights of the fit before.
    - `random_state`: an integer, for the weights, the order and what is held out.

    **Attributes:**

    - `model_`: the trained [`eqprop.Model`][].
    - `classes_`, `n_features_in_`, `feature_names_in_`, `n_outputs_`: as everywhere.
    - `n_iter_`, `loss_curve_`, `loss_`: epochs so far, their mean costs, the last.
    - `validation_scores_`, `best_validation_score_`: with `early_stopping`.

    ??? cite "Scellier & Bengio 2017"
        arXiv:1602.05179.
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        *,
        unit: Any = None,
        cost: Any = None,
        nudging: Any = None,
        solver: Any = None,
        learning_rate: Any = 3e-3,
        batch_size: Any = 128,
        max_epochs: Any = 200,
        tol: Any = 1e-4,
        patience: Any = 10,
        early_stopping: Any = False,
        validation_fraction: Any = 0.1,
        class_weight: Any = None,
        warm_start: Any = False,
        random_state: Any = None,
    ):
        super().__init__(
            hidden_layer_sizes,
            unit=unit,
            cost=cost,
            nudging=nudging,
            solver=solver,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_epochs=max_epochs,
            tol=tol,
            patience=patience,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.class_weight = class_weight

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "EquilibriumPropagationClassifier":
        """Trains on all examples, for at most `max_epochs` epochs.

        **Arguments:**

        - `X`: numbers, `[n, features]`.
        - `y`: classes, `[n]`.
        - `sample_weight`: one number for each example, at least 0; by default 1.

        **Raises:**

        - `ValueError`: inputs or parameters that make no sense, or training diverged.
        """
        keep = self.warm_start and self.__sklearn_is_fitted__()
        x, y = self._checked(X, y, reset=not keep)
        classes = np.unique(y)
        if keep and not np.array_equal(classes, self.classes_):
            raise ValueError(
                f"`warm_start` goes on with the classes {self.classes_!r}, but `y` has "
                f"{classes!r}. Pass `warm_start=False` to start anew."
            )
        self.classes_ = classes
        weight = self._weight(sample_weight, x, y)
        found = np.searchsorted(classes, y)
        return self._train(x, self._targets(y), weight, keep=keep, strata=found)

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> "EquilibriumPropagationClassifier":
        """One epoch more, on these examples, with the same optimizer.

        **Arguments:**

        - `X`, `y`, `sample_weight`: as for `fit`.
        - `classes`: all classes there will be; in the first call.
        """
        keep = self.__sklearn_is_fitted__()
        if self.class_weight == "balanced":
            raise ValueError(
                '`class_weight="balanced"` needs all of `y` at once, and `partial_fit` '
                "sees a part. Pass a dictionary: `dict(zip(classes, "
                'compute_class_weight("balanced", classes=classes, y=y)))`.'
            )
        x, y = self._checked(X, y, reset=not keep)
        _check_partial_fit_first_call(self, classes)
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(
                f"`y` has {unknown!r}, which were not among the `classes` of the first "
                f"call: {self.classes_!r}."
            )
        weight = self._weight(sample_weight, x, y)
        return self._train_once(x, self._targets(y), weight, keep=keep)

    def predict(self, X: Any) -> NDArray[Any]:
        """The class of the largest output at equilibrium.

        **Arguments:**

        - `X`: numbers, `[n, features]`.
        """
        outputs = self._settled(X)[0]
        return self.classes_[np.argmax(outputs, axis=1)]

    def decision_function(self, X: Any) -> NDArray[Any]:
        """The outputs at equilibrium, `[n, classes]`; of two classes the difference of
        the second to the first, `[n]`.

        **Arguments:**

        - `X`: numbers, `[n, features]`.
        """
        outputs = self._settled(X)[0]
        return outputs[:, 1] - outputs[:, 0] if outputs.shape[1] == 2 else outputs

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """The probability of every class: the softmax of the outputs at equilibrium.
        Only with `cost=ep.CrossEntropy()`.

        **Arguments:**

        - `X`: numbers, `[n, features]`.

        **Returns:**

        `[n, classes]`, in the order of `classes_`.
        """
        probabilities = self._settled(X)[1]
        return probabilities / np.sum(probabilities, axis=1, keepdims=True)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> NDArray[Any]:
        """The logarithms of `predict_proba`.

        **Arguments:**

        - `X`: numbers, `[n, features]`.
        """
        outputs = self._settled(X)[0]
        high = np.max(outputs, axis=1, keepdims=True)
        total = np.sum(np.exp(outputs - high), axis=1, keepdims=True)
        return outputs - high - np.log(total)

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[NDArray[Any], ...]:
        checked: Any = validate_data(self, X, y, dtype=PRECISIONS, reset=reset)
        x, y = checked
        check_classification_targets(y)
        return x, column_or_1d(y, warn=True)

    def _weight(self, given: Any, x: NDArray[Any], y: NDArray[Any]) -> NDArray[Any]:
        weight = _check_sample_weight(
            given, x, dtype=np.float64, ensure_non_negative=True
        )
        if self.class_weight is None:
            return weight
        return weight * compute_sample_weight(self.class_weight, y)

    def _targets(self, y: NDArray[Any]) -> NDArray[Any]:
        self.n_outputs_ = len(self.classes_)
        return np.asarray(y[:, None] == self.classes_[None, :], np.float64)

    def _default_cost(self):
        return SquaredError()

    def _watched(self, y, weight):
        return "validation_error", 100.0
