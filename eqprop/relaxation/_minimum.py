"""Where its drive takes a unit."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from ..energies import AbstractCost, AbstractUnit
from ._scalars import per_example


def displaced(
    unit: AbstractUnit,
    drive: Inexact[Array, "batch ..."],
    s: Inexact[Array, "batch ..."],
) -> Inexact[Array, "batch ..."]:
    """How far units are from where their drive, which without a potential is the force,
    would take them."""
    if unit.curvature[0] > 0:
        return jax.vmap(unit.activate)(drive) - s
    moved = s + drive
    projected = jax.vmap(unit.project)(moved)
    # At a state that has run far away s + force rounds to s, and would pass for
    # settled: where nothing is projected the move is the force itself.
    return jnp.where(projected == moved, drive, projected - s)


def nudged_minimum(
    cost: AbstractCost,
    unit: AbstractUnit,
    drive: Inexact[Array, "batch ..."],
    o: Inexact[Array, "batch ..."],
    beta: Array,
) -> Inexact[Array, "batch ..."]:
    """A step of the nudged output toward its minimum, the rest of the state fixed.

    βC lies below its tangent at o plus $½·\\text{bend}·|Δ|²$: minimizing that bound
    lowers F, and does so exactly where the cost's curvature is constant. NaN where the
    bound has no minimum.

    **Arguments:**

    - `drive`: the output's own at o, the nudge included.
    """
    low, high = cost.curvature()
    if unit.binary:
        if not constant_curvature(cost):
            raise ValueError(
                f"Binary outputs nudged by `{type(cost).__name__}` have no minimum one "
                "by one: each one's best state depends on the others'. Use "
                "`ep.SquaredError()`, or sample them by `ep.Gibbs(temperature=0.1)`."
            )
        return jax.vmap(unit.activate)(drive)
    beta = per_example(beta, o)
    if jnp.iscomplexobj(o):
        return _complex_minimum(unit, drive, o, beta, low, high)
    # A negative β turns C's smallest curvature into the largest.
    bend = jnp.where(beta > 0, beta * high, beta * low)
    if unit.quadratic:
        step = jax.vmap(unit.project)((drive + bend * o) / (1 + bend))
        return jnp.where(1 + bend > 0, step, jnp.nan)
    # The same bound with G's own convexity m: this part of the way to the drive's
    # answer lowers F for any curved unit.
    way = jnp.minimum(1.0, unit.curvature[0] / (unit.curvature[0] + bend))
    goal = jax.vmap(unit.activate)(drive)
    step = jax.vmap(unit.project)(o + way * (goal - o))
    return jnp.where(unit.curvature[0] + bend > 0, step, jnp.nan)


def constant_curvature(cost: AbstractCost) -> bool:
    """Whether the cost is quadratic, the same in every direction."""
    low, high = cost.curvature()
    return isinstance(low, float) and isinstance(high, float) and low == high


def _complex_minimum(unit, drive, o, beta, low, high):
    # No energy to lower here: the same fixed point, approached by a contraction. With
    # the middle of the curvatures it is exact for a constant one.
    beta, high = beta.astype(o.dtype), jnp.asarray(high)
    if unit.quadratic:
        bend = beta * (0.5 * (low + high)).astype(o.dtype)
        return (drive + bend * o) / (1 + bend)
    way = unit.curvature[0] / (
        unit.curvature[0] + jnp.abs(beta) * high.astype(o.real.dtype)
    )
    goal = jax.vmap(unit.activate)(drive)
    return o + way.astype(o.dtype) * (goal - o)
