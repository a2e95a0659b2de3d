"""A trained network with its method and a few examples, for figures of it."""

import dataclasses
import math
from functools import cached_property
from pathlib import Path
from typing import Any

import jax

from ...data import Dataset
from ...diagnostics import Bias, PhaseTrace, trace_phases
from ...energies import Model
from ...learning import AbstractEstimator, tune
from ...relaxation import Landscape, relax
from ...training import build, load, RunDirectory
from ._gradient_report import examine
from ._train import with_folder


# As many as `eqprop check-gradient` takes, and at these β: exact gradients cost.
_CHECKED = 16
_BETAS = [0.001, 0.01, 0.1, 0.2]


@dataclasses.dataclass(frozen=True)
class Trained:
    """A run's model and method, and examples to settle."""

    model: Model
    method: AbstractEstimator
    x: jax.Array
    y: jax.Array
    train: Dataset

    def phases(self) -> tuple[PhaseTrace, ...]:
        """The phases of the method, step by step."""
        key = jax.random.key(0)
        return trace_phases(self.model, self.x, self.y, self.method, key=key)

    def settled(self) -> tuple[Landscape, Any]:
        """The free phase and its last state."""
        landscape = Landscape(self.model, self.x)
        solver = tune(self.method.free_solver(), landscape)
        key = jax.random.key(0)
        return landscape, relax(landscape, solver, key=key, throw=False).state

    @cached_property
    def bias(self) -> dict[str, Bias]:
        """How far methods are from the exact gradient, the run's own among them."""
        few = self.train.x[:_CHECKED], self.train.y[:_CHECKED]
        method = tune(self.method, Landscape(self.model, few[0]), y=few[1])
        with jax.enable_x64(True):
            report = examine(self.model, method, *few, None, _BETAS, "implicit")
        return report.check.bias

    def swept(self) -> dict[str, Bias]:
        """Those of them that were tried at several β."""
        return {k: b for k, b in self.bias.items() if not math.isnan(b.betas[0])}


def open_trained(
    run: Path, checkpoint: str, examples: int, data_dir: Path | None
) -> Trained:
    """Loads a run's model, and its test data, or its training data if there are none.

    **Raises:**

    - `ValueError`, `OSError`: it is no run, or has no model that a file describes, or
        the data aren't there.
    """
    model = load(run, checkpoint=checkpoint)
    recipe = build(with_folder(RunDirectory.open(run).read_config(), data_dir))
    splits = recipe.data()
    data = splits.train if splits.test is None else splits.test
    x, y = data.x[:examples], data.y[:examples]
    return Trained(model, recipe.method, x, y, splits.train)
