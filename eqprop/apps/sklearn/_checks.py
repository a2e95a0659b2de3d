"""What the estimators refuse before anything is compiled."""

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...energies import AbstractCost, AbstractUnit
from ...learning import AbstractNudging
from ...relaxation import AbstractSolver


# What each parameter made of Modules must be, and how one is written.
PARTS = {
    "unit": (AbstractUnit, "ep.HardSigmoid()"),
    "cost": (AbstractCost, "ep.SquaredError()"),
    "nudging": (AbstractNudging, "ep.Centered(0.2)"),
    "solver": (AbstractSolver, "ep.BlockCoordinate(max_steps=50)"),
}


def hidden_sizes(given: Any) -> tuple[int, ...]:
    """The sizes of the hidden layers; a single number is one layer."""
    sizes: Any = (given,) if isinstance(given, Integral) else given
    listed = isinstance(sizes, Sequence | np.ndarray) and not isinstance(sizes, str)
    if not listed or not all(_whole(size) and int(size) >= 1 for size in sizes):
        raise ValueError(
            "`hidden_layer_sizes` must hold the size of each hidden layer, a positive "
            f"integer, but is {given!r}. Write `(100,)` for one layer of 100 units."
        )
    return tuple(int(size) for size in sizes)


def check_numbers(estimator: Any) -> None:
    """Raises a `ValueError` unless the numbers among the parameters are in range."""
    for name, low in (("batch_size", 1), ("max_epochs", 1), ("patience", 1)):
        value = getattr(estimator, name)
        if not _whole(value) or value < low:
            raise ValueError(
                f"`{name}` must be an integer of at least {low}, but is {value!r}."
            )
    for name, low, high in (("tol", 0, math.inf), ("learning_rate", 0, math.inf)):
        value = getattr(estimator, name)
        if not isinstance(value, Real) or not low <= float(value) < high:
            raise ValueError(
                f"`{name}` must be a finite number of at least {low}, but is {value!r}."
                " Try 1e-3."
            )
    share = estimator.validation_fraction
    inside = isinstance(share, Real) and 0 < float(share) < 1
    if estimator.early_stopping and not inside:
        raise ValueError(
            "`validation_fraction` must be between 0 and 1, both excluded, but is "
            f"{share!r}. 0.1 holds out a tenth of the examples."
        )


def check_parts(parts: Mapping[str, Any]) -> None:
    """Raises a `TypeError` unless the parameters made of Modules are such."""
    for name, part in parts.items():
        kind, example = PARTS[name]
        if not isinstance(part, kind):
            raise TypeError(
                f"`{name}` must be an `{kind.__name__}`, but is {part!r}. Pass "
                f"`{name}={example}`, or `None` for the default."
            )


def check_some_weight(weight: NDArray[Any]) -> None:
    """Raises a `ValueError` if all examples have weight 0."""
    if not np.any(weight > 0):
        raise ValueError(
            "`sample_weight`, times the class weights, is 0 for every example that is "
            "to be learned from or held out. Give some of them a positive weight."
        )


def check_same_layers(had: Sequence[int], wanted: Sequence[int]) -> None:
    """Raises a `ValueError` if training can't go on with other layers."""
    if list(had) != list(wanted):
        raise ValueError(
            f"The fitted network has layers of {list(had)} units, but now they would "
            f"be {list(wanted)}. Training goes on only with the same: pass "
            "`warm_start=False`, or `clone` the estimator, to start anew."
        )


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
