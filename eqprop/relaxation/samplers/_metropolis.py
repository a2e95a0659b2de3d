import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Int, PyTree, Scalar

from ...energies import Softmax
from .._landscape import Landscape
from .._scalars import as_scalar, per_example, require, require_steps
from ..solvers._misc import require_continuous
from ._sampler import AbstractSampler, advance, draw, require_temperature, start_chains
from ._walls import reflect, walls


class _Chain(eqx.Module):
    keys: Array
    energy: Float[Array, " batch"]
    center: PyTree[Array]
    accepted: Int[Array, " batch"]


class MetropolisLangevin(AbstractSampler):
    """Langevin dynamics with each step accepted or rejected: no step-size bias.

    A Langevin step $s'$ from $s$, of density $q(s'|s)$, is taken with probability

    $$\\min\\Bigl(1,\\; e^{-(F(s') - F(s))/T}\\,\\frac{q(s|s')}{q(s'|s)}\\Bigr)$$

    and otherwise the state stays. Proposals are reflected at the walls, with q the sum
    over the ways there; one that would have to be folded more than once is rejected.
    So $e^{-F/T}$ is exactly stationary for any ε and for all units but binary ones and
    softmax. One energy and its gradient a step.

    A sampler for small networks: all of an example's units move or stay together, and
    a wall that units are pressed to with a force f asks for ε below about $T/f²$, or
    hardly a step is accepted (0.57 of them is best). A step that stays repeats the
    state, which `relax(..., observe=...)` shows; they are counted in the memory.

    **Arguments:**

    - `temperature`: T > 0.
    - `step_size`: ε > 0, a fraction of the units' time constant.
    - `max_steps`: see [`eqprop.AbstractSolver`][].

    ??? cite "Roberts & Tweedie 1996"
        Exponential convergence of Langevin distributions and their discrete
        approximations, Bernoulli 2(4). Reflection at walls is our addition.
    """

    temperature: Scalar = eqx.field(converter=as_scalar)
    step_size: Scalar = eqx.field(default=0.1, converter=as_scalar)
    max_steps: int = eqx.field(default=100, static=True)

    def __check_init__(self):
        require_steps("MetropolisLangevin", self.max_steps)
        require_temperature("MetropolisLangevin", self.temperature)
        fix = "0.1 suits small networks; larger ones accept only smaller steps."
        require("MetropolisLangevin", "step_size", self.step_size, above=0, fix=fix)

    def init(self, landscape, state, key):
        _require_intervals(landscape)
        keys = start_chains("MetropolisLangevin", landscape, key)
        accepted = jnp.zeros(landscape.batch, jnp.int32)
        energy = landscape.energy(state)
        return _Chain(keys, energy, self._center(landscape, state), accepted)

    def step(self, landscape, state, memory):
        keys, now, last = advance(memory.keys, 3)
        spread = jnp.sqrt(2 * self.step_size * self.temperature)
        trial, once = _proposal(landscape, state, memory.center, spread, now)
        energy = landscape.energy(trial)
        center = self._center(landscape, trial)
        ratio = (memory.energy - energy) / self.temperature
        ratio = ratio + _log_density(landscape, state, center, spread)
        ratio = ratio - _log_density(landscape, trial, memory.center, spread)
        (luck,) = draw(last, energy, jax.random.uniform)
        # A ratio that is NaN compares as false: the chain never enters there.
        accept = once & (jnp.log(luck) < ratio)

        def chosen(new, old):
            return jnp.where(per_example(accept, new), new, old)

        state, energy, center = jax.tree.map(
            chosen, (trial, energy, center), (state, memory.energy, memory.center)
        )
        accepted = memory.accepted + accept.astype(jnp.int32)
        error = jnp.full_like(energy, jnp.inf)
        return state, _Chain(keys, energy, center, accepted), error

    def _center(self, landscape: Landscape, state: PyTree[Array]) -> PyTree[Array]:
        """Where the drift takes the state: as in `Langevin`, though any drift is right
        as long as both directions use it."""

        def moved(s, f):
            # Sigmoid units rest on a wall, where their force is infinite.
            return s + self.step_size * jnp.where(jnp.isfinite(f), f, 0)

        forces = landscape.force(state)
        return landscape.project(jax.tree.map(moved, state, forces))


def _proposal(landscape, state, center, spread, keys):
    """The proposed states, and for each example whether none was folded twice."""
    leaves, treedef = jax.tree.flatten(state)
    centers = jax.tree.leaves(center)
    noise = draw(keys, state, jax.random.normal)
    once: Bool[Array, " batch"] = jnp.ones(landscape.batch, bool)
    for k, unit in enumerate(landscape.leaf_units()):
        if k in landscape.held:
            continue
        low, high = walls(unit)
        s = centers[k] + spread * noise[k]
        near = (s >= 2 * low - high) & (s <= 2 * high - low)
        if math.isfinite(high - low):
            once = once & jnp.all(near.reshape(landscape.batch, -1), axis=1)
        leaves[k] = reflect(s, low, high)
    return jax.tree.unflatten(treedef, leaves), once


def _log_density(landscape, state, center, spread) -> Float[Array, " batch"]:
    """log q(state | center), up to a constant."""
    leaves, centers = jax.tree.leaves(state), jax.tree.leaves(center)
    total = jnp.zeros(landscape.batch, leaves[0].dtype)
    for k, unit in enumerate(landscape.leaf_units()):
        if k in landscape.held:
            continue
        s = leaves[k]
        images = [s, *(2 * wall - s for wall in walls(unit) if math.isfinite(wall))]
        logs = [-0.5 * ((image - centers[k]) / spread) ** 2 for image in images]
        log = logsumexp(jnp.stack(logs), axis=0)
        total = total + jnp.sum(log.reshape(landscape.batch, -1), axis=1)
    return total


def _require_intervals(landscape: Landscape) -> None:
    require_continuous("MetropolisLangevin", landscape)
    for unit in landscape.leaf_units():
        if isinstance(unit, Softmax):
            raise ValueError(
                "`MetropolisLangevin` moves every unit on an interval of its own, but "
                f"`units` holds `{unit}`, whose units sum to one. Use linear outputs "
                "with `ep.CrossEntropy()`, or `ep.Sigmoid()` units."
            )
