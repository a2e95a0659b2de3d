from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..energies import Model, require_kind
from ..relaxation import (
    AbstractSampler,
    AbstractSolver,
    BlockCoordinate,
    certified,
    Landscape,
    starting_state,
)
from ._estimator import AbstractEstimator, Outcome, require_solvers
from ._phase import batch_mean, contrast_grad, Phase
from .nudging import AbstractNudging, Coupled


class StochasticEP(AbstractEstimator):
    """Equilibrium Propagation of a stationary distribution instead of a fixed point.

    $$\\frac{d}{dθ} E_0[C] = \\lim_{β \\to 0} \\frac1β
      \\bigl(E_β[∂_θF] - E_0[∂_θF]\\bigr), \\qquad p_β(s) \\propto e^{-F(β, s)/T}$$

    At a finite β the contrast is the exact gradient of a difference of free energies
    $A_β = -T \\ln \\int e^{-F(β, s)/T} ds$: of $(A_β - A_0)/β$ by
    [`eqprop.OneSided`][], of $(A_β - A_{-β})/2β$ by [`eqprop.Centered`][]; by
    [`eqprop.Clamped`][] of $-T \\ln p(y|x)$, a Boltzmann machine's objective. These
    differ from $E_0[C]$ by O(β) and O(β²). As T → 0 all of it becomes
    [`eqprop.EquilibriumProp`][], and no derivative of an activation is needed: this is
    how binary units learn. Binary *outputs* learn by `Clamped`: under a squared error
    all of them at zero beats any unsure answer, and they stay there.

    Each phase takes the sampler's `max_steps` to forget its start (the nudged ones
    start where the free one is then), and averages over the samples that follow,
    without storing them. The phases share their random numbers, so that noise common
    to them cancels. `Outcome.cost` is the estimate of $E_0[C]$, `Outcome.stderr` the
    standard error of the gradient over independent chains (`None` for a single one; too
    small where a flip of a binary unit is too rare to have been seen). A phase's
    `Equilibrium` holds the last sample of the first chain. Needs a `key`.

    **Arguments:**

    - `nudging`: which phases are contrasted.
    - `sampler`: [`eqprop.Gibbs`][], [`eqprop.Langevin`][] or
        [`eqprop.MetropolisLangevin`][]; its `max_steps` are the burn-in of each phase.
    - `solver`: how predictions are made: at T → 0.
    - `samples`: how many are averaged, in each chain and phase.
    - `thinning`: steps from one sample to the next.
    - `chains`: independent chains for every example; two or more give a standard error.

    ??? cite "Scellier & Bengio 2017, section 2.2"
        arXiv:1602.05179 announces the framework; the free-energy form follows from
        $∂A_β/∂β = E_β[C]$.
    """

    nudging: AbstractNudging
    sampler: AbstractSampler
    solver: AbstractSolver = eqx.field(default_factory=BlockCoordinate)
    samples: int = eqx.field(default=50, static=True)
    thinning: int = eqx.field(default=1, static=True)
    chains: int = eqx.field(default=1, static=True)

    def __check_init__(self):
        for name in ("samples", "thinning", "chains"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ValueError(
                    f"`{name}` of `StochasticEP` must be a positive integer, but is "
                    f"{count!r}. It is compiled in."
                )
        fix = "Pass `ep.Centered(0.2)`."
        require_kind(
            "nudging", self.nudging, AbstractNudging, fix, owner="StochasticEP"
        )
        require_solvers(self)
        if not isinstance(self.sampler, AbstractSampler):
            raise TypeError(
                f"`sampler` of `StochasticEP` must draw samples, but is {self.sampler}."
                " Pass `ep.Gibbs(temperature=0.1)`, or for the deterministic limit use "
                "`ep.EquilibriumProp(nudging, solver)`."
            )
        if isinstance(self.nudging, Coupled):
            raise ValueError(
                "`nudging` of `StochasticEP` is `Coupled`, which holds the outputs "
                "near those of one settled state: of a distribution that is no "
                "gradient. "
                "Use `ep.Centered(beta=0.2)`, or `ep.Clamped()`."
            )
        if isinstance(self.solver, AbstractSampler):
            raise TypeError(
                "`solver` of `StochasticEP` predicts, which takes no random key, but "
                f"is {self.solver}. Pass a solver such as `ep.BlockCoordinate()`; "
                "`ep.relax(landscape, sampler, key=key)` makes sampled predictions."
            )

    def free_solver(self):
        return self.solver

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        if key is None:
            raise ValueError(
                "`StochasticEP` draws samples and needs a `key`: "
                "`method.value_and_grad(model, x, y, key=jax.random.key(0))`."
            )
        landscape = Landscape(model, x)
        landscape.check_targets(y)
        return _estimate(self, landscape, y, weight, state0, key)

    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        raise ValueError(
            "`StochasticEP` has no gradient for `equilibrium`, which returns one "
            "state: its gradients are those of an average over many. Use "
            "`ep.EquilibriumProp(ep.Centered(beta=0.2)).equilibrium(energy, x)`."
        )


def _estimate(
    method: StochasticEP,
    landscape: Landscape,
    y: Float[Array, "batch ..."],
    weight: Float[Array, " batch"] | None,
    state0: PyTree[Array] | None,
    key: PRNGKeyArray,
) -> tuple[Outcome, Model]:
    nudging_key, chain_key = jax.random.split(key)
    start = starting_state(landscape, state0)

    def chain(key):
        return _one_chain(method, landscape, y, weight, start, key, nudging_key)

    keys = jax.random.split(chain_key, method.chains)
    states, cost, gradients = jax.vmap(chain)(keys)
    first = [jax.tree.map(lambda s: s[0], state) for state in states]
    _, pending = method.nudging.phases(landscape, first[0], y, key=nudging_key)
    burn_in, sampling = method.sampler.max_steps, method.samples * method.thinning
    phases = []
    for k, scape in enumerate([landscape, *(p.landscape for p in pending)]):
        # The free chain burns in alone, and once more beside the nudged ones.
        steps = (2 if k == 0 else 1) * burn_in + sampling
        num_steps = jnp.full(landscape.batch, steps, jnp.int32)
        phases.append(certified(scape, method.sampler, first[k], num_steps))
    gradient = jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)
    outcome = Outcome(
        jnp.mean(cost), phases[0], tuple(phases[1:]), _stderr(gradients, method.chains)
    )
    return outcome, gradient


def _stderr(gradients: PyTree[Array], chains: int) -> PyTree[Array]:
    if chains == 1:
        return None
    return jax.tree.map(
        lambda g: jnp.std(g, axis=0, ddof=1) / jnp.sqrt(chains).astype(g.dtype),
        gradients,
    )


def _one_chain(method, landscape, y, weight, start, key, nudging_key):
    """Each phase's last state, the mean cost of the free one, and the mean contrast."""
    sampler, (first, second) = method.sampler, jax.random.split(key)
    memory = sampler.init(landscape, start, first)
    burn_in = sampler.max_steps
    state, _ = _advanced(sampler, landscape, (start, memory), burn_in)
    settled, pending = method.nudging.phases(landscape, state, y, key=nudging_key)
    starts = [(landscape, state), *((p.landscape, p.state) for p in pending)]
    scapes = [scape for scape, _ in starts]

    def measured(chains) -> Any:
        free, *nudged = [state for state, _ in chains]
        phases = [Phase(landscape, free, p.weight) for p in settled]
        for p, state in zip(pending, nudged, strict=True):
            phases.append(Phase(p.landscape, state, p.weight))
        cost = batch_mean(landscape.cost(free, y), weight)
        return cost, contrast_grad(phases, weight=weight)

    def sample(k, carry):
        chains, mean = carry
        steps = method.thinning + jnp.where(k == 0, burn_in, 0)
        chains = [
            _advanced(sampler, scape, chain, steps)
            for scape, chain in zip(scapes, chains, strict=True)
        ]
        # The running mean stays of the size of its terms.
        new = measured(chains)
        return chains, jax.tree.map(lambda m, v: m + (v - m) / (k + 1), mean, new)

    # The same key in every phase: they differ by nothing but the nudge.
    chains = [(state, sampler.init(scape, state, second)) for scape, state in starts]
    shapes = eqx.filter_eval_shape(measured, chains)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    chains, (cost, gradient) = jax.lax.fori_loop(
        0, method.samples, sample, (chains, zero)
    )
    return [state for state, _ in chains], cost, gradient


def _advanced(sampler: AbstractSampler, landscape: Landscape, chain, steps):
    def body(_, chain):
        return sampler.step(landscape, *chain)[:2]

    return jax.lax.fori_loop(0, steps, body, chain)
