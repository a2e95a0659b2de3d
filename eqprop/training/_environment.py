"""What a run's numbers depend on besides its configuration."""

import importlib.metadata
import os
import platform
from typing import Any

import jax


_PACKAGES = ("eqprop", "jax", "jaxlib", "equinox", "optax", "numpy")
_VARIABLES = (
    "JAX_PLATFORMS",
    "JAX_ENABLE_X64",
    "JAX_DEFAULT_MATMUL_PRECISION",
    "NPROC",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "XLA_FLAGS",
)


def environment() -> dict[str, Any]:
    """Describe the machine and the software a run depends on.

    It names neither the host nor any path, so that it can be published with a run.

    **Returns:**

    Plain JSON: `versions`, `platform`, `cpus` (that this process may use), `devices`,
    `x64`, and the `variables` set that decide threads and precision.
    """
    devices = jax.devices()
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _PACKAGES},
        },
        "platform": platform.platform(),
        "cpus": _cpus(),
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "x64": bool(jax.config.read("jax_enable_x64")),
        "variables": {
            name: _without_paths(os.environ[name])
            for name in _VARIABLES
            if name in os.environ
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpus() -> int | None:
    # XLA sizes its thread pool by the affinity mask where there is one.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _without_paths(value: str) -> str:
    # XLA_FLAGS may say where to dump; that changes no number.
    return " ".join(flag for flag in value.split() if os.sep not in flag)
