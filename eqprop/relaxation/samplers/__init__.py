"""Chains whose stationary distribution is exp(−F/T)."""

from ._gibbs import Gibbs as Gibbs
from ._langevin import Langevin as Langevin
from ._metropolis import MetropolisLangevin as MetropolisLangevin
from ._sampler import AbstractSampler as AbstractSampler
