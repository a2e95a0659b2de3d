"""How a state settles: landscapes, the driver, and its solvers."""

from ._coarse import CoarseFirst as CoarseFirst
from ._continuation import as_complex as as_complex, as_real as as_real
from ._decimal import shortest as shortest
from ._equilibrium import (
    certified as certified,
    classify as classify,
    Equilibrium as Equilibrium,
    RelaxationError as RelaxationError,
    require_settled as require_settled,
    RESULTS as RESULTS,
)
from ._factors import (
    estimate_factors as estimate_factors,
    Factor as Factor,
    fill_in as fill_in,
    no_factors as no_factors,
)
from ._landscape import Landscape as Landscape
from ._relax import (
    relax as relax,
    settled as settled,
    starting_state as starting_state,
)
from ._scalars import (
    as_scalar as as_scalar,
    inner as inner,
    per_example as per_example,
    require as require,
    require_steps as require_steps,
    state_size as state_size,
)
from ._shown import show_numbers as show_numbers
from ._solver import AbstractSolver as AbstractSolver, Tolerance as Tolerance
from ._spectrum import estimate_relaxation as estimate_relaxation
from ._together import (
    grouped as grouped,
    problem as problem,
    relax_together as relax_together,
)
from .samplers import (
    AbstractSampler as AbstractSampler,
    Gibbs as Gibbs,
    Langevin as Langevin,
    MetropolisLangevin as MetropolisLangevin,
)
from .solvers import (
    AdaptiveEuler as AdaptiveEuler,
    BlockCoordinate as BlockCoordinate,
    ConjugateSweeps as ConjugateSweeps,
    Euler as Euler,
    FixedPoint as FixedPoint,
    Nesterov as Nesterov,
)
