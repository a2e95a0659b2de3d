import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ..data import Dataset, in_batches, Splits
from ..energies import Model, require_kind
from ..learning import AbstractEstimator, tune
from ..relaxation import AbstractSolver, Landscape
from ._loop import evaluate_batches
from ._metrics import empty_sums, summarize
from ._run import DivergenceWarning, Run


# Results don't depend on it: every example settles by itself.
_BATCH = 250
# Open relaxation factors are estimated on one example in so many, the first ones, but
# at least on so many.
_ONE_IN, _AT_LEAST = 128, 128


def evaluate(model: Model, data: Dataset, solver: AbstractSolver) -> dict[str, Any]:
    """What a model predicts for a data set, settling from rest.

    **Arguments:**

    - `model`, `data`, `solver`: the model, the examples, and how the free phase
        settles; an open relaxation factor is estimated on the first examples, one
        in 128 and at least 128.

    **Returns:**

    Means over the examples, weighted if they have weights: `error` and `saturation` in
    percent, `cost`, `energy`, `converged` (share of certified equilibria) and
    `residual`. An example whose prediction is not finite counts as an error.

    **Raises:**

    - `TypeError`: an argument of another kind.
    - `ValueError`: the data don't fit the model.

    **Warns:**

    - [`eqprop.training.DivergenceWarning`][]: an example settled to NaN or infinity.
    """
    check_model(model, "evaluate")
    fix = "Pass an `ep.data.dataset(x, y)`."
    parts = {Splits: "Pass one of its parts: `data.test`."}
    require_kind("data", data, Dataset, fix, owner="evaluate", instead=parts)
    fix = "Pass one such as `ep.BlockCoordinate()`."
    own = {AbstractEstimator: "Pass how it settles: `method.free_solver()`."}
    require_kind("solver", solver, AbstractSolver, fix, owner="evaluate", instead=own)
    check_data(model, data, "data")
    found = Evaluation(model, data).run(model, solver)
    if not all(math.isfinite(value) for value in found.values() if value is not None):
        warnings.warn(
            f"The means of `evaluate` are not finite (cost {found['cost']}, energy "
            f"{found['energy']}): examples settled to NaN or infinity, and count as "
            "errors. Look for NaN in the data and in the parameters; try a smaller "
            "step size, or `ep.BlockCoordinate()`, which needs none.",
            DivergenceWarning,
            stacklevel=2,
        )
    return found


def check_model(model: Any, owner: str | None) -> None:
    """Raises a `TypeError` unless it is a model."""
    fix, instead = "Pass `ep.Model(energy, cost)`.", {Run: "Pass its `run.model`."}
    require_kind("model", model, Model, fix, owner=owner, instead=instead)


def check_data(model: Model, data: Dataset, name: str) -> None:
    """Raises a `ValueError` unless the examples fit the model. Nothing is compiled."""

    if len(data) == 0:
        raise ValueError(f"`{name}` is empty: it holds no examples.")

    def first_cost(x, y):
        landscape = Landscape(model, x)
        return landscape.cost(landscape.init(), y)

    try:
        jax.eval_shape(first_cost, data.x[:1], data.y[:1])
    except ValueError as error:
        raise ValueError(
            f"`{name}` holds examples of shape {data.x.shape[1:]} and targets of "
            f"{data.y.shape[1:]}, which do not fit the model: {error}"
        ) from error


class Evaluation:
    """A data set cut into batches, with its persistent states if it has any."""

    def __init__(self, model: Model, data: Dataset, *, persistent: bool = False):
        batch_size = min(_BATCH, len(data))
        self.data = data
        self.indices, self.weight = in_batches(jnp.arange(len(data)), batch_size)
        if data.weight is not None:
            own = data.weight.at[self.indices].get(mode="clip")
            self.weight = self.weight * own.astype(self.weight.dtype)
        self.states = resting_states(model, data) if persistent else None

    @property
    def batches(self) -> int:
        """The number of batches."""
        return self.indices.shape[0]

    def run(self, model: Model, solver: AbstractSolver, *, compile_only: bool = False):
        """Settles all examples and returns the means; writes back the states."""
        stop = 0 if compile_only else self.batches
        solver = tune(solver, first_examples(model, self.data))
        sums, states = evaluate_batches(
            model,
            self.data,
            solver,
            self.indices,
            self.weight,
            self.states,
            empty_sums(model),
            jnp.asarray(0),
            jnp.asarray(stop),
        )
        self.states = states
        means = summarize(sums)
        kept = ("error", "cost", "energy", "converged", "residual", "saturation")
        return {name: means[name] for name in kept}


def first_examples(model: Model, data: Dataset) -> Landscape:
    """The examples of a data set that open relaxation factors are estimated on."""
    count = max(_AT_LEAST, len(data) // _ONE_IN)
    return Landscape(model, jax.tree.map(lambda a: a[:count], data.x))


def resting_states(model: Model, data: Dataset) -> PyTree[Array]:
    """The resting state of every example of a data set."""
    return jax.vmap(model.energy.init)(data.x)
