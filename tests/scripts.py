"""The scripts of `benchmarks/` and `tools/`, which are no packages, as modules."""

import importlib.util
from pathlib import Path
from types import ModuleType


REPOSITORY = Path(__file__).resolve().parent.parent


def benchmark(name: str) -> ModuleType:
    """The script `benchmarks/NAME.py`, imported."""
    return _script("benchmarks", name)


def tool(name: str) -> ModuleType:
    """The script `tools/NAME.py`, imported."""
    return _script("tools", name)


def _script(folder: str, name: str) -> ModuleType:
    path = REPOSITORY / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
