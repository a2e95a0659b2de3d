import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from .._landscape import Landscape
from .._scalars import as_scalar, inner, per_example, require, require_steps
from .._solver import AbstractSolver, Tolerance
from ._misc import largest_change, require_bounded_curvature, require_real


class _AdaptiveState(eqx.Module):
    step_size: Float[Array, " batch"]
    energy: Float[Array, " batch"]
    force: PyTree[Array]


class AdaptiveEuler(AbstractSolver):
    """Projected gradient descent with a step of its own for each example.

    A step $s' = \\text{project}(s - ε\\,∂F/∂s)$ is taken if it lowers the energy by at
    least a tenth of what the slope promises, $F(s') \\le F(s) - ‖s' - s‖²/(10\\,ε)$,
    and ε then grows by 1.3; otherwise the state stays and ε is halved. So the energy
    never increases, for any energy: the solver to start with for one of your own. A
    step costs one energy and its gradient. Error: the largest
    $|\\text{project}(s + \\text{force}) - s|$.

    **Arguments:**

    - `step_size`: the first ε > 0.
    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].
    """

    step_size: Scalar = eqx.field(default=0.5, converter=as_scalar)
    max_steps: int = eqx.field(default=1000, static=True)
    stop: Tolerance | None = eqx.field(default_factory=Tolerance)
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("AdaptiveEuler", self.max_steps)
        fix = "A first step of 0.5 suits most energies."
        require("AdaptiveEuler", "step_size", self.step_size, above=0, fix=fix)
        fix = "The default is 1e-3."
        require("AdaptiveEuler", "certify", self.certify, above=0, fix=fix)

    def init(self, landscape, state, key):
        require_real("AdaptiveEuler", landscape)
        require_bounded_curvature("AdaptiveEuler", landscape)
        energy = landscape.energy(state)
        step_size = jnp.full_like(energy, self.step_size)
        return _AdaptiveState(step_size, energy, landscape.force(state))

    def step(self, landscape, state, memory):
        trial = _moved(landscape, state, memory.force, memory.step_size)
        energy, force = landscape.energy(trial), landscape.force(trial)
        shift = jax.tree.map(jnp.subtract, trial, state)
        promised = 0.1 * inner(shift, shift) / memory.step_size
        change = energy - memory.energy
        # Near the minimum the decrease drowns in the energy's round-off; the
        # trapezoid rule along the step still resolves it.
        both = jax.tree.map(jnp.add, force, memory.force)
        finer = -0.5 * inner(both, shift)
        noise = 16 * jnp.finfo(energy.dtype).eps * (1 + jnp.abs(energy))
        change = jnp.where(jnp.abs(change) > noise, change, finer)
        accept = change <= -promised
        kept = _AdaptiveState(
            memory.step_size * jnp.where(accept, 1.3, 0.5), energy, force
        )
        old = _AdaptiveState(kept.step_size, memory.energy, memory.force)
        new, memory = jax.tree.map(
            lambda a, b: jnp.where(per_example(accept, a), a, b),
            (trial, kept),
            (state, old),
        )
        whole = _moved(landscape, new, memory.force, jnp.ones_like(energy))
        return new, memory, largest_change(whole, new)


def _moved(
    landscape: Landscape,
    state: PyTree[Array],
    force: PyTree[Array],
    step_size: Float[Array, " batch"],
) -> PyTree[Array]:
    moved = jax.tree.map(lambda s, f: s + per_example(step_size, s) * f, state, force)
    return landscape.project(moved)
