"""Phases under way, one step at a time."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...learning import Phase
from ...relaxation import AbstractSolver, RESULTS
from ._choices import TOLERANCE
from ._programs import advance, begin, read, Reading


# Where a phase that doesn't settle is given up.
LONGEST = 3000


class Relaxing:
    """Phases that relax side by side, of which one is shown.

    **Arguments:**

    - `phases`: the phases, each with the state to start from.
    - `solver`: how they settle.
    - `y`: the target that the shown cost is for.
    - `shown`: which of them is shown.
    """

    def __init__(
        self, phases: Sequence[Phase], solver: AbstractSolver, y: Array, shown: int = 0
    ):
        self.phases = tuple(phases)
        self.solver = solver
        self.shown = shown
        self.steps = 0
        self._y = y
        self._states = [phase.state for phase in phases]
        self._memories = [begin(p.landscape, solver, p.state) for p in phases]
        self._readings = [read(p.landscape, solver, p.state, y) for p in phases]

    def step(self) -> None:
        """One step of the solver, in every phase."""
        for k, phase in enumerate(self.phases):
            self._states[k], self._memories[k], self._readings[k] = advance(
                phase.landscape,
                self.solver,
                self._states[k],
                self._memories[k],
                self._y,
            )
        self.steps += 1

    def settle(self) -> None:
        """Steps until nothing moves any more, or the phases are given up."""
        while not self.settled:
            self.step()

    def under(self, solver: AbstractSolver, y: Array) -> "Relaxing":
        """The same phases from where they are, under another solver or target."""
        return Relaxing(self.now(), solver, y, self.shown)

    def now(self) -> list[Phase]:
        """The phases with the states that they have come to."""
        return [
            Phase(phase.landscape, state, phase.weight)
            for phase, state in zip(self.phases, self._states, strict=True)
        ]

    @property
    def state(self) -> PyTree[Array]:
        """The state that is shown."""
        return self._states[self.shown]

    @property
    def landscape(self) -> Any:
        """The landscape of the phase that is shown."""
        return self.phases[self.shown].landscape

    @property
    def reading(self) -> Reading:
        """What is shown of it."""
        return self._readings[self.shown]

    @property
    def residual(self) -> float:
        """The largest residual of any phase; NaN if any is."""
        return float(jnp.max(jnp.stack([r.residual for r in self._readings])))

    @property
    def settled(self) -> bool:
        """Whether nothing moves any more, or the phases were given up."""
        return self.steps >= LONGEST or not self.residual > TOLERANCE

    @property
    def converged(self) -> bool:
        """Whether all phases are at equilibrium, as the solver certifies it."""
        return self.residual <= float(self.solver.certify)

    def failure(self) -> str:
        """Why a phase that was given up is no equilibrium; empty if none was."""
        for reading in self._readings:
            nonfinite = bool(reading.result == RESULTS.nonfinite)
            if (nonfinite or self.steps >= LONGEST) and not self.converged:
                return RESULTS[reading.result]
        return ""
