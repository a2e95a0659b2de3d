"""The coupling terms of an energy."""

from ._bias import Bias as Bias
from ._dense import Dense as Dense
from ._interaction import AbstractInteraction as AbstractInteraction
from ._lateral import Lateral as Lateral
