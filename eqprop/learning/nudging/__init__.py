"""Which phases a contrast is made of, under which nudges, with which weights."""

from ._centered import Centered as Centered
from ._clamped import Clamped as Clamped
from ._coupled import Coupled as Coupled
from ._holomorphic import Holomorphic as Holomorphic
from ._nudging import AbstractNudging as AbstractNudging
from ._one_sided import OneSided as OneSided
from ._random_sign import RandomSign as RandomSign
