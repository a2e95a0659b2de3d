"""The scripts of `benchmarks/`, which are no package, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType


REPOSITORY = Path(__file__).resolve().parent.parent


def benchmark(name: str) -> ModuleType:
    """The script `benchmarks/NAME.py`, imported."""
    path = REPOSITORY / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
