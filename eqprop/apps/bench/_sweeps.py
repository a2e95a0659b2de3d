"""How many steps each solver needs to settle, on networks in training."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...data import Splits
from ...learning import tune
from ...relaxation import (
    AbstractSolver,
    AdaptiveEuler,
    BlockCoordinate,
    ConjugateSweeps,
    estimate_factors,
    Euler,
    fill_in,
    FixedPoint,
    Landscape,
    Nesterov,
    relax,
    Tolerance,
)
from ._cases import house
from ._nets import Trained, trained_nets
from ._products import relaxation_equivalents


RESIDUAL = 1e-3
BATCH = 256
ESTIMATED = "estimated ω"
FACTORS = tuple(round(1 + 0.05 * k, 2) for k in range(19))
# So many sweeps, for each number of hidden layers, certify most examples.
_FIXED = {1: 5, 2: 10, 3: 14}
# Tried in turn: most solvers are done within the first.
_LIMITS = (64, 256, 768)


def measure_sweeps(
    splits: Splits,
    hidden: Sequence[tuple[int, ...]],
    *,
    epochs: int,
    batches: int,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Trains networks and counts the steps from rest to a largest residual of 1e-3, in
    the mean over batches: the slowest example of one batch is chance.

    **Arguments:**

    - `splits`: the data. Its first test examples are settled.
    - `hidden`: the hidden layers of each network.
    - `epochs`: when it is late in training.
    - `batches`: how many, of 256 test examples each; fewer where there are no more.
    """
    return [
        measure_net(net, batches) for net in trained_nets(splits, hidden, epochs, note)
    ]


def measure_net(net: Trained, batches: int) -> dict[str, Any]:
    """What every solver needs on one network."""
    assert net.splits.test is not None
    batches = min(batches, len(net.splits.test) // BATCH)
    scape = Landscape(net.model, net.splits.test.x[: batches * BATCH])
    tuning = Landscape(net.model, net.splits.train.x[: scape.batch])
    rows = [_row(net, name, solver, scape) for name, solver in _solvers(tuning).items()]
    swept = [row for row in rows if row["relaxation"] is not None]
    among = [row for row in swept if row["name"] != ESTIMATED]
    best = min(among, key=_steps_or_more)
    for row in rows:
        row["ratio_to_best"] = _ratio(row["steps"], best["steps"])
    return {
        "sizes": net.sizes,
        "stage": net.stage,
        "epochs": net.epochs,
        "test_error": net.test_error,
        "batch": BATCH,
        "batches": batches,
        "residual": RESIDUAL,
        "best_relaxation": best["relaxation"],
        "best_steps": best["steps"],
        "solvers": rows,
        "fixed": _after_fixed_sweeps(net, scape, tuning),
    }


def _after_fixed_sweeps(
    net: Trained, scape: Landscape, tuning: Landscape
) -> dict[str, Any]:
    """The percentage of examples that a fixed number of sweeps leaves above the
    residual: with the ω that is best in hindsight of those that stay, and with the
    estimated factor."""
    sweeps = _FIXED[len(net.sizes) - 2]

    def left(solver: BlockCoordinate) -> float:
        found = relax(scape, solver, throw=False)
        return 100 * float(np.mean(~np.asarray(found.residual <= RESIDUAL)))

    stays = {
        factor: left(BlockCoordinate(relaxation=factor, max_steps=sweeps))
        for factor in FACTORS
    }
    best = min(stays, key=lambda factor: stays[factor])
    tuned = tune(BlockCoordinate(max_steps=sweeps), tuning)
    relaxation, falls_over = _factor(tuned)
    return {
        "sweeps": sweeps,
        "best_relaxation": best,
        "best_left": stays[best],
        "relaxation": relaxation,
        "falls_over": falls_over,
        "left": left(tuned),
    }


def _solvers(tuning: Landscape) -> dict[str, AbstractSolver]:
    solvers: dict[str, AbstractSolver] = {
        "Euler(0.5)": Euler(step_size=0.5),
        "FixedPoint(0.5)": FixedPoint(damping=0.5),
        "AdaptiveEuler": AdaptiveEuler(stop=None),
        "Nesterov(0.5)": Nesterov(step_size=0.5, stop=None),
        "ConjugateSweeps": ConjugateSweeps(stop=None),
    }
    for factor in FACTORS:
        solvers[f"ω = {factor:.2f}"] = BlockCoordinate(relaxation=factor)
    # The tolerance says that the slowest example counts.
    waiting = BlockCoordinate(relaxation=None, stop=Tolerance(RESIDUAL))
    factors = estimate_factors(waiting, tuning, batch=BATCH)
    solvers[ESTIMATED] = fill_in(waiting, factors)
    return solvers


def _row(
    net: Trained, name: str, solver: AbstractSolver, scape: Landscape
) -> dict[str, Any]:
    each, unconverged = steps_to_settle(solver, scape, BATCH)
    steps = None if each is None else sum(each) / len(each)
    factor, falls_over = _factor(solver)
    case = house(*net.sizes[1:-1], batch=1, inputs=net.sizes[0])
    case = dataclasses.replace(case, sizes=net.sizes)
    return {
        "name": name,
        "relaxation": factor,
        "falls_over": falls_over,
        "steps": steps,
        "steps_of_each": each,
        "matrix_products": None
        if steps is None
        else relaxation_equivalents(case, steps),
        "unconverged": unconverged,
    }


def _factor(solver: AbstractSolver) -> tuple[float | None, float | None]:
    """ω, and over how many sweeps it falls, of block sweeps whose ω does."""
    if not isinstance(solver, BlockCoordinate) or solver.relaxation is None:
        return None, None
    over = None if solver.falls_over is None else float(solver.falls_over)
    return round(float(solver.relaxation), 4), None if over == math.inf else over


def steps_to_settle(
    solver: AbstractSolver, scape: Landscape, batch: int
) -> tuple[list[int] | None, int]:
    """Steps from rest until the largest residual of each batch is at most 1e-3, and how
    many examples are above it after the last step. `None`: some never within 768."""
    left = 0
    for limit in _LIMITS:
        trial = dataclasses.replace(solver, max_steps=limit, stop=None)
        found = relax(scape, trial, observe=_residual, throw=False)
        # Not `<=`, so that NaN counts as above.
        above = ~(np.asarray(found.observations) <= RESIDUAL)
        left = int(above[-1].sum())
        settled = ~above.reshape(limit + 1, -1, batch).any(axis=2)
        if settled.any(axis=0).all():
            return settled.argmax(axis=0).tolist(), left
    return None, left


def _steps_or_more(row: dict[str, Any]) -> float:
    return math.inf if row["steps"] is None else float(row["steps"])


def _ratio(steps: float | None, best: float | None) -> float | None:
    return None if steps is None or best is None else steps / best


def _residual(landscape: Landscape, state: Any) -> Any:
    return landscape.residual(state)
