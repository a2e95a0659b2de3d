"""What both estimators have in common: training, warm starts, saving."""

import abc
import os
import warnings
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Array, PyTree
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from ...data import Splits
from ...energies import AbstractCost, HardSigmoid, Model
from ...learning import Centered, EquilibriumProp, tune
from ...relaxation import AbstractSolver, BlockCoordinate, Landscape, Tolerance
from ...training import Adam, DivergenceWarning, EarlyStopping, fit, Run
from ._checks import (
    check_numbers,
    check_parts,
    check_same_layers,
    check_some_weight,
    hidden_sizes,
)
from ._examples import as_dataset, padded_inputs
from ._network import layer_sizes, narrowed, new_model, settle, widened
from ._parameters import AbstractNestedParameters
from ._saving import read_estimator, write_estimator


_Estimator = TypeVar("_Estimator", bound="AbstractEquilibriumPropagation")

# Fewer certified equilibria than this share are worth a warning.
_ENOUGH = 0.99
# An open relaxation factor is estimated on so many examples.
_TUNED_ON = 128
PRECISIONS = (np.float64, np.float32)


class AbstractEquilibriumPropagation(AbstractNestedParameters):
    """A network that predicts by relaxing, and learns by relaxing once more."""

    # Set by fit.
    model_: Model
    loss_curve_: list[float]
    validation_scores_: list[float]
    _memory: PyTree[Array]
    _seed: int
    _calls: int
    _settler: AbstractSolver

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
        warm_start: Any = False,
        random_state: Any = None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.unit = unit
        self.cost = cost
        self.nudging = nudging
        self.solver = solver
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.tol = tol
        self.patience = patience
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.random_state = random_state

    @abc.abstractmethod
    def _default_cost(self) -> AbstractCost:
        """What the parameter `cost` stands for if it is `None`."""

    @abc.abstractmethod
    def _watched(self, y: NDArray[Any], weight: NDArray[Any]) -> tuple[str, float]:
        """The metric that early stopping watches for these validation targets, and its
        unit: the score is 1 − metric/unit."""

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_settler")

    def _parts(self) -> dict[str, Any]:
        stop = Tolerance()
        defaults = {
            "unit": HardSigmoid(),
            "cost": self._default_cost(),
            "nudging": Centered(0.2),
            "solver": BlockCoordinate(relaxation=1.2, max_steps=100, stop=stop),
        }
        return {
            name: default if getattr(self, name) is None else getattr(self, name)
            for name, default in defaults.items()
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the fitted estimator: safetensors and JSON, no pickle.

        **Arguments:**

        - `path`: a folder that doesn't exist yet.

        **Raises:**

        - `NotFittedError`: there is nothing to save.
        - `ValueError`: the folder exists, or a parameter is an object of your own,
            which no file can name.
        - `OSError`: the disk is full, …
        """
        check_is_fitted(self)
        write_estimator(self, Path(path))

    @classmethod
    def load(cls: type[_Estimator], path: str | os.PathLike[str]) -> _Estimator:
        """Loads a fitted estimator. Nothing in the files is executed, and `partial_fit`
        goes on as if it had never been saved.

        **Arguments:**

        - `path`: the folder that `save` wrote.

        **Raises:**

        - `ValueError`: it is damaged, or holds something else.
        """
        return read_estimator(cls, Path(path))

    def _prepare(
        self, x: NDArray[Any], y: NDArray[Any], weight: NDArray[Any], keep: bool
    ) -> None:
        """Checks everything; without `keep` draws new weights and forgets the rest."""
        check_numbers(self)
        parts = self._parts()
        check_parts(parts)
        check_some_weight(weight)
        hidden = hidden_sizes(self.hidden_layer_sizes)
        sizes = [x.shape[1], *hidden, y.shape[1]]
        if keep:
            check_same_layers(layer_sizes(self.model_), sizes)
            return
        # Not fitted until training has gone well.
        vars(self).pop("_settler", None)
        random = check_random_state(self.random_state)
        self._seed, self._calls = int(random.randint(2**31 - 1)), 0
        self.model_ = new_model(sizes, parts["unit"], parts["cost"], self._seed)
        self._memory = None
        self.loss_curve_, self.validation_scores_ = [], []

    def _train(
        self: _Estimator,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        *,
        keep: bool,
        strata: NDArray[Any] | None = None,
    ) -> _Estimator:
        """Trains on targets of shape [n, outputs].

        With `keep` from where the last training ended, but with a new optimizer.
        """
        self._prepare(x, y, weight, keep)
        held = None
        if self.early_stopping:
            parts: Any = train_test_split(
                *(x, y, weight),
                test_size=self.validation_fraction,
                random_state=self._seed,
                stratify=strata,
            )
            x, held_x, y, held_y, weight, held_weight = parts
            check_some_weight(weight)
            check_some_weight(held_weight)
            held = (held_x, held_y, held_weight)
        self._memory = None
        metric, unit = ("train_cost", 1.0)
        if held is not None:
            metric, unit = self._watched(*held[1:])
        stopping = EarlyStopping(metric, int(self.patience), float(self.tol) * unit)
        run = self._fit(x, y, weight, held, self.max_epochs, stopping)
        if held is not None:
            self.validation_scores_ += [1 - row[metric] / unit for row in run.metrics]
            self.best_validation_score_ = max(self.validation_scores_)
        if run.stopped == "finished":
            warnings.warn(
                f"Training ended after `max_epochs={self.max_epochs}` epochs while it "
                "was still getting better. Raise `max_epochs` or `learning_rate`, or "
                "loosen `tol`.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _train_once(
        self: _Estimator,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        *,
        keep: bool,
    ) -> _Estimator:
        """One epoch, with `keep` after those before and with their optimizer."""
        if self.early_stopping:
            raise ValueError(
                "`partial_fit` is one epoch on what it is given, so "
                "`early_stopping=True` means nothing to it. Pass `early_stopping=False`"
                ", or use `fit`."
            )
        self._prepare(x, y, weight, keep)
        self._fit(x, y, weight, None, 1, None)
        return self

    def _fit(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        weight: NDArray[Any],
        held: tuple[NDArray[Any], ...] | None,
        epochs: int,
        stopping: EarlyStopping | None,
    ) -> Run:
        parts = self._parts()
        batch_size = int(self.batch_size)
        data = as_dataset(x, y, weight, batch_size=batch_size)
        batch_size = min(batch_size, len(data))
        validation = None
        if held is not None:
            validation = as_dataset(*held, batch_size=batch_size)
        method = EquilibriumProp(parts["nudging"], parts["solver"])
        quiet = warnings.catch_warnings(action="ignore", category=DivergenceWarning)
        with quiet:
            run = fit(
                widened(self.model_),
                Splits(data, validation, None, "data"),
                method,
                Adam(self.learning_rate),
                epochs=int(epochs),
                batch_size=batch_size,
                seed=self._next_seed(),
                early_stopping=stopping,
                memory=self._memory,
            )
        if run.stopped == "nonfinite":
            raise ValueError(
                f"Training diverged in epoch {len(run.metrics) + 1}: the cost or a "
                "parameter became NaN or infinite. Scale the inputs (and the targets "
                "of a regression) with a `StandardScaler`, or lower `learning_rate`, "
                f"which is {self.learning_rate!r}, or β, as in `nudging__beta=0.1`."
            )
        self.model_ = narrowed(run.model, x.shape[1])
        self._memory = run.memory
        self.loss_curve_ += [row["train_cost"] for row in run.metrics]
        self.loss_ = self.loss_curve_[-1]
        self.n_iter_ = len(self.loss_curve_)
        few = Landscape(widened(self.model_), padded_inputs(x[:_TUNED_ON]))
        self._settler = tune(parts["solver"], few)
        last = run.metrics[-1]
        _warn_unsettled(min(last["converged"], last["nudged_converged"]), "training")
        return run

    def _next_seed(self) -> int:
        # Every call shuffles and draws anew, yet as a function of the first seed.
        self._calls += 1
        spread = np.random.SeedSequence([self._seed, self._calls])
        return int(spread.generate_state(1)[0])

    def _settled(self, x: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """The outputs at equilibrium and the cost's predictions, as precise as x."""
        check_is_fitted(self)
        x = validate_data(self, x, dtype=PRECISIONS, reset=False)
        outputs, predictions, share = settle(self.model_, self._settler, x)
        _warn_unsettled(share, "prediction")
        return outputs.astype(x.dtype), predictions.astype(x.dtype)


def _warn_unsettled(share: float, where: str) -> None:
    if share < _ENOUGH:
        warnings.warn(
            f"In {where}, {100 * (1 - share):.1f} % of the relaxations did not reach "
            "equilibrium. Give the solver more steps: `solver__max_steps=500`.",
            ConvergenceWarning,
            stacklevel=4,
        )
