"""The measurements that an experiment can name: no code is taken from its file."""

import importlib
from collections.abc import Callable

from ._measured import Measured as Measured


NAMES = ("contrastive_hebbian", "error_derivatives", "stdp_integral", "stdp_timing")


def measurement(name: str) -> Callable[..., Measured]:
    """The measurement of this name, which takes an experiment's `options`.

    **Raises:**

    - `ValueError`: there is none.
    """
    if name not in NAMES:
        raise ValueError(
            f"`measure` is {name!r}, but the measurements are: {', '.join(NAMES)}. "
            "What else is to be run must be a training recipe, `[[run]]`: no code is "
            "taken from a file."
        )
    return importlib.import_module(f".{name}", __name__).measured
