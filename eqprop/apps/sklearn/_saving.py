"""Fitted estimators as folders: safetensors for arrays, JSON for all else."""

from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
import numpy as np

from eqprop import __version__

from ...relaxation import AbstractSolver
from ...training import Adam, to_table
from ...training._checkpoint import load_checkpoint, read_manifest, save_checkpoint
from ...training._config import build_part, resolve_part
from ._checks import PARTS
from ._network import layer_sizes, new_model, widened


_Estimator = TypeVar("_Estimator", bound=Any)

# What fitting leaves behind as plain values. Some are there only in some estimators.
_PLAIN = (
    *("n_features_in_", "n_outputs_", "n_iter_", "loss_", "loss_curve_"),
    *("validation_scores_", "best_validation_score_", "_flat", "_seed", "_calls"),
)
_ARRAYS = ("classes_", "feature_names_in_")
# Kinds of NumPy arrays whose `tolist()` JSON can hold: booleans, numbers, strings.
_LISTABLE = "biufU"


def write_estimator(estimator: Any, folder: Path) -> None:
    """Saves a fitted estimator as a new folder."""
    params = estimator.get_params(deep=False)
    had = vars(estimator)
    info = {
        "estimator": type(estimator).__name__,
        "eqprop": __version__,
        "parameters": {k: _plain(value, k) for k, value in params.items()},
        "fitted": {k: had[k] for k in _PLAIN if k in had},
        "arrays": {k: _listed(had[k], k) for k in _ARRAYS if k in had},
        "sizes": layer_sizes(estimator.model_),
        "solver": to_table(estimator._settler),
    }
    parts = {"model": estimator.model_, "optimizer": estimator._memory}
    save_checkpoint(folder, parts, info)


def read_estimator(kind: type[_Estimator], folder: Path) -> _Estimator:
    """Loads an estimator of the class `kind`."""
    if not folder.is_dir():
        raise ValueError(
            f"There is no estimator at {folder}: no such folder. Give the folder that "
            "`estimator.save(folder)` wrote."
        )
    info = read_manifest(folder)["info"]
    saved = info.get("estimator", "something else")
    if saved != kind.__name__:
        raise ValueError(
            f"{folder} holds {saved}, and not an {kind.__name__}. Load it with the "
            "class that saved it."
        )
    params = {name: _parameter(name, v) for name, v in info["parameters"].items()}
    estimator = kind(**params)
    for name, value in info["fitted"].items():
        setattr(estimator, name, value)
    for name, stored in info["arrays"].items():
        setattr(estimator, name, np.asarray(stored["values"], stored["dtype"]))
    chosen = estimator._parts()
    model = new_model(info["sizes"], chosen["unit"], chosen["cost"], 0)
    memory = Adam().init(widened(model))
    arrays = eqx.filter({"model": model, "optimizer": memory}, eqx.is_array)
    found, _ = load_checkpoint(folder, arrays)
    estimator.model_ = eqx.combine(found["model"], model)
    estimator._memory = eqx.combine(found["optimizer"], memory)
    table = resolve_part(AbstractSolver, info["solver"], "solver")
    estimator._settler = build_part(AbstractSolver, table, "solver")
    return estimator


def _plain(value: Any, name: str) -> Any:
    """A parameter as JSON has it: what is no plain value becomes a table with a word
    for what it was."""
    if isinstance(value, eqx.Module):
        return {"part": to_table(value)}
    if isinstance(value, dict):
        pairs = [[_number(key), _number(weight)] for key, weight in value.items()]
        return {"pairs": pairs}
    if isinstance(value, tuple | list | np.ndarray):
        return {"tuple": [_number(item) for item in value]}
    value = _number(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"`{name}` is {value!r}, which can't be saved: a file holds only numbers, "
        "strings and objects of eqprop's public classes. Pass an integer as "
        "`random_state`, for example."
    )


def _parameter(name: str, stored: Any) -> Any:
    if not isinstance(stored, dict):
        return stored
    if "part" in stored:
        kind = PARTS[name][0]
        return build_part(kind, resolve_part(kind, stored["part"], name), name)
    if "pairs" in stored:
        return dict(stored["pairs"])
    return tuple(stored["tuple"])


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _listed(array: np.ndarray, name: str) -> dict[str, Any]:
    values = array.tolist()
    strings = all(isinstance(value, str) for value in values)
    if array.dtype.kind not in _LISTABLE and not strings:
        raise ValueError(
            f"`{name}` is {array!r}, which can't be saved: only numbers, booleans and "
            "strings can. Name the classes by strings, as in `y.astype(str)`."
        )
    # The code of an array of objects is an address to NumPy, and its name isn't.
    kind = "object" if array.dtype.kind == "O" else array.dtype.str
    return {"dtype": kind, "values": values}
