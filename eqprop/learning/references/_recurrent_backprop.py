import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PyTree, Scalar

from ...energies import require_kind
from ...relaxation import (
    AbstractSolver,
    as_scalar,
    BlockCoordinate,
    classify,
    Equilibrium,
    per_example,
    require,
    require_steps,
    state_size,
    Tolerance,
)
from .._adjoint import scaled
from .._estimator import AbstractEstimator, require_solvers
from ._adjoint_gradient import (
    gradient_by_pull_back,
    pulled,
    require_second_derivative,
)


class _Series(eqx.Module):
    term: PyTree[Array]
    total: PyTree[Array]
    done: Bool[Array, " batch"]
    num_steps: Int[Array, " batch"]


class RecurrentBackprop(AbstractEstimator):
    """Recurrent back-propagation (Almeida–Pineda), iterated: a reference, not a rule.

    With $f(θ, s)$ one step of the solver at the equilibrium $s = f(θ, s)$,

    $$δ_0 = ∂_sC, \\quad δ_{t+1} = (∂_sf)^\\top δ_t, \\quad λ = \\sum_t δ_t, \\qquad
      \\frac{dL}{dθ} = ∂_θC + (∂_θf)^\\top λ$$

    $δ_t$ is what back-propagation through time has t steps before the end, if the state
    was steady for that long; K terms are its truncation at K steps
    ([`eqprop.BackpropThroughTime`][]), all of them the gradient of
    [`eqprop.ImplicitDifferentiation`][]. It converges as the solver does: where small
    deviations from equilibrium shrink. Bias: the terms left out, and the free phase's
    residual. One relaxation and `max_steps` products with $(∂_sf)^\\top$, in no more
    memory than one takes. Needs the energy's second derivative.

    The second phase of the outcome is that series, another computation than a
    relaxation: its state is λ of the mean cost, its residual the first term left out,
    relative to $δ_0$ (largest entries).

    **Arguments:**

    - `solver`: how the free phase settles, and whose step is f; one without memory.
    - `max_steps`: K, the number of terms, or with `stop` the most; compiled in.
    - `stop`: an [`eqprop.Tolerance`][] for the next term, of a cotangent scaled to 1,
        or `None` for all K.
    - `certify`: the residual up to which the series counts as summed.

    **Raises:**

    - `ValueError`: when used, the solver's steps have a memory, or the energy has no
        second derivative.

    ??? cite "Almeida 1987; Pineda 1987; Scellier & Bengio 2019"
        As in Scellier & Bengio 2019, Equivalence of equilibrium propagation and
        recurrent backpropagation, arXiv:1711.08416, where $δ_t$ is in continuous time.
    """

    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    max_steps: int = eqx.field(default=100, static=True)
    stop: Tolerance | None = None
    certify: Scalar = eqx.field(default=1e-5, converter=as_scalar)

    def __check_init__(self):
        require_solvers(self)
        fix = "Pass `stop=ep.Tolerance(atol=1e-8)`, or `None` to take all steps."
        kind = Tolerance | None
        require_kind("stop", self.stop, kind, fix, owner="RecurrentBackprop")
        require_steps("RecurrentBackprop", self.max_steps)
        fix = "The default is 1e-5."
        require("RecurrentBackprop", "certify", self.certify, above=0, fix=fix)

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        return gradient_by_pull_back(self, model, x, y, weight, state0, key)

    @eqx.filter_jit
    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        require_second_derivative("RecurrentBackprop", landscape)
        solver = _steady(self.solver)
        memory = solver.init(landscape, free.state, key)
        _require_memoryless(solver, memory)

        def step(at, state):
            return solver.step(at, state, memory)[0]

        _, pull = jax.vjp(lambda s: step(landscape, s), free.state)
        adjoint = self._summed(lambda term: pull(term)[0], cotangent)
        bars = pulled(lambda at: step(at, free.state), landscape, adjoint.state)
        return (adjoint,), *bars

    def _summed(
        self, back: Callable[[PyTree[Array]], PyTree[Array]], cotangent: PyTree[Array]
    ) -> Equilibrium:
        first, scale = scaled(cotangent)
        series = _Series(
            first,
            jax.tree.map(jnp.zeros_like, first),
            jnp.zeros(scale.shape, bool),
            jnp.zeros(scale.shape, jnp.int32),
        )
        if self.stop is None:
            series = jax.lax.fori_loop(
                0, self.max_steps, lambda _, s: _next(back, s), series
            )
        else:
            series = self._stopping_sum(back, series, self.stop)
        residual = state_size(series.term)
        result = classify(
            residual,
            state_size(series.total),
            self.certify,
            stopped_early=self.stop is not None,
        )
        total = jax.tree.map(lambda a: per_example(scale, a) * a, series.total)
        converged = residual <= self.certify
        return Equilibrium(total, residual, converged, series.num_steps, result)

    def _stopping_sum(self, back, series: _Series, stop: Tolerance) -> _Series:
        def unfinished(carry):
            count, series = carry
            return (count < self.max_steps) & ~jnp.all(series.done)

        def body(carry):
            count, series = carry
            further = _next(back, series)
            size = state_size(further.term)
            allowed = stop.atol + stop.rtol * state_size(further.total)
            settled = (size <= allowed) | ~jnp.isfinite(size)
            done = eqx.tree_at(lambda s: s.done, further, settled)
            kept = jax.tree.map(
                lambda old, new: jnp.where(per_example(series.done, old), old, new),
                series,
                done,
            )
            return count + 1, kept

        start = (jnp.zeros((), jnp.int32), series)
        return jax.lax.while_loop(unfinished, body, start)[1]


def _next(back: Callable[[PyTree[Array]], PyTree[Array]], series: _Series) -> _Series:
    total = jax.tree.map(jnp.add, series.total, series.term)
    return _Series(back(series.term), total, series.done, series.num_steps + 1)


def _steady(solver: AbstractSolver) -> AbstractSolver:
    """A solver of which every step is the same: it stops nowhere, so that it need not
    remember when to give way, and its ω stays."""
    if isinstance(solver, BlockCoordinate):
        return dataclasses.replace(solver, stop=None, falls_over=None)
    if solver.stop is None:
        return solver
    return eqx.tree_at(lambda s: s.stop, solver, None)


def _require_memoryless(solver: AbstractSolver, memory: PyTree[Any]) -> None:
    if jax.tree.leaves(memory):
        raise ValueError(
            f"`solver` of `RecurrentBackprop` is `{type(solver).__name__}`, whose "
            "steps depend on a memory beside the state: no step of it is a function "
            "of the equilibrium alone. Pass `ep.BlockCoordinate()`, "
            "`ep.FixedPoint(damping=0.5)` or `ep.Euler(step_size=0.5)`."
        )
