"""Training: `fit`, optimizers, metrics, run directories and checkpoints."""

from ._evaluate import evaluate as evaluate
from ._fit import fit as fit
from ._loop import batch_key as batch_key
from ._optimizers import (
    AbstractOptimizer as AbstractOptimizer,
    Adam as Adam,
    Optax as Optax,
    SGD as SGD,
)
from ._run import Progress as Progress, Run as Run
from ._rundir import RunDirectory as RunDirectory
from ._schedules import (
    AbstractSchedule as AbstractSchedule,
    Constant as Constant,
    Cosine as Cosine,
    Exponential as Exponential,
)
