import equinox as eqx
import jax
from jaxtyping import Scalar

from .._scalars import as_scalar, per_example, require, require_steps
from .._solver import AbstractSolver, Tolerance
from ._misc import largest_change, require_bounded_curvature


class Euler(AbstractSolver):
    """The leaky integrator in discrete time, with projection.

    $$s \\leftarrow \\text{project}(s - ε\\,∂F/∂s)$$

    for all units at once: the dynamics of the paper (eq. 4), with the states kept in
    their feasible set (eq. 43). The energy decreases for steps below 2 over the
    largest curvature of F; the paper's ½ is within that for its networks. Error:
    largest change over ε. Reverse-differentiable without `stop`. Refuses units whose
    potential has unbounded curvature (sigmoid, tanh, softmax): use `FixedPoint`.

    **Arguments:**

    - `step_size`: ε > 0, a fraction of the units' time constant.
    - `max_steps`, `stop`, `certify`: see [`eqprop.AbstractSolver`][].

    ??? cite "Scellier & Bengio 2017, eq. 4 and 43"
        arXiv:1602.05179.
    """

    step_size: Scalar = eqx.field(default=0.5, converter=as_scalar)
    max_steps: int = eqx.field(default=100, static=True)
    stop: Tolerance | None = None
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("Euler", self.max_steps)
        fix = "The paper uses 0.5."
        require("Euler", "step_size", self.step_size, above=0, fix=fix)
        require("Euler", "certify", self.certify, above=0, fix="The default is 1e-3.")

    def init(self, landscape, state, key):
        require_bounded_curvature("Euler", landscape)
        return None

    def step(self, landscape, state, memory):
        force = landscape.force(state)
        moved = jax.tree.map(
            lambda s, f: s + per_example(self.step_size, s) * f, state, force
        )
        new = landscape.project(moved)
        return new, memory, largest_change(new, state) / self.step_size
