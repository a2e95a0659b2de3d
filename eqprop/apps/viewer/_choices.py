"""What the page offers to choose from: solvers and nudgings, as far as they suit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from ...learning import (
    AbstractNudging,
    Centered,
    Clamped,
    Coupled,
    Holomorphic,
    OneSided,
    RandomSign,
)
from ...relaxation import (
    AbstractSolver,
    AdaptiveEuler,
    BlockCoordinate,
    Euler,
    FixedPoint,
    Landscape,
    Tolerance,
)
from ._subject import Subject


@dataclasses.dataclass(frozen=True)
class SolverChoice:
    """A solver with its one number.

    **Arguments:**

    - `label`: what the page calls the number.
    - `low`, `high`, `start`: its range, and where its slider starts.
    - `make`: from the number to the solver.
    - `number`: back again.
    """

    label: str
    low: float
    high: float
    start: float
    make: Callable[..., AbstractSolver]
    number: Callable[[Any], Any]


SOLVERS = {
    "BlockCoordinate": SolverChoice(
        "relaxation ω",
        0.1,
        1.9,
        1.0,
        lambda omega, **rest: BlockCoordinate(relaxation=omega, **rest),
        lambda solver: solver.relaxation,
    ),
    "Euler": SolverChoice(
        "step size ε",
        0.02,
        1.9,
        0.5,
        lambda step, **rest: Euler(step_size=step, **rest),
        lambda solver: solver.step_size,
    ),
    "FixedPoint": SolverChoice(
        "damping",
        0.02,
        1.0,
        0.5,
        lambda damping, **rest: FixedPoint(damping=damping, **rest),
        lambda solver: solver.damping,
    ),
    "AdaptiveEuler": SolverChoice(
        "first step ε",
        0.02,
        1.9,
        0.5,
        lambda step, **rest: AdaptiveEuler(step_size=step, **rest),
        lambda solver: solver.step_size,
    ),
}

# From the slider's β, which may be negative, to the nudging. Those that come in pairs
# take its size; the page then shows the phase that has its sign.
NUDGINGS: dict[str, Callable[[float], AbstractNudging]] = {
    "OneSided": lambda beta: OneSided(beta),
    "Centered": lambda beta: Centered(abs(beta)),
    "RandomSign": lambda beta: RandomSign(abs(beta)),
    "Holomorphic": lambda beta: Holomorphic(abs(beta), 4),
    "Coupled": lambda beta: Coupled(abs(beta)),
    "Clamped": lambda beta: Clamped(),
}

# Where a phase is taken to be settled: well below `certify`, so that the contrast of
# two settled states is exact to a percent down to β of 0.01.
TOLERANCE = 1e-5


def stepping(name: str, number: float) -> AbstractSolver:
    """The solver of that name, to be stepped by hand."""
    return SOLVERS[name].make(number)


def settling(name: str, number: float) -> AbstractSolver:
    """The solver of that name, to go to an equilibrium at once."""
    stop = Tolerance(atol=TOLERANCE)
    return SOLVERS[name].make(number, max_steps=2000, stop=stop)


def suitable(subject: Subject) -> tuple[dict[str, SolverChoice], list[str]]:
    """The solvers and nudgings that this network's units, couplings and cost allow.

    A run's own solver starts with the run's own number.
    """
    x, y = subject.example(0)
    landscape = Landscape(subject.model, x)
    state = landscape.init()
    both = landscape, landscape.nudge(y, 0.1)
    solvers = {
        name: _started(choice, name, subject.solver)
        for name, choice in SOLVERS.items()
        if all(_suits(stepping(name, choice.start), scape, state) for scape in both)
    }
    if not solvers:
        raise ValueError(
            f"No solver of the viewer ({', '.join(SOLVERS)}) suits the units "
            f"{landscape.leaf_units()}. Give them a potential or continuous states."
        )
    first = stepping(next(iter(solvers)), 0.5)
    nudgings = [
        name
        for name, make in NUDGINGS.items()
        if _plans(make(0.1), landscape, state, y, first)
    ]
    return solvers, nudgings


def _started(
    choice: SolverChoice, name: str, own: AbstractSolver | None
) -> SolverChoice:
    number = choice.number(own) if type(own).__name__ == name else None
    start = choice.start if number is None else float(number)
    return dataclasses.replace(choice, start=start)


def _suits(solver: AbstractSolver, landscape: Landscape, state: Any) -> bool:
    try:
        jax.eval_shape(lambda s: solver.init(landscape, s, None), state)
    except ValueError:
        return False
    return True


def _plans(nudging, landscape, state, y, solver) -> bool:
    try:
        _, pending = nudging.phases(landscape, state, y, key=jax.random.key(0))
    except ValueError:
        return False
    return all(_suits(solver, phase.landscape, phase.state) for phase in pending)
