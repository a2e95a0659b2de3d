"""The command line. Nothing here imports JAX before a command runs."""

from ._main import main as main
