"""What JAX compiles."""

import contextlib
import logging
import re
from collections.abc import Iterator

import jax


class _Names(logging.Handler):
    def __init__(self):
        super().__init__()
        self.names: list[str] = []

    def emit(self, record):
        found = re.search(r"Compiling jit\((\w+)\)", record.getMessage())
        if found:
            self.names.append(found.group(1))


@contextlib.contextmanager
def compiling() -> Iterator[list[str]]:
    """The names of the functions that are compiled inside, as they come."""
    handler, logger = _Names(), logging.getLogger("jax")
    logger.addHandler(handler)
    try:
        with jax.log_compiles():
            yield handler.names
    finally:
        logger.removeHandler(handler)
