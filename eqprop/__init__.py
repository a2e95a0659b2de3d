"""Equilibrium Propagation: learning in energy-based networks by relaxing twice."""

from typing import Any

import lazy_loader


__version__ = "0.1.0"

_find, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except AttributeError as error:
        if name in __all__:
            raise
        import difflib

        close = difflib.get_close_matches(name, __all__)
        hint = f" Did you mean {' or '.join(close)}?" if close else ""
        raise AttributeError(f"`eqprop` has no `{name}`.{hint}") from error
