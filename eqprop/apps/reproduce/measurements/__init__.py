"""The measurements that an experiment can name: no code is taken from its file."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ._measured import Measured as Measured


MEASUREMENTS: Mapping[str, Callable[..., Measured]] = MappingProxyType({})
