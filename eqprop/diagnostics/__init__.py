"""Is it right: gradients, curvature and saturation, measured."""

from ._bias import Bias as Bias, measure_bias as measure_bias
from ._check import check_gradient as check_gradient, GradientCheck as GradientCheck
from ._compare import compare as compare, Likeness as Likeness
from ._curvature import Curvature as Curvature, curvature as curvature
from ._fields import layer_names as layer_names, receptive_fields as receptive_fields
from ._finite_difference import finite_difference as finite_difference
from ._parameters import parameters_by_name as parameters_by_name
from ._saturation import changed_share as changed_share
from ._settling import exacting_solver as exacting_solver, in_double as in_double
from ._trace import PhaseTrace as PhaseTrace, trace_phases as trace_phases
from ._updates import (
    descending_updates as descending_updates,
    DescendingUpdates as DescendingUpdates,
)
