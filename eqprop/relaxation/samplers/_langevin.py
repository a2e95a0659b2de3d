import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Scalar

from .._landscape import Landscape
from .._scalars import as_scalar, require, require_steps
from ..solvers._misc import require_continuous
from ._sampler import AbstractSampler, advance, draw, require_temperature, start_chains
from ._walls import reflect, walls


class Langevin(AbstractSampler):
    """Langevin dynamics in discrete time, reflected at the walls.

    $$s \\leftarrow \\text{reflect}\\bigl(\\text{project}(s - ε\\,∂F/∂s)
      + \\sqrt{2εT}\\,ξ\\bigr), \\qquad ξ \\sim N(0, 1)$$

    the paper's dynamics with noise; as T → 0 it becomes [`eqprop.Euler`][]. Noise that
    leaves the feasible interval is folded back into it, not clipped, which would leave
    atoms of probability on the walls.

    The step size biases the distribution by O(ε): of a quadratic F with curvature A and
    no walls, the covariance is $T A^{-1}(1 - εA/2)^{-1}$ instead of $T A^{-1}$.
    Stable for ε < 2 over the largest curvature; [`eqprop.MetropolisLangevin`][] has no
    bias. One gradient a step. Refuses units whose potential has unbounded curvature
    (sigmoid, tanh, softmax) and binary ones.

    **Arguments:**

    - `temperature`: T > 0.
    - `step_size`: ε > 0, a fraction of the units' time constant.
    - `max_steps`: see [`eqprop.AbstractSolver`][].

    ??? cite "Scellier & Bengio 2017, section 2.2"
        arXiv:1602.05179 announces the stochastic framework.
    """

    temperature: Scalar = eqx.field(converter=as_scalar)
    step_size: Scalar = eqx.field(default=0.1, converter=as_scalar)
    max_steps: int = eqx.field(default=100, static=True)

    def __check_init__(self):
        require_steps("Langevin", self.max_steps)
        require_temperature("Langevin", self.temperature)
        fix = "0.1 suits networks; the bias is proportional to it."
        require("Langevin", "step_size", self.step_size, above=0, fix=fix)

    def init(self, landscape, state, key):
        _require_bounded_force(landscape)
        return start_chains("Langevin", landscape, key)

    def step(self, landscape, state, memory):
        keys, now = advance(memory)
        force = landscape.force(state)
        moved = jax.tree.map(lambda s, f: s + self.step_size * f, state, force)
        # A drift into a wall that was reflected would come back as one away from it,
        # at any temperature.
        leaves, treedef = jax.tree.flatten(landscape.project(moved))
        spread = jnp.sqrt(2 * self.step_size * self.temperature)
        noise = draw(now, state, jax.random.normal)
        for k, unit in enumerate(landscape.leaf_units()):
            if k not in landscape.held:
                s = leaves[k] + spread * noise[k]
                leaves[k] = reflect(s, *walls(unit))
        error = jnp.full(landscape.batch, jnp.inf, leaves[0].dtype)
        return jax.tree.unflatten(treedef, leaves), keys, error


def _require_bounded_force(landscape: Landscape) -> None:
    require_continuous("Langevin", landscape)
    for unit in landscape.leaf_units():
        if unit.curvature[1] == float("inf"):
            raise ValueError(
                "`Langevin` needs units whose potential has bounded curvature, but "
                f"`units` holds `{unit}`, whose force is infinite at its boundary. Use "
                "`ep.MetropolisLangevin(temperature=0.1)`, which corrects every step."
            )
