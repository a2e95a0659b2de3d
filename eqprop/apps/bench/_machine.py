"""What the numbers depend on: the machine and the software. No name, path or date."""

import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...training._environment import environment


def machine() -> dict[str, Any]:
    """A description of this machine, as plain JSON."""
    found = environment()
    found["versions"]["torch"] = _version("torch")
    return {"cpu": _cpu(), "cores": cores(), **found}


def machine_text(found: Mapping[str, Any]) -> str:
    """A described machine in words: its processor and how many cores."""
    count = found["cores"]
    return f"{found['cpu']}, {count} {'core' if count == 1 else 'cores'}"


def cores() -> int:
    """How many cores this process may use."""
    # XLA sizes its thread pool by the affinity mask where there is one.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Others:
    """How busy other programs keep the machine from now on."""

    def __init__(self) -> None:
        self._start = _busy_and_own()

    def load(self) -> float | None:
        """Cores that others kept busy on average; `None` where nothing tells."""
        if self._start is None:
            return None
        now = _busy_and_own()
        assert now is not None
        busy, own, clock = (b - a for a, b in zip(self._start, now, strict=True))
        return max(0.0, (busy - own) / clock)


def _busy_and_own() -> tuple[float, float, float] | None:
    """Seconds in which cores were busy, those for this process, and a clock."""
    try:
        first = Path("/proc/stat").read_text("utf-8").partition("\n")[0]
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, first.split()[1:9])
    ticks = user + nice + system + irq + softirq + steal
    if not ticks:
        # Some sandboxes show a file of zeros.
        return None
    own = os.times()
    return (
        ticks / os.sysconf("SC_CLK_TCK"),
        own.user + own.system,
        time.perf_counter(),
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
