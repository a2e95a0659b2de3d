"""A recipe: all that a training run is made of, as one table."""

import dataclasses
from typing import Any

import jax

from ..data import Splits
from ..energies import AbstractCost, AbstractEnergy, Model
from ..learning import AbstractEstimator, AbstractNudging
from ._config import build_fields, build_part, resolve_fields, resolve_part
from ._fit import fit
from ._optimizers import AbstractOptimizer
from ._registry import candidates, did_you_mean, Parameter, parameters


_PARTS: dict[str, type] = {
    "data": Splits,
    "energy": AbstractEnergy,
    "cost": AbstractCost,
    "method": AbstractEstimator,
    "optimizer": AbstractOptimizer,
}
_TRAINING = (
    *("epochs", "batch_size", "seed", "order", "persistent", "augmentation"),
    "early_stopping",
)
_NOTES = ("title", "source", "comment", "preset")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The parts of a training run, made from a table by [`eqprop.training.build`][].

    `fit(recipe.model(), recipe.data(), recipe.method, recipe.optimizer,
    **recipe.training)` is the run.

    **Arguments:**

    - `table`: the whole recipe, every default filled in.
    - `method`: how gradients are estimated.
    - `optimizer`: how they become updates.
    - `training`: the numbers that [`eqprop.fit`][] takes: `epochs`, `batch_size`, …
    """

    table: dict[str, Any]
    method: AbstractEstimator
    optimizer: AbstractOptimizer
    training: dict[str, Any]

    def data(self) -> Splits:
        """Reads the data.

        **Raises:**

        - `ValueError`, `OSError`: they aren't there, or damaged.
        """
        return build_part(Splits, self.table["data"], "data")

    def model(self) -> Model:
        """Makes the model; its weights are drawn with `jax.random.key(seed)`.

        **Raises:**

        - `ValueError`: the energy or the cost refuses its arguments.
        """
        key = jax.random.key(self.training["seed"])
        return build_model(self.table, key)


def build_model(table: dict[str, Any], key: jax.Array) -> Model:
    """The model of a resolved recipe, its weights drawn with `key`."""
    energy = build_part(AbstractEnergy, table["energy"], "energy", key=key)
    return Model(energy, build_part(AbstractCost, table["cost"], "cost"))


def resolve(table: dict[str, Any]) -> dict[str, Any]:
    """Completes a recipe with the defaults of the classes and functions it names.

    **Arguments:**

    - `table`: a recipe, as [`eqprop.training.read_preset`][] reads it: the tables
        `data`, `energy`, `cost`, `method`, `optimizer` and `training`, and the notes
        `title`, `source` and `comment`.

    **Returns:**

    The complete recipe. Resolving it again changes nothing.

    **Raises:**

    - `ValueError`: an unknown name (says what it may have meant), a value of the wrong
        type, a missing field.
    """
    known = (*_NOTES, *_PARTS, "training")
    for name in table:
        if name not in known:
            raise ValueError(
                f"`{name}` is no part of a recipe.{did_you_mean(name, known)} Its "
                f"parts are: {', '.join((*_PARTS, 'training'))}."
            )
    resolved: dict[str, Any] = {}
    for name in _NOTES:
        if name in table:
            if not isinstance(table[name], str):
                raise ValueError(
                    f"`{name}` is {table[name]!r}, but it must be a string."
                )
            resolved[name] = table[name]
    for name, kind in _PARTS.items():
        if name not in table:
            raise ValueError(
                f"The recipe has no `[{name}]`. Add it with a `type`: one of "
                f"{', '.join(candidates(kind))}."
            )
        resolved[name] = resolve_part(kind, table[name], name)
    training = table.get("training", {})
    if not isinstance(training, dict):
        raise ValueError(f"`training` is {training!r}, but it must be a table.")
    resolved["training"] = resolve_fields(
        _training_fields(), training, "training", "training"
    )
    return resolved


def method_named(name: str) -> dict[str, Any]:
    """The `[method]` table that a name alone stands for: an estimator, or a nudging of
    Equilibrium Propagation.

    **Raises:**

    - `ValueError`: there is neither of this name.
    """
    nudgings, estimators = candidates(AbstractNudging), candidates(AbstractEstimator)
    if name in nudgings:
        return {"type": "EquilibriumProp", "nudging": {"type": name}}
    if name not in estimators:
        known = [*nudgings, *estimators]
        raise ValueError(
            f"`{name}` is no method.{did_you_mean(name, known)} There are: "
            f"{', '.join(known)}."
        )
    return {"type": name}


def build(table: dict[str, Any]) -> Recipe:
    """Makes the parts of a recipe. Data and model are made when asked for.

    **Arguments:**

    - `table`: a recipe, resolved or not.

    **Returns:**

    A [`eqprop.training.Recipe`][].

    **Raises:**

    - `ValueError`: as [`eqprop.training.resolve`][], or a part refuses its arguments.
    """
    table = resolve(table)
    training = build_fields(_training_fields(), table["training"], "training")
    if not 0 <= training["seed"] < 2**32:
        raise ValueError(
            f"`training.seed` is {training['seed']}, but it must be an integer between "
            f"0 and {2**32 - 1}."
        )
    return Recipe(
        table,
        build_part(AbstractEstimator, table["method"], "method"),
        build_part(AbstractOptimizer, table["optimizer"], "optimizer"),
        training,
    )


def _training_fields() -> list[Parameter]:
    return [field for field in parameters(fit) if field.name in _TRAINING]
