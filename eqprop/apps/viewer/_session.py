"""A network being watched: its weights, its two phases, and what can be done to it."""

import hashlib
from collections import deque

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ...diagnostics import parameters_by_name
from ...energies import Model
from ...learning import EquilibriumProp, ImplicitDifferentiation, Phase
from ...relaxation import Landscape, RESULTS
from ._choices import NUDGINGS, settling, stepping, suitable
from ._curves import Curves
from ._programs import descend, learn
from ._relaxing import Relaxing
from ._subject import Subject


# How many updates can be taken back.
_REMEMBERED = 200


class Session:
    """The network that one page watches, and all that the page can do to it.

    Nothing here knows of sockets, threads or pictures. A phase goes on by
    [`Session.step`][] until `settled`.

    **Arguments:**

    - `subject`: the network and its examples.
    """

    def __init__(self, subject: Subject):
        self.subject = subject
        self.solvers, self.nudgings = suitable(subject)
        own = type(subject.solver).__name__
        self.solver_name = own if own in self.solvers else next(iter(self.solvers))
        self.number = self.solvers[self.solver_name].start
        own = type(subject.nudging).__name__
        self.nudging_name = own if own in self.nudgings else self.nudgings[0]
        self.beta = float(getattr(subject.nudging, "beta", 0.2))
        self.rate = 0.1
        self.model = subject.model
        self.watched = next(iter(parameters_by_name(self.model)))
        self.notice = ""
        self._undo: deque[Model] = deque(maxlen=_REMEMBERED)
        self._draws = 0
        self.pick(subject.first)

    @property
    def phase(self) -> str:
        """`"free"` or `"nudged"`."""
        return "free" if self.free_state is None else "nudged"

    @property
    def settled(self) -> bool:
        """Whether nothing moves any more, or the phase was given up."""
        return self.relaxing.settled

    @property
    def updates(self) -> int:
        """How many updates can be taken back."""
        return len(self._undo)

    def pick(self, index: int) -> None:
        """Shows an example, at rest."""
        self.index: int | None = index % len(self.subject)
        self.x, self.y = self.subject.example(self.index)
        self.reset()

    def draw(self, pixels: np.ndarray) -> None:
        """Shows a drawing; the state goes on from where it is."""
        self.index, self.x = None, self.subject.drawn(pixels)
        self.free()

    def aim(self, label: int) -> None:
        """Chooses the class that the outputs are nudged toward."""
        self.y = jnp.zeros_like(self.y).at[0, label].set(1)
        self._go_on()

    def use_solver(self, name: str, number: float) -> None:
        """Settles by another solver, or with another number."""
        self.solver_name, self.number = name, number
        self.relaxing = self.relaxing.under(stepping(name, number), self.y)

    def use_nudging(self, name: str, beta: float) -> None:
        """Nudges in another way, or with another β. A nudged phase starts again."""
        self.nudging_name, self.beta = name, beta
        self._go_on()

    def reset(self) -> None:
        """Starts the free phase, at rest."""
        self._start_free(Landscape(self.model, self.x).init())

    def free(self) -> None:
        """Goes back to the free phase, from the free state."""
        state = self.relaxing.state if self.free_state is None else self.free_state
        self._start_free(state)

    def nudge(self) -> None:
        """Starts the nudged phases, at the free equilibrium; goes there first if the
        free phase hasn't settled."""
        if self.free_state is None:
            while not self.settled:
                self.step()
            self.free_state = self.relaxing.state
            self.exact = self._exact(self.free_state)
        landscape = Landscape(self.model, self.x)
        nudging = NUDGINGS[self.nudging_name](self.beta)
        self.settled_phases, pending = nudging.phases(
            landscape, self.free_state, self.y, key=self._key()
        )
        # Of a pair, the phase with the sign of the slider's β is shown.
        shown = 1 if self.nudging_name == "Centered" and self.beta < 0 else 0
        solver = stepping(self.solver_name, self.number)
        self.relaxing = Relaxing(pending, solver, self.y, shown)
        self.curves.start("nudged")
        self._record()

    def step(self) -> None:
        """One step of the solver."""
        self.relaxing.step()
        self._record()

    def apply(self, times: int) -> None:
        """Learns from the example that is shown, `times` times; each time all phases
        settle. Nothing is learned from phases that don't."""
        start = self.relaxing.state if self.free_state is None else self.free_state
        method = EquilibriumProp(
            NUDGINGS[self.nudging_name](self.beta),
            settling(self.solver_name, self.number),
        )
        costs = []
        for _ in range(times):
            outcome, gradient = learn(
                method, self.model, self.x, self.y, start, self._key()
            )
            for phase in (outcome.free, *outcome.nudged):
                if not phase.converged[0]:
                    self.notice = f"Not applied. {RESULTS[phase.worst()]}"
                    return
            costs.append(float(outcome.cost))
            self._undo.append(self.model)
            self.model = descend(self.model, gradient, jnp.asarray(self.rate))
            start = outcome.free.state
        self._start_free(start)
        while not self.settled:
            self.step()
        cost = float(self.relaxing.reading.cost)
        self.notice = f"Applied {times} ×: cost {costs[0]:.4g} → {cost:.4g}."

    def undo(self) -> None:
        """Takes the last update back, bit by bit."""
        if not self._undo:
            self.notice = "There is no update to take back."
            return
        self.model = self._undo.pop()
        self.free()
        self.notice = "The last update is taken back."

    def _start_free(self, state: PyTree[Array]) -> None:
        self.free_state = None
        self.weights = _fingerprint(self.model)
        self.curves = Curves()
        self.curves.start("free")
        phase = Phase(Landscape(self.model, self.x), state, 1.0)
        solver = stepping(self.solver_name, self.number)
        self.relaxing = Relaxing([phase], solver, self.y)
        self._record()

    def _go_on(self) -> None:
        if self.free_state is not None:
            self.nudge()
        else:
            solver = stepping(self.solver_name, self.number)
            self.relaxing = self.relaxing.under(solver, self.y)

    def _exact(self, state: PyTree[Array]) -> Model | None:
        """The exact gradient; none where its linear system can't be solved."""
        reference = ImplicitDifferentiation(settling(self.solver_name, self.number))
        outcome, gradient = learn(reference, self.model, self.x, self.y, state, None)
        sound = all(p.converged[0] for p in (outcome.free, *outcome.nudged))
        return gradient if sound else None

    def _record(self) -> None:
        reading = self.relaxing.reading
        self.curves.add(
            float(reading.energy), float(reading.cost), self.relaxing.residual
        )

    def _key(self) -> Array:
        self._draws += 1
        return jax.random.key(self._draws)


def _fingerprint(model: Model) -> str:
    """Equal for equal bits of all weights."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array)):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()[:12]
