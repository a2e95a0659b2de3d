"""A trained model back from its run."""

import os

import equinox as eqx
import jax

from ..energies import Model
from ._recipe import build_model, resolve
from ._rundir import RunDirectory


def load(
    run: str | os.PathLike[str],
    *,
    like: Model | None = None,
    checkpoint: str = "last",
) -> Model:
    """Loads the model of a training run.

    **Arguments:**

    - `run`: the run's folder.
    - `like`: a model of the same structure, whose arrays are replaced. Needed for
        energies and costs of your own; others are made from the run's `config.toml`.
    - `checkpoint`: `"last"` or `"best"`.

    **Returns:**

    The model.

    **Raises:**

    - `ValueError`: there is no such run or checkpoint, it is damaged, or it was saved
        from another architecture (names each tensor that differs).
    """
    directory = RunDirectory.open(run)
    template = _from_config(directory) if like is None else like
    arrays = eqx.filter(template, eqx.is_array)
    parts, _ = directory.load(checkpoint, {"model": arrays})
    return eqx.combine(parts["model"], template)


def _from_config(directory: RunDirectory) -> Model:
    table = directory.read_recipe(
        "Pass a model of the same structure: `ep.load(run, like=model)`. To watch it, "
        "`ep.view(ep.load(run, like=model), data)`."
    )
    return build_model(resolve(table), jax.random.key(0))
