from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray, PyTree

from ...relaxation import (
    AbstractSolver,
    BlockCoordinate,
    certified,
    Equilibrium,
    Landscape,
    relax,
    starting_state,
)
from .._estimator import AbstractEstimator, Outcome, require_solvers
from .._phase import batch_mean
from ._adjoint_gradient import require_second_derivative


class BackpropThroughTime(AbstractEstimator):
    """Back-propagation through the unrolled relaxation: a reference, not a rule.

    The exact gradient of the cost after `max_steps` steps of the solver from
    `state0`; at an equilibrium that no longer depends on the start, the exact gradient
    of the cost at equilibrium. Memory grows with the number of steps.

    Truncated at K steps, the state before the last K counts as given. Where it was
    steady by then, that is K terms of [`eqprop.RecurrentBackprop`][].

    **Arguments:**

    - `solver`: how the free phase settles; must have `stop=None`.
    - `truncate`: K, from 1 to the solver's `max_steps`; `None` for all steps, and what
        the resting state depends on. Compiled in.

    **Raises:**

    - `ValueError`: a solver that stops early, whose loop has no reverse derivative, or
        a `truncate` out of range; when used, an energy without second derivative.

    ??? cite "Werbos 1990"
        Backpropagation through time: what it does and how to do it, Proceedings of the
        IEEE 78:1550–1560.
    """

    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    truncate: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        require_solvers(self)
        if self.solver.stop is not None:
            raise ValueError(
                "`solver` of `BackpropThroughTime` stops early (`stop` is "
                f"{self.solver.stop}), and a loop of unknown length has no reverse "
                "derivative. Pass `stop=None` and enough `max_steps`."
            )
        steps, last = self.solver.max_steps, self.truncate
        if last is not None and (
            isinstance(last, bool)
            or not isinstance(last, int)
            or not 1 <= last <= steps
        ):
            raise ValueError(
                "`truncate` of `BackpropThroughTime` must be how many of the solver's "
                f"{steps} steps to differentiate, counted from the last, but is "
                f"{last!r}. Pass an integer from 1 to {steps}, or `None` for all."
            )

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        @eqx.filter_value_and_grad(has_aux=True)
        def loss(model):
            landscape = Landscape(model, x)
            landscape.check_targets(y)
            free = self._unrolled(landscape, state0, key)
            return batch_mean(landscape.cost(free.state, y), weight), free

        (cost, free), gradient = loss(model)
        return Outcome(cost, free), gradient

    @eqx.filter_jit
    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        def settled(parts):
            return self._unrolled(Landscape(*parts), state0, key).state

        _, pull = eqx.filter_vjp(settled, (landscape.model, landscape.x))
        (bars,) = pull(cotangent)
        return (), *bars

    def _unrolled(self, landscape, state0, key) -> Equilibrium:
        require_second_derivative("BackpropThroughTime", landscape)
        if self.truncate is None:
            return relax(landscape, self.solver, state0, key=key, throw=False)
        return _truncated(landscape, state0, key, self.solver, self.truncate)


def _truncated(
    landscape: Landscape,
    state0: PyTree[Array] | None,
    key: PRNGKeyArray | None,
    solver: AbstractSolver,
    last: int,
) -> Equilibrium:
    """The relaxation of `relax`, of which only the last steps are differentiable."""

    def steps(at: Landscape, carry: Any, count: int) -> Any:
        return jax.lax.fori_loop(
            0, count, lambda _, c: solver.step(at, c[0], c[1])[:2], carry
        )

    fixed = _given(landscape)
    state = starting_state(fixed, state0)
    carry = (state, solver.init(fixed, state, key))
    carry = _given(steps(fixed, carry, solver.max_steps - last))
    state, _ = steps(landscape, carry, last)
    num_steps = jnp.full(landscape.batch, solver.max_steps, jnp.int32)
    return certified(landscape, solver, state, num_steps)


def _given(tree: Any) -> Any:
    return jax.tree.map(
        lambda a: jax.lax.stop_gradient(a) if eqx.is_inexact_array(a) else a, tree
    )
