"""Reference gradients, to check learning rules against."""

from ._implicit import ImplicitDifferentiation as ImplicitDifferentiation
from ._linear import (
    AbstractLinearSolver as AbstractLinearSolver,
    ConjugateGradient as ConjugateGradient,
    DenseLU as DenseLU,
    GMRES as GMRES,
)
from ._recurrent_backprop import RecurrentBackprop as RecurrentBackprop
from ._unrolled import BackpropThroughTime as BackpropThroughTime
