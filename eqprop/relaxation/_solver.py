import abc
from typing import Any

import equinox as eqx
from equinox import AbstractVar
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from ..energies import require_kind
from ._landscape import Landscape
from ._scalars import as_scalar, require
from ._shown import show_numbers


class Tolerance(eqx.Module):
    """When to stop: the solver's error is at most $\\text{atol} + \\text{rtol} \\cdot
    \\max|s|$, for each example by itself.

    **Arguments:**

    - `atol`, `rtol`: non-negative, dimensionless; changing them doesn't recompile.
    """

    __repr__ = show_numbers

    atol: Scalar = eqx.field(default=1e-4, converter=as_scalar)
    rtol: Scalar = eqx.field(default=0.0, converter=as_scalar)

    def __check_init__(self):
        fix = "Pass a small number such as 1e-4."
        require("Tolerance", "atol", self.atol, at_least=0, fix=fix)
        require("Tolerance", "rtol", self.rtol, at_least=0, fix=fix)


class AbstractSolver(eqx.Module):
    """An algorithm that takes states downhill, step by step. The driver,
    [`eqprop.relax`][], owns the loop.

    A step treats every example by itself: nothing may depend on batch-mates.

    **Attributes:**

    - `max_steps`: the number of steps, or with `stop` the most; compiled in.
    - `stop`: a [`eqprop.Tolerance`][], or `None` to take all steps. Without one the
        loop has a fixed trip count and is reverse-differentiable.
    - `certify`: the residual up to which a state counts as an equilibrium.
    """

    __repr__ = show_numbers

    max_steps: AbstractVar[int]
    stop: AbstractVar[Tolerance | None]
    certify: AbstractVar[Scalar]

    def __check_init__(self):
        fix = "Pass `stop=ep.Tolerance(atol=1e-5)`, or `None` to take all steps."
        owner = type(self).__name__
        require_kind("stop", self.stop, Tolerance | None, fix, owner=owner)

    @abc.abstractmethod
    def init(
        self, landscape: Landscape, state: PyTree[Array], key: PRNGKeyArray | None
    ) -> PyTree[Any]:
        """Checks that this solver can work on the landscape, and makes its memory: a
        pytree of arrays with a leading batch axis, or `None`.

        **Raises:**

        - `ValueError`: the landscape's units or couplings don't suit the solver.
        """

    @abc.abstractmethod
    def step(
        self, landscape: Landscape, state: PyTree[Array], memory: PyTree[Any]
    ) -> tuple[PyTree[Array], PyTree[Any], Float[Array, " batch"]]:
        """One step: the new state, the new memory, and each example's error, a cheap
        measure of the distance to equilibrium that is zero exactly there."""


class AbstractLookahead(AbstractSolver):
    """A solver whose step has two halves, a look at drives and a move, and that meets
    in the next look all that the state's residual still lacks.

    So the driver looks after every move, and measures the residual for nothing: what
    certifies one state is what the next step starts from, also one of a nudged phase.
    """

    @abc.abstractmethod
    def looks_ahead(self, landscape: Landscape) -> bool:
        """Whether that holds on this landscape; otherwise the driver takes whole
        steps. Decided when traced."""

    @abc.abstractmethod
    def look(
        self, landscape: Landscape, state: PyTree[Array], drive: PyTree[Array]
    ) -> PyTree[Array]:
        """The drives of the state, from those that the last move met: exact after any
        move, else where the next one starts."""

    @abc.abstractmethod
    def move(
        self,
        landscape: Landscape,
        state: PyTree[Array],
        memory: PyTree[Any],
        drive: PyTree[Array],
    ) -> tuple[PyTree[Array], PyTree[Any], PyTree[Array]]:
        """The rest of a step after a look: the new state, the new memory, and the
        drives that it met."""
