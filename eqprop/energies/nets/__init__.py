"""Ready-made networks: functions that build an energy."""

from ._mlp import hopfield as hopfield, mlp as mlp
