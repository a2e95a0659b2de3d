"""Reference gradients, to check learning rules against."""

from ._unrolled import BackpropThroughTime as BackpropThroughTime
