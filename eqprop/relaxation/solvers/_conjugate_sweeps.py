from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ...energies import AbstractUnit, Model
from .._landscape import Landscape
from .._minimum import constant_curvature
from .._scalars import as_scalar, inner, per_example, require, require_steps
from .._solver import AbstractLookahead, Tolerance
from ._misc import (
    replaced,
    require_affine,
    require_continuous,
    require_potential,
    require_real,
    seen_anew,
)


# How far a trial goes along its direction, as a multiple of the sweep's own move: so
# many times as far as the last step went, within these bounds. Where walls are in the
# way a trial that goes too far bends the direction, one too short cuts the step.
_FURTHER, _SHORTEST, _LONGEST = 1.3, 1.6, 8.0


class _Memory(eqx.Module):
    """What sweeps remember of every example, in the layers that step.

    **Attributes:**

    - `pull`: how far they were from their minimum before the last step.
    - `direction`: where it went.
    - `length`: how far the next trial goes; 0 before the first step.
    """

    pull: tuple[Array, ...]
    direction: tuple[Array, ...]
    length: Float[Array, " batch"]


class ConjugateSweeps(AbstractLookahead):
    """Block sweeps by conjugate directions: the fewest to a tolerance, and no ω.

    Of the two groups of layers that don't interact inside (even and odd ones of a
    chain) one, b, is always at its minimum. The other, a, goes down
    $f(a) = \\min_b F(a, b)$, for each example by itself, by nonlinear conjugate
    gradients with the sweep's own move z as its gradient:

    $$z = \\arg\\min_a F(a, b) - a, \\qquad
      p = z + \\max\\Bigl(0, \\frac{⟨z, z - z'⟩}{⟨z', z'⟩}\\Bigr) p', \\qquad
      a ← a + α\\,\\bigl(\\text{project}(a + τp) - a\\bigr)$$

    with z', p' those of the last step, τ 1.3 times as far as that went, and α in
    [0, 1] by a line search. It costs no product: along a line the drives of b are
    linear, so that a step costs what one sweep does, and some sums over units. Where
    saturated units change no more it is the method of conjugate gradients, which
    settles the few slow modes of a trained network one by one, where an over-relaxed
    sweep has one ω for all of them. In the first step b settles, and a stays.

    The stiffer the network, the more it saves: for the slowest examples of a batch it
    takes fewer steps than [`eqprop.BlockCoordinate`][] sweeps with the best ω, and
    nothing need be estimated. In a fixed number of sweeps an ω that falls certifies as
    many, and is cheaper. The energy may rise now and then. Error: the residual.
    Reverse-differentiable without `stop`.

    Needs an interaction that is affine in every block and layers in two groups, units
    with quadratic potentials (`Linear`, `HardSigmoid`, `ReLU`, …), and under a nudge a
    cost of constant curvature (`SquaredError`) and an output that is one leaf of the
    state.

    **Arguments:**

    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].

    ??? cite "Gilbert & Nocedal 1992; Polak & Ribière 1969"
        Global convergence properties of conjugate gradient methods for optimization,
        SIAM Journal on Optimization 2:21–42 (the positive part). Note sur la
        convergence de méthodes de directions conjuguées, Revue française
        d'informatique et de recherche opérationnelle 3:35–43.
    """

    max_steps: int = eqx.field(default=100, static=True)
    stop: Tolerance | None = eqx.field(default_factory=Tolerance)
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("ConjugateSweeps", self.max_steps)
        fix = "The default is 1e-3."
        require("ConjugateSweeps", "certify", self.certify, above=0, fix=fix)

    def init(self, landscape, state, key):
        require_real("ConjugateSweeps", landscape)
        require_potential("ConjugateSweeps", landscape)
        require_continuous("ConjugateSweeps", landscape)
        require_affine("ConjugateSweeps", landscape)
        _require_quadratic(landscape)
        _, stepping = _groups(landscape)
        leaves = jax.tree.leaves(state)
        still = tuple(jnp.zeros_like(leaves[k]) for k in stepping)
        return _Memory(still, still, jnp.zeros(landscape.batch, leaves[0].dtype))

    def step(self, landscape, state, memory):
        drive = landscape.drive(state)
        found, memory, _ = self.move(landscape, state, memory, drive)
        return found, memory, landscape.residual(state, drive)

    def looks_ahead(self, landscape):
        return True

    def look(self, landscape, state, drive):
        _, stepping = _groups(landscape)
        return seen_anew(landscape, state, drive, stepping)

    def move(self, landscape, state, memory, drive):
        settling, stepping = _groups(landscape)
        leaves, treedef = jax.tree.flatten(state)
        drives = jax.tree.leaves(drive)
        own, met = ([part[k] for k in stepping] for part in (leaves, drives))
        force = _each(jnp.subtract, met, own)
        pull = _each(jnp.subtract, landscape.minimum(state, stepping, met), own)
        units = [landscape.leaf_units()[k] for k in stepping]
        span, length = _aimed(units, own, force, pull, memory)

        trial = replaced(leaves, stepping, _each(jnp.add, own, span))
        after = landscape.drive(treedef.unflatten(trial), settling)
        line = _Line(landscape, state, settling, force, span, drives, after)
        share = jnp.where(memory.length == 0, 1, line.search(memory.length))
        went = _each(lambda d: _times(share, d), span)
        leaves = replaced(leaves, stepping, _each(jnp.add, own, went))
        others, known = line.others(share)
        leaves = replaced(leaves, settling, others)
        new = treedef.unflatten(leaves)
        known = treedef.unflatten(replaced(drives, settling, known))
        further = jnp.clip(_FURTHER * length * share, _SHORTEST, _LONGEST)
        direction = _each(lambda d: d / per_example(length, d), span)
        memory = _Memory(pull, direction, further.astype(length.dtype))
        return new, memory, _nudged_anew(landscape, state, new, known)


def _aimed(
    units: Sequence[AbstractUnit],
    own: Sequence[Array],
    force: Sequence[Array],
    pull: tuple[Array, ...],
    memory: _Memory,
) -> tuple[tuple[Array, ...], Float[Array, " batch"]]:
    """From where the stepping layers are to where a trial takes them, and how many
    times as long as the direction that is."""
    like = memory.length
    norm = _inner(memory.pull, memory.pull, like)
    turned = _inner(pull, _each(jnp.subtract, pull, memory.pull), like)
    kept = jnp.maximum(0, turned / jnp.where(norm > 0, norm, 1))
    direction = _each(lambda z, p: z + _times(kept, p), pull, memory.direction)
    span = tuple(
        jax.vmap(unit.project)(s + _times(like, p)) - s
        for unit, s, p in zip(units, own, direction, strict=True)
    )
    # Walls may have bent the direction uphill; and the first step goes nowhere, as the
    # other layers have yet to settle.
    uphill, fresh = _inner(force, span, like) <= 0, like == 0
    span = _each(lambda z, d: jnp.where(per_example(uphill, d), z, d), pull, span)
    span = _each(lambda d: jnp.where(per_example(fresh, d), 0, d), span)
    return span, jnp.where(uphill, 1, like)


class _Line(NamedTuple):
    """The line that a step goes along, all other layers at their minimum.

    **Attributes:**

    - `settling`: those other layers.
    - `force`, `span`: of the stepping ones, at its start and to its end.
    - `drives`, `after`: of all layers at its start, and of the others at its end.
    """

    landscape: Landscape
    state: PyTree[Array]
    settling: tuple[int, ...]
    force: tuple[Array, ...]
    span: tuple[Array, ...]
    drives: list[Array]
    after: tuple[Array, ...]

    @property
    def change(self) -> tuple[Array, ...]:
        before = [self.drives[k] for k in self.settling]
        return _each(jnp.subtract, self.after, before)

    def others(self, share: Float[Array, " batch"]):
        """The other layers so far along the line, and their drives."""
        known = tuple(
            self.drives[k] + _times(share, change)
            for k, change in zip(self.settling, self.change, strict=True)
        )
        return self.landscape.minimum(self.state, self.settling, known), known

    def descent(self, share: Float[Array, " batch"]) -> Float[Array, " batch"]:
        """Minus the slope of f so far along the line."""
        leaves = jax.tree.leaves(self.state)
        here = [leaves[k] for k in self.settling]
        went = _each(jnp.subtract, self.others(share)[0], here)
        straight = _inner(self.span, self.span, share)
        bent = _inner(went, self.change, share)
        return _inner(self.force, self.span, share) - share * straight + bent

    def search(self, like: Float[Array, " batch"]) -> Float[Array, " batch"]:
        """How far to go: to the end where f still falls there, else to where it falls
        no more, by two secants."""
        none, whole = jnp.zeros_like(like), jnp.ones_like(like)
        start, end = _inner(self.force, self.span, like), self.descent(whole)
        middle = _crossing(none, start, whole, end)
        found = self.descent(middle)
        # One choice between two whole answers, which agree where `found` is zero:
        # compiled, it may be rounded differently wherever it is used.
        beyond = _crossing(middle, found, whole, end)
        before = _crossing(none, start, middle, found)
        return jnp.where(end >= 0, 1, jnp.where(found > 0, beyond, before))


def _crossing(low: Array, above: Array, high: Array, below: Array) -> Array:
    """Where the line between a value above zero and one below it crosses zero."""
    drop = above - below
    return low + (high - low) * above / jnp.where(drop > 0, drop, jnp.inf)


def _nudged_anew(
    landscape: Landscape, old: PyTree[Array], new: PyTree[Array], drive: PyTree[Array]
) -> PyTree[Array]:
    """The drives of a new state, from those whose nudge is that of the old one."""
    nothing = jax.tree.map(jnp.zeros_like, drive)
    was, now = (landscape.nudged_drive(state, nothing) for state in (old, new))
    return jax.tree.map(lambda d, a, b: d - a + b, drive, was, now)


def _groups(landscape: Landscape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers that are always at their minimum, the nudged output among them, and
    those that step. Where nothing interacts none need step."""
    settling, *stepping = blocks = landscape.blocks()
    if len(blocks) > 2:
        raise ValueError(
            "`ConjugateSweeps` needs layers in two groups that don't interact inside, "
            f"as even and odd ones of a chain, but this graph has a cycle that needs "
            f"{len(blocks)}. Use `ep.BlockCoordinate()`."
        )
    return settling, stepping[0] if stepping else ()


def _require_quadratic(landscape: Landscape) -> None:
    for unit in landscape.leaf_units():
        if not unit.quadratic:
            raise ValueError(
                "`ConjugateSweeps` needs units with a quadratic potential, but `units` "
                f"holds `{unit}`. Use `ep.BlockCoordinate()`."
            )
    if landscape.beta is None or landscape.affine_nudge:
        return
    assert isinstance(landscape.model, Model)
    if not constant_curvature(landscape.model.cost):
        raise ValueError(
            "`ConjugateSweeps` needs a nudge of constant curvature, but the cost is "
            f"`{type(landscape.model.cost).__name__}`. Use `ep.SquaredError()`, or "
            "`ep.BlockCoordinate()`."
        )


def _each(fn: Callable[..., Array], *parts: Sequence[Array]) -> tuple[Array, ...]:
    return tuple(fn(*leaves) for leaves in zip(*parts, strict=True))


def _times(factor: Float[Array, " batch"], leaf: Array) -> Array:
    return per_example(factor, leaf).astype(leaf.dtype) * leaf


def _inner(
    a: Sequence[Array], b: Sequence[Array], like: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """The inner product of some layers, for every example; 0 of none."""
    return inner(a, b) if a else jnp.zeros_like(like)
