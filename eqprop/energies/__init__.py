"""What is minimized: units, interactions, energies and costs."""

from . import nets as nets
from ._binary import Binary as Binary
from ._check import check_energy as check_energy, name_of as name_of
from ._cost import (
    AbstractCost as AbstractCost,
    CrossEntropy as CrossEntropy,
    Readout as Readout,
    SquaredError as SquaredError,
)
from ._energy import AbstractEnergy as AbstractEnergy
from ._function import FunctionEnergy as FunctionEnergy
from ._graph import (
    Edge as Edge,
    INPUT as INPUT,
    Layer as Layer,
    values_by_name as values_by_name,
)
from ._hopfield import Hopfield as Hopfield
from ._init import (
    AbstractInitializer as AbstractInitializer,
    FanInUniform as FanInUniform,
    GlorotUniform as GlorotUniform,
)
from ._initialized import (
    Feedforward as Feedforward,
    Initialized as Initialized,
    without_predictor as without_predictor,
)
from ._kinds import require_kind as require_kind
from ._model import Model as Model
from ._network import Network as Network
from ._unit import (
    AbstractUnit as AbstractUnit,
    ClippedReLU as ClippedReLU,
    HardSigmoid as HardSigmoid,
    Linear as Linear,
    ReLU as ReLU,
    Sigmoid as Sigmoid,
    Softmax as Softmax,
    Tanh as Tanh,
    Unconstrained as Unconstrained,
    units_of_leaves as units_of_leaves,
)
from .interactions import (
    AbstractInteraction as AbstractInteraction,
    Bias as Bias,
    Dense as Dense,
    Lateral as Lateral,
)
