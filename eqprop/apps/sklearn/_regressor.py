from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from sklearn.base import RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.validation import _check_sample_weight, validate_data

from ...energies import CrossEntropy, SquaredError
from ._base import AbstractEquilibriumPropagation, PRECISIONS


class EquilibriumPropagationRegressor(RegressorMixin, AbstractEquilibriumPropagation):
    """A regressor for scikit-learn that learns by Equilibrium Propagation.

    Outputs are linear units, one for each target. Like every network it wants inputs
    and targets of size 1 or so: put a `StandardScaler` before it, and for targets
    `TransformedTargetRegressor` around it.

    **Arguments:** as for [`eqprop.EquilibriumPropagationClassifier`][], but

    - `cost`: [`eqprop.SquaredError`][] by default; not `CrossEntropy`.
    - there is no `class_weight`.

    With `early_stopping`, `validation_scores_` are $1 - C/C_0$, with $C$ the mean cost
    on the part held out and $C_0$ that of predicting its mean: R², for squared errors
    (weighted by the variance of each target, if there are several).
    """

    _flat: bool

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "EquilibriumPropagationRegressor":
        """Trains on all examples, for at most `max_epochs` epochs.

        **Arguments:**

        - `X`: numbers, `[n, features]`.
        - `y`: targets, `[n]` or `[n, outputs]`.
        - `sample_weight`: one number for each example, at least 0; by default 1.

        **Raises:**

        - `ValueError`: inputs or parameters that make no sense, or training diverged.
        """
        keep = self.warm_start and self.__sklearn_is_fitted__()
        x, targets, weight = self._checked(X, y, sample_weight, reset=not keep)
        return self._train(x, targets, weight, keep=keep)

    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None
    ) -> "EquilibriumPropagationRegressor":
        """One epoch more, on these examples, with the same optimizer.

        **Arguments:** as for `fit`.
        """
        keep = self.__sklearn_is_fitted__()
        x, targets, weight = self._checked(X, y, sample_weight, reset=not keep)
        return self._train_once(x, targets, weight, keep=keep)

    def predict(self, X: Any) -> NDArray[Any]:
        """The outputs at equilibrium.

        **Arguments:**

        - `X`: numbers, `[n, features]`.

        **Returns:**

        `[n]` or `[n, outputs]`, as the targets were.
        """
        predictions = self._settled(X)[1]
        return predictions[:, 0] if self._flat else predictions

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool
    ) -> tuple[NDArray[Any], ...]:
        if isinstance(self.cost, CrossEntropy):
            raise ValueError(
                "`cost` is `CrossEntropy()`, which is about classes, but a regressor "
                "predicts numbers. Pass `cost=None`, or use "
                "`EquilibriumPropagationClassifier`."
            )
        kinds = {"dtype": PRECISIONS, "multi_output": True, "y_numeric": True}
        checked: Any = validate_data(self, X, y, reset=reset, **kinds)
        x, y = checked
        weight = _check_sample_weight(
            sample_weight, x, dtype=np.float64, ensure_non_negative=True
        )
        self._flat = y.ndim == 1
        targets = y.reshape(len(y), -1).astype(np.float64)
        self.n_outputs_ = targets.shape[1]
        return x, targets, weight

    def _default_cost(self):
        return SquaredError()

    def _watched(self, y, weight):
        mean = np.average(y, axis=0, weights=weight)
        cost = jax.vmap(self._parts()["cost"], in_axes=(None, 0))
        costs = cost(jnp.asarray(mean, float), jnp.asarray(y, float))
        unit = float(np.average(np.asarray(costs), weights=weight))
        # Of targets that are all the same there is nothing to explain.
        return "validation_cost", unit if unit > 0 else 1.0

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
