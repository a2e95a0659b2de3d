"""Programs built on the library: the command line, plots."""

import lazy_loader


# Not imported here: plots needs JAX, which `eqprop --help` does without.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["plots"])
