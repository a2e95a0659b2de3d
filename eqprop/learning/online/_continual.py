from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Scalar

from ...energies import Model
from ...relaxation import (
    AbstractSolver,
    as_scalar,
    BlockCoordinate,
    certified,
    Equilibrium,
    Landscape,
    relax,
    require,
)
from .._estimator import AbstractEstimator, Outcome, require_solvers
from .._phase import batch_mean
from ..nudging._nudging import SMALL_BETA
from ._plasticity import AbstractPlasticity, require_plasticity
from ._symmetric import SymmetricSTDP


class ContinualEP(AbstractEstimator):
    """Learning while the states move: every step of the nudged phase changes the
    weights.

    $$Δ_t = ∂_θF(θ_t, β, s_{t+1}) - ∂_θF(θ_t, β, s_t), \\qquad
      θ_{t+1} = θ_t - \\frac{η}{β} Δ_t$$

    from the free equilibrium $s_0$, by the local rule `plasticity`; the nudge sets in
    with $β\\,∂_θC(s_0)$, which only a cost's own parameters feel. No state needs to be
    stored. The gradient is the sum $\\frac1β \\sum_t Δ_t$:

    - `rate=None`: the weights stay as they are, and the sum is an eligibility: the
        paper's STDP reading. With [`eqprop.SymmetricSTDP`][] it is that of
        [`eqprop.OneSided`][] for any number of steps, bias and all: O(β).
    - `rate=η`: the weights move under the states, which settle in the moved ones:
        continual EP. It deviates from the former by O(η/β), for 1/β magnifies how the
        states follow the weights: keep η well below β. Plain SGD with learning rate η
        (`ep.SGD(learning_rate=η)`) then makes exactly the displacement that the phase
        made; any other optimizer or rate makes its own of the sum.

    Costs one relaxation more than prediction, with a gradient in θ at every step. All
    examples keep step with the weights: no tolerance in the nudged phase. The rate is
    one for all layers; the authors have one for each.

    **Arguments:**

    - `beta`: β ≠ 0, dimensionless; changing it doesn't recompile.
    - `solver`: how the free phase settles.
    - `nudged_solver`: how the nudged phase moves, with `stop=None`; by default
        `solver`. A step of [`eqprop.Euler`][] or [`eqprop.FixedPoint`][] is a moment in
        time, one of [`eqprop.BlockCoordinate`][] a whole sweep.
    - `plasticity`: what a step changes.
    - `rate`: η ≥ 0, or `None`; changing the number doesn't recompile.

    **Raises:**

    - `ValueError`: the nudged phase's solver stops early.

    ??? cite "Ernoult et al. 2020; Scellier & Bengio 2017, eq. 11–14"
        Equilibrium propagation with continual weight updates, arXiv:2005.04168. STDP:
        arXiv:1602.05179.
    """

    beta: Scalar = eqx.field(converter=as_scalar)
    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    nudged_solver: AbstractSolver | None = None
    plasticity: AbstractPlasticity = eqx.field(default_factory=SymmetricSTDP)
    rate: Scalar | None = eqx.field(default=None, converter=as_scalar)

    def __check_init__(self):
        require_solvers(self)
        require_plasticity(self)
        require("ContinualEP", "beta", self.beta, nonzero=True, fix=SMALL_BETA)
        if self.rate is not None:
            fix = "`rate=None` keeps the weights still, 1e-2 moves them."
            require("ContinualEP", "rate", self.rate, at_least=0, fix=fix)
        name = "solver" if self.nudged_solver is None else "nudged_solver"
        stop = self.moving_solver().stop
        if stop is not None:
            raise ValueError(
                f"`{name}` of `ContinualEP` moves the states of the nudged phase and "
                f"stops early (`stop` is {stop}), but there the weights move with "
                "every step, for the whole batch at once. Pass "
                "`nudged_solver=ep.Euler(max_steps=50)`, or another with `stop=None`."
            )

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        keys = [None] * 2 if key is None else list(jax.random.split(key))
        landscape = Landscape(model, x)
        landscape.check_targets(y)
        free = relax(landscape, self.solver, state0, key=keys[0], throw=False)
        nudge = landscape.nudge(y, self.beta)
        end, gradient = _nudged_phase(self, nudge, free.state, weight, keys[1])
        cost = batch_mean(landscape.cost(free.state, y), weight)
        return Outcome(cost, free, (end,)), gradient

    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        raise ValueError(
            "`ContinualEP` changes a model's own weights while its states move, and "
            "passes nothing back to what comes before it: `equilibrium` can't be "
            "differentiated by it. With still weights it is one-sided EP: use "
            "`ep.EquilibriumProp(ep.OneSided(beta))`."
        )

    def moving_solver(self) -> AbstractSolver:
        """How the nudged phase moves."""
        return self.solver if self.nudged_solver is None else self.nudged_solver


class _Moment(eqx.Module):
    state: PyTree[Array]
    memory: PyTree[Any]
    # None while the weights stay: no part of the loop then, so that what depends on
    # them alone (the input's product) is computed once.
    moved: PyTree[Array]
    total: PyTree[Array]


def _nudged_phase(
    method: ContinualEP, landscape: Landscape, state, weight, key
) -> tuple[Equilibrium, Model]:
    """Where the nudged phase ends, and the sum of its changes over β."""
    solver, beta = method.moving_solver(), method.beta
    params, static = eqx.partition(landscape.model, eqx.is_inexact_array)

    def at(params) -> Landscape:
        if params is None:
            return landscape
        model = eqx.combine(params, static)
        return eqx.tree_at(lambda scape: scape.model, landscape, model)

    def follow(params, change):
        if method.rate is None:
            return None
        share = method.rate / beta
        return jax.tree.map(lambda p, d: p - share.astype(p.dtype) * d, params, change)

    def step(_, moment: _Moment) -> _Moment:
        here = at(moment.moved)
        new, memory, _ = solver.step(here, moment.state, moment.memory)
        change = method.plasticity.change(here, moment.state, new, weight=weight)
        total = jax.tree.map(jnp.add, moment.total, change)
        return _Moment(new, memory, follow(moment.moved, change), total)

    @eqx.filter_grad
    def onset(params):
        return batch_mean(beta * at(params).cost(state), weight)

    total = onset(params)
    moved = follow(params, total)
    start = _Moment(state, solver.init(at(moved), state, key), moved, total)
    last = jax.lax.fori_loop(0, solver.max_steps, step, start)
    num_steps = jnp.full(landscape.batch, solver.max_steps, jnp.int32)
    end = certified(at(last.moved), solver, last.state, num_steps)
    return end, jax.tree.map(lambda d: d / beta.astype(d.dtype), last.total)
