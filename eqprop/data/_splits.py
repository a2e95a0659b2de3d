"""What training, model selection and the final report each get to see."""

import equinox as eqx

from ._dataset import Dataset


class Splits(eqx.Module):
    """The parts of one data set: what is learned, what is watched, what is reported.

    **Arguments:**

    - `train`: the examples the parameters are fitted to.
    - `validation`: the examples that choose between runs, or `None`.
    - `test`: the examples for the final number, or `None`.
    - `name`: what the data is called in a run's records.
    """

    train: Dataset
    validation: Dataset | None
    test: Dataset | None
    name: str = eqx.field(static=True)
