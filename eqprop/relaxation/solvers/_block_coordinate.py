from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Scalar

from ...energies import AbstractUnit
from .._landscape import Landscape
from .._scalars import as_scalar, per_example, require, require_steps
from .._solver import AbstractLookahead, Tolerance
from ._caution import Caution, fresh, learn, trusted
from ._misc import largest_change, require_affine, require_potential, seen_anew


class _Sweeping(eqx.Module):
    """What sweeps remember of every example.

    **Attributes:**

    - `count`: how many it has taken, where ω falls.
    - `caution`: how far its ω is trusted, where no theorem covers it.
    """

    count: Float[Array, " batch"] | None
    caution: Caution | None


def _as_order(order: Sequence[int] | None) -> tuple[int, ...] | None:
    return None if order is None else tuple(order)


class BlockCoordinate(AbstractLookahead):
    """Exact minimization, block by block: one step is one sweep over all layers.

    $$s_k \\leftarrow \\text{project}\\bigl(s_k
      + ω\\,(\\arg\\min_{s_k} F - s_k)\\bigr)$$

    Layers that don't interact move at once: a chain is swept in two half-steps (even
    layers, odd layers), other graphs by a graph coloring, read off the energy itself,
    also a user's own. With quadratic units (`Linear`, `HardSigmoid`, `ReLU`, …) the
    energy never increases, from any start and for every ω in (0, 2): in each unit it is
    a parabola. An ω between 1 and 2 converges in far fewer sweeps (successive
    over-relaxation); which one is best depends on the couplings, and
    [`eqprop.tune`][] estimates it. Better still is one that falls while an example
    settles, since a large ω moves the slow modes and finds out who is saturated, and
    a small one damps the rest: in sweep t = 0, 1, … of every T

    $$ω_t = 1 + (ω - 1)\\bigl(1 - (t/T)^2\\bigr)$$

    For curved units (`Sigmoid`, `Tanh`, `Softmax`)
    only ω = 1 descends for certain: on the way to a tolerance, an example whose error
    stalls goes back toward it.
    Error: the largest distance of a layer to its minimum that the sweep met; where
    layers move in two groups, [`eqprop.relax`][] goes by the residual itself, so that
    a tolerance of `certify` certifies.
    Reverse-differentiable without `stop`.

    The interaction must be affine in every block, which is checked: lateral couplings
    and membrane coordinates with a curved ρ are refused. So is a nudged output that
    is not one leaf of the state.

    **Arguments:**

    - `relaxation`: ω in (0, 2). `None` leaves it open: [`eqprop.fit`][] and
        [`eqprop.tune`][] fill in their estimate, `falls_over` with it; not yet filled
        in, it is 1.
    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].
    - `order`: leaves of the state, by index, to be minimized one after the other in the
        place of the groups that don't interact: `(0, 1, 2)` sweeps a chain of three
        layers from the bottom to the top. Each leaf once; one that is held is passed
        over. Over few sweeps the order matters, at equilibrium it doesn't.
    - `falls_over`: T, in sweeps, at least 1, such as `max_steps`; `None` or infinity
        for an ω that stays.

    ??? cite "Scellier et al. 2023; Young 1954"
        Even and odd layers in turn: arXiv:2312.15103. Over-relaxation, there of linear
        systems: Iterative methods for solving partial difference equations of elliptic
        type, Transactions of the American Mathematical Society 76:92–111.
    """

    relaxation: Scalar | None = eqx.field(default=None, converter=as_scalar)
    max_steps: int = eqx.field(default=20, static=True)
    stop: Tolerance | None = None
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)
    order: Sequence[int] | None = eqx.field(
        default=None, static=True, converter=_as_order
    )
    falls_over: Scalar | None = eqx.field(default=None, converter=as_scalar)

    def __check_init__(self):
        require_steps("BlockCoordinate", self.max_steps)
        if self.relaxation is not None:
            fix = "1 is the exact minimum, 1.5 an over-relaxed step."
            name = "relaxation"
            require("BlockCoordinate", name, self.relaxation, above=0, below=2, fix=fix)
        fix = "The default is 1e-3."
        require("BlockCoordinate", "certify", self.certify, above=0, fix=fix)
        self._require_fall()

    def init(self, landscape, state, key):
        require_potential("BlockCoordinate", landscape)
        require_affine("BlockCoordinate", landscape)
        self._require_order(landscape)
        if self.relaxation is None:
            return None
        count = caution = None
        like = jax.tree.leaves(state)[0]
        if self.falls_over is not None:
            count = jnp.zeros(landscape.batch, like.real.dtype)
        curved = not all(unit.quadratic for unit in landscape.leaf_units())
        if curved and self.stop is not None:
            caution = fresh(landscape.batch, like)
        nothing = count is None and caution is None
        return None if nothing else _Sweeping(count, caution)

    def step(self, landscape, state, memory):
        state, memory, _, error = self._swept(landscape, state, memory)
        return state, memory, error

    def looks_ahead(self, landscape):
        # Of two groups the second is where its drives were met, since the first hasn't
        # moved again; but a nudged output bends its own.
        blocks = self._blocks(landscape)
        if len(blocks) not in (1, 2):
            return False
        nudged = landscape.beta is not None
        return not nudged or landscape.output_leaf() in {*blocks[0], *landscape.held}

    def look(self, landscape, state, drive):
        return seen_anew(landscape, state, drive, self._blocks(landscape)[0])

    def move(self, landscape, state, memory, drive):
        return self._swept(landscape, state, memory, jax.tree.leaves(drive))[:3]

    def _swept(self, landscape, state, memory, met=None):
        """One sweep: the new state and memory, the drives that it met, its error.

        **Arguments:**

        - `met`: drives that are known; those of the first block are used.
        """
        error = jnp.zeros(landscape.batch, jax.tree.leaves(state)[0].real.dtype)
        leaves, treedef = jax.tree.flatten(state)
        drives = [jnp.zeros_like(s) for s in leaves]
        units = landscape.leaf_units()
        omega = self._factor(memory)
        for block in self._blocks(landscape):
            here = treedef.unflatten(leaves)
            own = (
                landscape.drive(here, block) if met is None else [met[k] for k in block]
            )
            met = None
            goals = landscape.minimum(here, block, own)
            for k, drive, goal in zip(block, own, goals, strict=True):
                old = leaves[k]
                leaves[k] = _beyond(units[k], old, goal, omega)
                drives[k] = drive
                error = jnp.maximum(error, largest_change(goal, old))
        memory = None if memory is None else _remembered(memory, error)
        state, drive = (treedef.unflatten(part) for part in (leaves, drives))
        return state, memory, drive, error

    def _factor(
        self, memory: _Sweeping | None
    ) -> Scalar | Float[Array, " batch"] | None:
        """ω of the next sweep."""
        omega = self.relaxation
        if omega is None or memory is None:
            return omega
        if self.falls_over is not None and memory.count is not None:
            count = memory.count
            omega, over = (a.astype(count.dtype) for a in (omega, self.falls_over))
            omega = 1 + (omega - 1) * (1 - (count % over / over) ** 2)
        return omega if memory.caution is None else trusted(omega, memory.caution)

    def _blocks(self, landscape: Landscape) -> tuple[tuple[int, ...], ...]:
        if self.order is None:
            return landscape.blocks()
        return tuple((k,) for k in self.order if k not in landscape.held)

    def _require_fall(self) -> None:
        if self.falls_over is None:
            return
        if self.relaxation is None:
            raise ValueError(
                "`falls_over` of `BlockCoordinate` says how ω falls, but `relaxation` "
                "leaves ω open, and what estimates it fills in both. Pass "
                "`relaxation=1.7` too, or leave `falls_over` out."
            )
        fix = "As many as the sweeps that it takes, or None for an ω that stays."
        name, value = "falls_over", self.falls_over
        require("BlockCoordinate", name, value, at_least=1, finite=False, fix=fix)

    def _require_order(self, landscape: Landscape) -> None:
        if self.order is None:
            return
        leaves = range(len(landscape.leaf_units()))
        free = {k for k in leaves if k not in landscape.held}
        named = set(self.order)
        if len(named) < len(self.order) or not free <= named <= set(leaves):
            raise ValueError(
                f"`order` of `BlockCoordinate` is {self.order}, but it must name each "
                f"leaf of this landscape's state once: {tuple(leaves)} in any order. "
                "Leave it out to sweep by groups that don't interact."
            )


def _remembered(memory: _Sweeping, error: Float[Array, " batch"]) -> _Sweeping:
    """The memory after a sweep that met this error."""
    count, caution = memory.count, memory.caution
    return _Sweeping(
        None if count is None else count + 1,
        None if caution is None else learn(caution, error),
    )


def _beyond(unit: AbstractUnit, old: Array, goal: Array, omega: Array | None) -> Array:
    if omega is None:
        return goal
    factor = per_example(omega, old).astype(old.dtype)
    return jax.vmap(unit.project)(old + factor * (goal - old))
