from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float, Scalar

from ...energies import AbstractUnit, Model
from .._landscape import Landscape
from .._minimum import constant_curvature
from .._scalars import as_scalar, per_example, require_steps
from ._sampler import AbstractSampler, advance, draw, require_temperature, start_chains
from ._truncated import truncated_normal
from ._walls import walls


class Gibbs(AbstractSampler):
    """Gibbs sampling: every layer in turn drawn anew, given the rest of the network.

    $$P(s_i = 1 \\mid \\text{rest}) = \\frac{1}{1 + e^{ΔF_i/T}}, \\qquad
      ΔF_i = F(s_i{=}1) - F(s_i{=}0)$$

    for binary units; units with $G = ½s²$ under a drive d are normal with mean d and
    variance T, between their walls (nudged by `SquaredError`: $(d + βy)/(1 + β)$ and
    $T/(1 + β)$). One step is one sweep over all layers, those that don't interact at
    once: a chain's even layers, then its odd ones. No step size and no bias; as T → 0
    it becomes [`eqprop.BlockCoordinate`][].

    Binary layers that are coupled with themselves, by the energy or a cost other than
    `SquaredError`, are drawn unit by unit from differences of the energy: right for
    any energy, at two evaluations for each unit. Continuous layers of that kind are
    refused, and so are units that are neither binary nor quadratic.

    **Arguments:**

    - `temperature`: T > 0.
    - `max_steps`: see [`eqprop.AbstractSolver`][].

    ??? cite "Geman & Geman 1984"
        Stochastic relaxation, Gibbs distributions, and the Bayesian restoration of
        images, IEEE PAMI 6(6).
    """

    temperature: Scalar = eqx.field(converter=as_scalar)
    max_steps: int = eqx.field(default=20, static=True)

    def __check_init__(self):
        require_steps("Gibbs", self.max_steps)
        require_temperature("Gibbs", self.temperature)

    def init(self, landscape, state, key):
        _require_conditionals(landscape)
        return start_chains("Gibbs", landscape, key)

    def step(self, landscape, state, memory):
        keys, now = advance(memory)
        leaves, treedef = jax.tree.flatten(state)
        units, alone = landscape.leaf_units(), _entangled(landscape)
        luck = draw(now, state, _open_uniform)
        for group in _groups(landscape):
            block = [k for k in group if k not in alone]
            drives = landscape.drive(jax.tree.unflatten(treedef, leaves), block)
            for k, d in zip(block, drives, strict=True):
                leaves[k] = self._drawn(landscape, units[k], k, d, leaves[k], luck[k])
            for k in alone.intersection(group):
                leaves[k] = self._swept(landscape, leaves, treedef, k, luck[k])
        error = jnp.full(landscape.batch, jnp.inf, leaves[0].dtype)
        return jax.tree.unflatten(treedef, leaves), keys, error

    def _drawn(self, landscape, unit: AbstractUnit, k: int, d, s, luck) -> Array:
        """Leaf k, whose units don't depend on each other, given its drive d."""
        if unit.binary:
            return (luck < jax.nn.sigmoid(d / self.temperature)).astype(s.dtype)
        bend = jnp.zeros((), s.dtype)
        if k == _nudged_leaf(landscape):
            bend = per_example(landscape.beta * landscape.model.cost.curvature()[0], s)
        # Of 1 + β ≤ 0 there is no distribution: the root is NaN and reported.
        mean, spread = (d + bend * s) / (1 + bend), self.temperature / (1 + bend)
        spread = jnp.broadcast_to(jnp.sqrt(spread), s.shape).astype(s.dtype)
        low, high = walls(unit)
        if low == -jnp.inf and high == jnp.inf:
            return mean + spread * ndtri(luck)
        return truncated_normal(luck, mean, spread, low, high)

    def _swept(self, landscape: Landscape, leaves, treedef, k: int, luck) -> Array:
        """Leaf k, unit by unit, each given those before it."""
        s = leaves[k]
        luck = luck.reshape(landscape.batch, -1)

        def energy(row: Float[Array, "batch units"], i, value: float):
            moved = row.at[:, i].set(value).reshape(s.shape)
            changed = [*leaves[:k], moved, *leaves[k + 1 :]]
            return landscape.energy(jax.tree.unflatten(treedef, changed))

        def visit(i, row):
            gain = energy(row, i, 0.0) - energy(row, i, 1.0)
            one = luck[:, i] < jax.nn.sigmoid(gain / self.temperature)
            return row.at[:, i].set(one.astype(row.dtype))

        flat = s.reshape(landscape.batch, -1)
        return jax.lax.fori_loop(0, flat.shape[1], visit, flat).reshape(s.shape)


def _open_uniform(key: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    # Never 0, whose quantile on an open side is infinite.
    tiny = float(jnp.finfo(dtype).tiny)
    return jax.random.uniform(key, shape, dtype, minval=tiny, maxval=1.0)


def _groups(landscape: Landscape) -> tuple[tuple[int, ...], ...]:
    # In the order of the landscape without its nudge: chains with the same key in the
    # free and the nudged landscape are to differ by nothing but the nudge.
    return Landscape(landscape.model, landscape.x, held=landscape.held).blocks()


def _nudged_leaf(landscape: Landscape) -> int | None:
    """The leaf whose own state the nudge's drive depends on."""
    if landscape.beta is None or landscape.affine_nudge:
        return None
    return landscape.output_leaf()


def _entangled(landscape: Landscape) -> frozenset[int]:
    """The leaves whose units depend on each other, given the other leaves."""
    found = {k for k, near in enumerate(landscape.couplings()) if k in near}
    if landscape.beta is not None and not landscape.affine_nudge:
        assert isinstance(landscape.model, Model)
        output = landscape.output_leaf()
        if output is None:
            found.update(range(len(landscape.leaf_units())))
        elif not constant_curvature(landscape.model.cost):
            found.add(output)
    return frozenset(found - set(landscape.held))


def _require_conditionals(landscape: Landscape) -> None:
    """Refuses layers whose distribution, given the others, has no closed form."""
    entangled = _entangled(landscape)
    for k, unit in enumerate(landscape.leaf_units()):
        if k in landscape.held or unit.binary:
            continue
        if not unit.quadratic:
            raise ValueError(
                f"`Gibbs` draws binary and quadratic units, but `units` holds `{unit}`,"
                " whose distribution under a drive has no closed form. Use "
                "`ep.MetropolisLangevin(temperature=0.1)`."
            )
        if k in entangled:
            raise ValueError(
                f"`Gibbs` draws the units of a layer at once, but in layer {k} of the "
                "state they depend on each other: by a lateral coupling, or by a nudge "
                "whose cost is not `SquaredError`. Use `ep.Langevin(temperature=0.1)`."
            )
