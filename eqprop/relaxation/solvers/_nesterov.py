import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from .._scalars import as_scalar, inner, per_example, require, require_steps
from .._solver import AbstractSolver, Tolerance
from ._misc import largest_change, require_bounded_curvature, require_real


class _Momentum(eqx.Module):
    ahead: PyTree[Array]
    age: Float[Array, " batch"]


class Nesterov(AbstractSolver):
    """Projected gradient descent with momentum, restarted where it overshoots.

    $$s' = \\text{project}\\bigl(a + ε\\,f(a)\\bigr), \\qquad
      a' = \\text{project}\\Bigl(s' + \\frac{t - 1}{t'}\\,(s' - s)\\Bigr), \\qquad
      t' = \\frac{1 + \\sqrt{1 + 4t^2}}{2}$$

    with the force f at a point a ahead of the state, and t = 1, a = s at the start
    and, for each example by itself, after a step against the force. A step costs one
    gradient, as one of [`eqprop.Euler`][] does, but about $\\sqrt{κ}$ of them go as
    far as κ of Euler's, κ the ratio of the largest to the smallest curvature of F: for
    energies of your own, and for couplings that [`eqprop.BlockCoordinate`][] refuses.
    Needs ε at most 1 over the largest curvature (half of what Euler bears). The
    energy may rise now and then. Error: largest change over ε. Refuses units whose
    potential has unbounded curvature (sigmoid, tanh, softmax).

    **Arguments:**

    - `step_size`: ε > 0, a fraction of the units' time constant.
    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].

    ??? cite "Nesterov 1983; O'Donoghue & Candès 2015"
        A method for solving the convex programming problem with convergence rate
        O(1/k²), Soviet Mathematics Doklady 27:372–376. Adaptive restart for
        accelerated gradient schemes, Foundations of Computational Mathematics
        15:715–732 (the gradient scheme). Theirs restarts for the whole problem, this
        one for every example.
    """

    step_size: Scalar = eqx.field(default=0.5, converter=as_scalar)
    max_steps: int = eqx.field(default=300, static=True)
    stop: Tolerance | None = eqx.field(default_factory=Tolerance)
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("Nesterov", self.max_steps)
        fix = "Half of the largest step that `Euler` bears: try 0.5."
        require("Nesterov", "step_size", self.step_size, above=0, fix=fix)
        fix = "The default is 1e-3."
        require("Nesterov", "certify", self.certify, above=0, fix=fix)

    def init(self, landscape, state, key):
        require_real("Nesterov", landscape)
        require_bounded_curvature("Nesterov", landscape)
        first = jax.tree.leaves(state)[0]
        return _Momentum(state, jnp.ones(landscape.batch, first.dtype))

    def step(self, landscape, state, memory):
        ahead, age = memory.ahead, memory.age
        force = landscape.force(ahead)
        moved = jax.tree.map(
            lambda a, f: a + per_example(self.step_size, a).astype(a.dtype) * f,
            ahead,
            force,
        )
        new = landscape.project(moved)
        went = jax.tree.map(jnp.subtract, new, state)
        pulled = jax.tree.map(jnp.subtract, new, ahead)
        overshot = inner(pulled, went) < 0
        older = 0.5 * (1 + jnp.sqrt(1 + 4 * age**2))
        carry = jnp.where(overshot, 0.0, (age - 1) / older).astype(age.dtype)
        further = jax.tree.map(lambda s, w: s + per_example(carry, s) * w, new, went)
        memory = _Momentum(
            landscape.project(further),
            jnp.where(overshot, 1.0, older).astype(age.dtype),
        )
        return new, memory, largest_change(new, ahead) / self.step_size
