"""How the cost of a training step grows with batch, parameters and sweeps."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._cases import batches_for, Case, house
from ._clock import in_rounds, Spread
from ._library import by_library, make_arrays, make_method, make_model
from ._products import count_flops, equivalents, products_of
from ._steps import compiled


# A step is above the overhead if it takes this many times what the cheapest takes.
_ABOVE = 10


def scaling_cases(quick: bool) -> dict[str, list[Case]]:
    """Lines of steps along which one factor grows, the others kept."""
    if quick:
        small = [house(32, batch=n, inputs=64) for n in (1, 64)]
        return {"batch": small}
    middle = house(512, 512, batch=64)
    return {
        "batch": [house(512, 512, batch=4**k) for k in range(6)],
        "width": [house(32 * 2**k, 32 * 2**k, batch=64) for k in range(7)],
        "sweeps": [
            dataclasses.replace(middle, free_steps=2 * n, nudged_steps=n)
            for n in (2, 8, 32, 128)
        ],
    }


def measure_scaling(
    lines: Mapping[str, Sequence[Case]],
    *,
    rounds: int,
    seconds: float,
    note: Callable[[str], None],
) -> dict[str, Any]:
    """Times the library's step along each line, and fits how its time grows.

    **Arguments:**

    - `lines`: the steps, by the factor that grows.
    - `rounds`, `seconds`, `note`: as for `eqprop.apps.bench.measure_steps`.
    """
    points = []
    for factor, cases in lines.items():
        for case in cases:
            note(f"scaling by {factor}: {case.name}")
            points.append({"factor": factor, **_point(case, rounds, seconds)})
    work, ms, factors = (
        np.array([p[name] for p in points]) for name in ("flops", "ms", "factor")
    )
    above = ms >= _ABOVE * ms.min()
    fits = {
        f: fit_slope(work[above & (factors == f)], ms[above & (factors == f)])
        for f in lines
    }
    return {
        "points": points,
        "overhead_ms": float(ms.min()),
        "above": _ABOVE,
        "slopes": {"all": fit_slope(work[above], ms[above]), **fits},
    }


def _point(case: Case, rounds: int, seconds: float) -> dict[str, Any]:
    flops = count_flops(products_of(case))
    batches = batches_for(flops, seconds)
    params, x, y, states = make_arrays(case, batches)
    method = make_method(case)
    model = make_model(case, params)
    run, arrays = by_library(case, model, method, batches=batches, rate=0.01)
    program = compiled(run, arrays, x, y, states)
    taken = in_rounds({"library": program.run}, rounds)["library"]
    ms = Spread.of(taken, 1e3 / batches)
    return {
        "name": case.name,
        "batch": case.batch,
        "weights": case.weights,
        "sweeps": case.free_steps + len(case.signs) * case.nudged_steps,
        "matrix_products": equivalents(case),
        "flops": flops,
        "ms": ms.median,
        "spread": ms.table(),
    }


def fit_slope(work: np.ndarray, time: np.ndarray) -> dict[str, Any] | None:
    """The exponent p of time ∝ work^p by least squares on logarithms, and its standard
    error; `None` for fewer than three points."""
    if len(work) < 3:
        return None
    x, y = np.log(work), np.log(time)
    x = x - x.mean()
    slope = float(x @ y / (x @ x))
    rest = y - y.mean() - slope * x
    error = float(np.sqrt(rest @ rest / (len(x) - 2) / (x @ x)))
    return {"slope": slope, "error": error, "points": len(x)}
