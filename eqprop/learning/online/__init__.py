"""Learning while the states move: plasticity at every step of the nudged phase."""

from ._clamped_stdp import ClampedSTDP as ClampedSTDP
from ._continual import ContinualEP as ContinualEP
from ._membrane import MembraneSTDP as MembraneSTDP
from ._plasticity import AbstractPlasticity as AbstractPlasticity
from ._rate import RateSTDP as RateSTDP
from ._symmetric import SymmetricSTDP as SymmetricSTDP
