"""A whole benchmark: the sections that were asked for, as one table."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from ._cases import full_cases, quick_cases
from ._machine import machine, Others
from ._memory import measure_memory, memory_cases
from ._nets import open_data
from ._scaling import measure_scaling, scaling_cases
from ._steps import measure_steps
from ._sweeps import measure_sweeps


DEFINITIONS = {
    "ms": "milliseconds for one training step: gradient and SGD update of one batch, "
    "in a loop of many (`batches`) that is timed whole; median, low and high of rounds",
    "ratio_to_*": "library over the other, taken round by round",
    "flops": "multiplications and additions of the matrix products that a step can't "
    "do without",
    "matrix_products": "flops / (2 · batch · weights): full passes of the batch over "
    "all the network's weights",
    "floor": "those products by XLA, each measured alone at its shape and layout in a "
    "compiled loop in the same rounds, and the parameters read and written once; a "
    "step can be a little faster, since XLA runs independent products at once",
    "best_blas": "the same with the fastest of XLA, NumPy and PyTorch for each product",
    "share_of_floor": "floor over the time of the implementation, round by round",
    "other_load": "cores that other programs kept busy during the measurement, on "
    "average; null where that can't be read",
    "compile_seconds": "tracing and compiling the loop, without any cache",
    "temporary": "bytes that XLA plans besides arguments and results",
    "steps": "of a relaxation from rest, until no example's residual is above the "
    "bound, in the mean over batches (`steps_of_each`); null: never within 768",
    "unconverged": "examples above the bound after the last of 64, 256 or 768 steps",
    "slope": "exponent p of time ∝ flops^p, with standard error, over steps that take "
    "at least `above` times the cheapest",
}


def measure(
    sections: Sequence[str],
    *,
    quick: bool,
    data_dir: Path | None,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Measures sections, in float32.

    **Arguments:**

    - `sections`: of `steps`, `sweeps`, `scaling`, `memory`.
    - `quick`: tiny networks, to see that all is in order.
    - `data_dir`: where MNIST is; without it the bundled digits.
    - `note`: told what is going on.

    **Returns:**

    Plain JSON.
    """
    words = ["eqprop", "bench", *sections, *(["--quick"] if quick else [])]
    found: dict[str, Any] = {
        "command": " ".join(words),
        "quick": quick,
        "data": "digits" if data_dir is None else "mnist",
        "definitions": DEFINITIONS,
    }
    others = Others()
    with _measuring():
        found["machine"] = machine()
        for section in sections:
            found[section] = _MEASURES[section](quick, data_dir, note)
    found["other_load"] = others.load()
    return found


def _steps(quick: bool, data_dir: Path | None, note: Callable[[str], None]) -> Any:
    cases = quick_cases() if quick else full_cases()
    rounds, seconds = (2, 0.02) if quick else (9, 0.3)
    return measure_steps(cases, rounds=rounds, seconds=seconds, note=note)


def _sweeps(quick: bool, data_dir: Path | None, note: Callable[[str], None]) -> Any:
    splits = open_data(data_dir)
    width, epochs = (512, 5) if data_dir is not None else (128, 20)
    hidden = [(width,) * k for k in (1, 2, 3)]
    if quick:
        hidden, epochs = [(32,)], 2
    return measure_sweeps(splits, hidden, epochs=epochs, batches=8, note=note)


def _scaling(quick: bool, data_dir: Path | None, note: Callable[[str], None]) -> Any:
    rounds, seconds = (2, 0.02) if quick else (5, 0.2)
    lines = scaling_cases(quick)
    return measure_scaling(lines, rounds=rounds, seconds=seconds, note=note)


def _memory(quick: bool, data_dir: Path | None, note: Callable[[str], None]) -> Any:
    factors = (1, 4) if quick else (1, 2, 4, 8)
    return measure_memory(memory_cases(quick), factors=factors, note=note)


_MEASURES = {
    "steps": _steps,
    "sweeps": _sweeps,
    "scaling": _scaling,
    "memory": _memory,
}


@contextlib.contextmanager
def _measuring() -> Iterator[None]:
    """float32, and every program compiled anew."""
    cached = jax.config.values["jax_enable_compilation_cache"]
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        with jax.enable_x64(False):
            yield
    finally:
        jax.config.update("jax_enable_compilation_cache", cached)
