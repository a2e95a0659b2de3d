"""Algorithms that take a state to equilibrium."""

from ._adaptive_euler import AdaptiveEuler as AdaptiveEuler
from ._block_coordinate import BlockCoordinate as BlockCoordinate
from ._conjugate_sweeps import ConjugateSweeps as ConjugateSweeps
from ._euler import Euler as Euler
from ._fixed_point import FixedPoint as FixedPoint
from ._nesterov import Nesterov as Nesterov
