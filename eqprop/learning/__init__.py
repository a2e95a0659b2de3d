"""How a model learns: phases, their contrast, and estimators of the gradient."""

from ._equilibrium_prop import EquilibriumProp as EquilibriumProp
from ._estimator import AbstractEstimator as AbstractEstimator, Outcome as Outcome
from ._initialized_ep import InitializedEP as InitializedEP
from ._phase import (
    batch_mean as batch_mean,
    contrast as contrast,
    contrast_grad as contrast_grad,
    Phase as Phase,
)
from ._stochastic import StochasticEP as StochasticEP
from ._tune import relaxation_factors as relaxation_factors, tune as tune
from .nudging import (
    AbstractNudging as AbstractNudging,
    Centered as Centered,
    Clamped as Clamped,
    Coupled as Coupled,
    Holomorphic as Holomorphic,
    OneSided as OneSided,
    RandomSign as RandomSign,
)
from .online import (
    AbstractPlasticity as AbstractPlasticity,
    ClampedSTDP as ClampedSTDP,
    ContinualEP as ContinualEP,
    MembraneSTDP as MembraneSTDP,
    RateSTDP as RateSTDP,
    SymmetricSTDP as SymmetricSTDP,
)
from .references import (
    AbstractLinearSolver as AbstractLinearSolver,
    BackpropThroughTime as BackpropThroughTime,
    ConjugateGradient as ConjugateGradient,
    DenseLU as DenseLU,
    GMRES as GMRES,
    ImplicitDifferentiation as ImplicitDifferentiation,
    RecurrentBackprop as RecurrentBackprop,
)
