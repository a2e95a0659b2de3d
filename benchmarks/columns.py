"""Sweeps with examples as columns, beside the same with examples as rows.

    python benchmarks/columns.py [--sweeps N]

A net of two hidden layers settles by N over-relaxed sweeps from rest, by default 50, as
the library would do it one way and the other. Prints, as a table in Markdown, the time
of a sweep by rows and the ratio of columns to it: the median of rounds taken in turn,
in one process. What `eqprop/relaxation/columns` takes for few and for large comes from
here.
"""

import argparse
import statistics
import time

import equinox as eqx
import jax

import eqprop as ep
from eqprop.relaxation import _phases
from eqprop.relaxation.columns import _columns


BATCHES = (1, 8, 16, 32, 64, 128)
WIDTHS = (128, 500, 512, 1024, 2048)
ROUNDS = 7


def compiled(width: int, batch: int, sweeps: int, columns: bool):
    """A relaxation, compiled to take examples one way or the other."""
    energy = ep.nets.mlp([784, width, width, 10], key=jax.random.key(0))
    x = jax.random.uniform(jax.random.key(1), (batch, 784))
    solver = ep.BlockCoordinate(relaxation=1.3, max_steps=sweeps)
    arrays, static = eqx.partition(energy, eqx.is_array)

    def settle(arrays, x):
        landscape = ep.Landscape(eqx.combine(arrays, static), x)
        return ep.relax(landscape, solver, throw=False).state

    kept = _phases.pays, _columns._LARGE_MATRIX
    _phases.pays, _columns._LARGE_MATRIX = (lambda *_: columns), 0
    try:
        jax.clear_caches()
        executable = jax.jit(settle).lower(arrays, x).compile()
    finally:
        _phases.pays, _columns._LARGE_MATRIX = kept
    jax.block_until_ready(executable(arrays, x))
    return lambda: jax.block_until_ready(executable(arrays, x))


def seconds(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def measured(width: int, batch: int, sweeps: int) -> tuple[float, float]:
    """The time of a sweep by rows, and the ratio of columns to it."""
    rows, columns = (compiled(width, batch, sweeps, which) for which in (False, True))
    pairs = [(seconds(rows), seconds(columns)) for _ in range(ROUNDS)]
    ratio = statistics.median(b / a for a, b in pairs)
    return statistics.median(a for a, _ in pairs) / sweeps, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--sweeps", type=int, default=50)
    given = parser.parse_args()
    print("| columns / rows |", *(f"batch {b} |" for b in given.batches))
    print("|" + "---|" * (len(given.batches) + 1))
    for width in given.widths:
        cells = [measured(width, batch, given.sweeps) for batch in given.batches]
        print(
            f"| {width} wide |",
            *(f"{ratio:.2f} ({1e6 * taken:.0f} µs) |" for taken, ratio in cells),
            flush=True,
        )


if __name__ == "__main__":
    main()
