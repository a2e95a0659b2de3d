"""How a model learns: phases, their contrast, and estimators of the gradient."""

from ._equilibrium_prop import EquilibriumProp as EquilibriumProp
from ._estimator import AbstractEstimator as AbstractEstimator, Outcome as Outcome
from ._phase import (
    batch_mean as batch_mean,
    contrast as contrast,
    contrast_grad as contrast_grad,
    Phase as Phase,
)
from .nudging import (
    AbstractNudging as AbstractNudging,
    Centered as Centered,
    Clamped as Clamped,
    OneSided as OneSided,
    RandomSign as RandomSign,
)
from .references import BackpropThroughTime as BackpropThroughTime
