from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ...energies import Model
from .._landscape import Landscape
from .._minimum import constant_curvature
from .._scalars import as_scalar, inner, per_example, require, require_steps
from .._solver import AbstractLookahead, Tolerance
from ._misc import (
    require_affine,
    require_continuous,
    require_potential,
    require_real,
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
    sweep has one ω for all of them. The first step is a plain sweep.

    For the slowest examples of a batch it takes fewer sweeps than
    [`eqprop.BlockCoordinate`][] with its best ω, and needs no estimate; in a few
    sweeps of fixed number an ω that falls certifies as many, and is cheaper.
    Error: the residual. Reverse-differentiable without `stop`.

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
        _require_two_groups(landscape)
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
        drives, treedef = jax.tree.flatten(drive)
        for k, d in zip(stepping, landscape.drive(state, stepping), strict=True):
            drives[k] = d
        return treedef.unflatten(drives)

    def move(self, landscape, state, memory, drive):
        settling, stepping = _groups(landscape)
        leaves, treedef = jax.tree.flatten(state)
        drives = jax.tree.leaves(drive)
        own = tuple(leaves[k] for k in stepping)
        force = tuple(drives[k] - leaves[k] for k in stepping)
        known = [drives[k] for k in stepping]
        goals = landscape.minimum(state, stepping, known)
        pull = _each(jnp.subtract, goals, own)
        direction, length = _direction(pull, memory)
        units = [landscape.leaf_units()[k] for k in stepping]
        span = tuple(
            jax.vmap(unit.project)(s + _times(length, p)) - s
            for unit, s, p in zip(units, own, direction, strict=True)
        )
        # Walls may have bent the direction uphill; and the first step goes nowhere, as
        # the other layers have yet to settle.
        uphill = _inner(force, span, memory.length) <= 0
        fresh = memory.length == 0
        span = _each(lambda z, d: _where(uphill, z, d), pull, span)
        span = _each(lambda d: _where(fresh, jnp.zeros_like(d), d), span)
        length = jnp.where(uphill, 1, length)

        trial = list(leaves)
        for k, s, d in zip(stepping, own, span, strict=True):
            trial[k] = s + d
        before = tuple(drives[k] for k in settling)
        after = landscape.drive(treedef.unflatten(trial), settling)
        change = _each(jnp.subtract, after, before)
        here = tuple(leaves[k] for k in settling)

        def settled(share):
            """The other layers at their minimum, this far along the span."""
            moved = [b + _times(share, c) for b, c in zip(before, change, strict=True)]
            return landscape.minimum(state, settling, moved), moved

        def descent(share):
            """Minus the slope of f along the span, this far along."""
            went = _each(jnp.subtract, settled(share)[0], here)
            return (
                _inner(force, span, share)
                - share * _inner(span, span, share)
                + _inner(went, change, share)
            )

        share = jnp.where(fresh, 1, _line_search(descent, length))
        for k, s, d in zip(stepping, own, span, strict=True):
            leaves[k] = s + _times(share, d)
        for k, s, d in zip(settling, *settled(share), strict=True):
            leaves[k], drives[k] = s, d
        new = treedef.unflatten(leaves)
        met = _with_own_nudge(landscape, state, new, treedef.unflatten(drives))
        further = jnp.clip(_FURTHER * length * share, _SHORTEST, _LONGEST)
        direction = _each(lambda d: d / per_example(length, d), span)
        return new, _Memory(pull, direction, further.astype(length.dtype)), met


def _direction(
    pull: tuple[Array, ...], memory: _Memory
) -> tuple[tuple[Array, ...], Float[Array, " batch"]]:
    """Where the next step goes, and how far its trial."""
    turned = _each(jnp.subtract, pull, memory.pull)
    norm = _inner(memory.pull, memory.pull, memory.length)
    kept = _inner(pull, turned, memory.length) / jnp.where(norm > 0, norm, 1)
    kept = jnp.maximum(kept, 0)
    direction = _each(lambda z, p: z + _times(kept, p), pull, memory.direction)
    return direction, memory.length


def _line_search(
    descent: Callable[[Array], Array], like: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """How far to go along a span: to its end where f still falls there, else to where
    it falls no more, by two secants."""
    none, all_ = jnp.zeros_like(like), jnp.ones_like(like)
    start, end = descent(none), descent(all_)
    middle = _crossing(none, start, all_, end)
    found = descent(middle)
    # One choice between two whole answers, which agree where `found` is zero: compiled,
    # it may be rounded differently wherever it is used.
    beyond = _crossing(middle, found, all_, end)
    before = _crossing(none, start, middle, found)
    return jnp.where(end >= 0, 1, jnp.where(found > 0, beyond, before))


def _crossing(low: Array, above: Array, high: Array, below: Array) -> Array:
    """Where the line between a value above zero and one below it crosses zero."""
    drop = above - below
    return low + (high - low) * jnp.where(drop > 0, above / drop, 0)


def _with_own_nudge(
    landscape: Landscape, old: PyTree[Array], new: PyTree[Array], drive: PyTree[Array]
) -> PyTree[Array]:
    """The drives of a new state, from those whose nudge is that of the old one."""
    nothing = jax.tree.map(jnp.zeros_like, drive)
    was, now = (landscape.nudged_drive(state, nothing) for state in (old, new))
    return jax.tree.map(lambda d, a, b: d - a + b, drive, was, now)


def _groups(landscape: Landscape) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers that are always at their minimum, the nudged output among them, and
    those that step. Where nothing interacts none need step."""
    settling, *stepping = landscape.blocks()
    return settling, stepping[0] if stepping else ()


def _require_two_groups(landscape: Landscape) -> None:
    count = len(landscape.blocks())
    if count > 2:
        raise ValueError(
            "`ConjugateSweeps` needs layers in two groups that don't interact inside, "
            f"as even and odd ones of a chain, but this graph has a cycle that needs "
            f"{count}. Use `ep.BlockCoordinate()`."
        )


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


def _where(which: Array, yes: Array, no: Array) -> Array:
    return jnp.where(per_example(which, yes), yes, no)


def _inner(
    a: Sequence[Array], b: Sequence[Array], like: Float[Array, " batch"]
) -> Float[Array, " batch"]:
    """The inner product of some layers, for every example; 0 of none."""
    return inner(a, b) if a else jnp.zeros_like(like)
