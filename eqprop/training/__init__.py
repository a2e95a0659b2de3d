"""Training: `fit`, optimizers, metrics, run directories and checkpoints."""

from .._presets import list_presets as list_presets, read_preset as read_preset
from ._citation import citation as citation
from ._config import to_table as to_table
from ._evaluate import evaluate as evaluate
from ._fit import fit as fit
from ._load import load as load
from ._loop import batch_key as batch_key, run_keys as run_keys
from ._optimizers import (
    AbstractOptimizer as AbstractOptimizer,
    Adam as Adam,
    Optax as Optax,
    SGD as SGD,
)
from ._recipe import build as build, Recipe as Recipe, resolve as resolve
from ._run import (
    DivergenceWarning as DivergenceWarning,
    Progress as Progress,
    Run as Run,
)
from ._rundir import RunDirectory as RunDirectory
from ._schedules import (
    AbstractSchedule as AbstractSchedule,
    Constant as Constant,
    Cosine as Cosine,
    Exponential as Exponential,
)
from ._stopping import EarlyStopping as EarlyStopping
