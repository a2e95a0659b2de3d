"""Ready-made networks: functions that build an energy."""

from ._mlp import (
    hopfield as hopfield,
    initialized_mlp as initialized_mlp,
    mlp as mlp,
)
