"""Training steps: the library, the same written by hand, and the floor of both."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from ._cases import batches_for, Case
from ._clock import in_rounds, Spread
from ._floor import Floor
from ._hand import by_hand
from ._library import by_library, make_arrays, make_method, make_model, sweep_groups
from ._machine import Others
from ._products import count_flops, equivalents, products_of
from ._torch import as_tensors, by_torch, load_torch


_RATE = 0.01
_BLAS_ROUNDS = 5
IMPLEMENTATIONS = ("library", "jax", "torch")


@dataclasses.dataclass(frozen=True)
class Program:
    """One implementation of a step, ready to run."""

    run: Callable[[], Any]
    compile_seconds: float = 0.0
    memory: dict[str, int] | None = None


def measure_steps(
    cases: Sequence[Case],
    *,
    rounds: int,
    seconds: float,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Times one training step of every case.

    **Arguments:**

    - `rounds`: how many measurements, of all implementations in turn.
    - `seconds`: how long one measurement of one implementation takes, about.
    - `note`: told what is going on.
    """
    found = []
    for k, case in enumerate(cases, 1):
        note(f"steps {k}/{len(cases)}: {case.name}")
        found.append(measure_case(case, rounds, seconds))
    return found


def measure_case(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    """Times one training step: one row of the table."""
    flops = count_flops(products_of(case))
    batches = batches_for(flops, seconds)
    programs = make_programs(case, batches)
    floor = Floor(case, max(0.002, seconds / 30))
    runs = {name: program.run for name, program in programs.items()} | floor.runs()
    others = Others()
    times = in_rounds(runs, rounds)
    other_load = others.load()
    times |= in_rounds(floor.blas_runs(), min(rounds, _BLAS_ROUNDS))
    own = {name: [t / batches for t in times[name]] for name in programs}
    bottom = floor.seconds(times)
    found: dict[str, Any] = {
        "name": case.name,
        **dataclasses.asdict(case),
        "weights": case.weights,
        "flops": flops,
        "matrix_products": equivalents(case),
        "batches": batches,
        "rounds": rounds,
        "other_load": other_load,
        "implementations": {
            name: _row(case, own[name], programs[name]) if name in own else None
            for name in IMPLEMENTATIONS
        },
        "floor": {"ms": Spread.of(bottom, 1e3).table(), **floor.table(times)},
        "share_of_floor": {
            name: Spread.of_ratio(bottom, taken).table() for name, taken in own.items()
        },
    }
    for other in IMPLEMENTATIONS[1:]:
        ratio = None
        if other in own:
            ratio = Spread.of_ratio(own["library"], own[other]).table()
        found[f"ratio_to_{other}"] = ratio
    return found


def _row(case: Case, taken: list[float], program: Program) -> dict[str, Any]:
    ms = Spread.of(taken, 1e3)
    return {
        "ms": ms.table(),
        "examples_per_second": 1e3 * case.batch / ms.median,
        "compile_seconds": program.compile_seconds,
        "memory": program.memory,
    }


def make_programs(case: Case, batches: int) -> dict[str, Program]:
    """The implementations there are, compiled."""
    params, x, y, states = make_arrays(case, batches)
    model = make_model(case, params)
    groups = sweep_groups(case, model, x, y)
    method = make_method(case)
    run, arrays = by_library(case, model, method, batches=batches, rate=_RATE)
    hand = by_hand(case, groups, batches=batches, rate=_RATE)
    found = {
        "library": compiled(run, arrays, x, y, states),
        "jax": compiled(hand, params, x, y, states),
    }
    torch = load_torch()
    if torch is not None and jax.default_backend() == "cpu":
        eager = by_torch(torch, case, groups, batches=batches, rate=_RATE)
        mine = as_tensors(torch, params), *as_tensors(torch, (x, y))
        kept = as_tensors(torch, states)
        found["torch"] = Program(lambda: eager(*mine, kept))
    return found


def compiled(run: Callable[..., Any], *args: Any) -> Program:
    """A program compiled for its arguments, with what that took."""
    started = time.perf_counter()
    executable = jax.jit(run).lower(*args).compile()
    taken = time.perf_counter() - started
    return Program(lambda: executable(*args), taken, memory_of(executable))


def memory_of(executable: Any) -> dict[str, int] | None:
    """Bytes of a compiled program, as XLA plans them; `None` where it doesn't say."""
    stats = executable.memory_analysis()
    if stats is None:
        return None
    return {
        "temporary": stats.temp_size_in_bytes,
        "arguments": stats.argument_size_in_bytes,
        "outputs": stats.output_size_in_bytes,
        "shared": stats.alias_size_in_bytes,
    }
