import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree, Scalar

from ..energies import Initialized, Model, require_kind
from ..relaxation import inner
from ._equilibrium_prop import EquilibriumProp
from ._estimator import AbstractEstimator
from ._phase import batch_mean
from .nudging import AbstractNudging, Centered


def _centered() -> EquilibriumProp:
    return EquilibriumProp(Centered(0.2))


class InitializedEP(AbstractEstimator):
    """Initialized Equilibrium Propagation: a predictor learns where relaxations end,
    and they start there.

    The energy learns by another method, whose free phase starts at the prediction. The
    predictor learns from each settled free phase $s^0$, by a delta rule for the drives
    $d(φ, x)$ that it gives. Its gradient is

    $$-\\sum_k \\bigl(s^0_k - \\text{activate}(d_k)\\bigr) \\cdot ∂_φ d_k,$$

    that of a loss which is convex in $d$ and smallest where
    $\\text{activate}(d) = s^0$; no saturated unit stops it. In an
    [`eqprop.Feedforward`][] it is local to each synapse. The better it predicts, the
    fewer sweeps the free phase needs; `model.energy.init(x)` is an answer without any.

    **Arguments:**

    - `method`: how the energy learns.

    ??? cite "O'Connor et al. 2019"
        Initialized Equilibrium Propagation for backprop-free training, ICLR. There the
        predictor's loss is the squared error of its states, and a term λ may tie the
        equilibrium to the prediction; here it is the energy's own.
    """

    method: AbstractEstimator = eqx.field(default_factory=_centered)

    def __check_init__(self):
        fix = "Pass an `ep.EquilibriumProp(...)`."
        nudging = "Pass the whole method: `ep.EquilibriumProp(ep.Centered(0.2))`."
        require_kind(
            "method",
            self.method,
            AbstractEstimator,
            fix,
            owner="InitializedEP",
            instead={AbstractNudging: nudging},
        )

    def free_solver(self):
        return self.method.free_solver()

    @eqx.filter_jit
    def value_and_grad(self, model, x, y, *, weight=None, state0=None, key=None):
        energy = model.energy
        if not isinstance(energy, Initialized):
            raise ValueError(
                "`InitializedEP` teaches a predictor, but a "
                f"`{type(energy).__name__}` has none. Make the energy an "
                "`ep.Initialized(energy, predictor)` or `ep.nets.initialized_mlp(...)`."
            )
        drives, teach = eqx.filter_vjp(lambda e: jax.vmap(e.drives)(x), energy)
        start = jax.vmap(energy.start)(drives)
        outcome, gradient = self.method.value_and_grad(
            Model(energy.energy, model.cost),
            x,
            y,
            weight=weight,
            state0=start if state0 is None else state0,
            key=key,
        )
        error = jax.tree.map(jnp.subtract, start, outcome.free.state)
        (taught,) = teach(jax.grad(_mean_overlap)(drives, error, weight))
        gradient = _joined(model, gradient, taught.predictor)
        if outcome.stderr is not None:
            unknown = jax.tree.map(lambda _: None, taught.predictor)
            stderr = _joined(model, outcome.stderr, unknown)
            outcome = dataclasses.replace(outcome, stderr=stderr)
        return outcome, gradient

    def pull_back(self, landscape, free, cotangent, *, state0=None, key=None):
        return self.method.pull_back(landscape, free, cotangent, state0=state0, key=key)


def _mean_overlap(
    drives: PyTree[Array], error: PyTree[Array], weight: Float[Array, " batch"] | None
) -> Scalar:
    """Linear in the drives: its derivative is each example's share of the error."""
    return batch_mean(inner(drives, error), weight)


def _joined(model: Model, gradient: Model, predictor: PyTree) -> Model:
    """What the inner method found and what the predictor learns, like the model."""
    parts = gradient.energy, predictor, gradient.cost
    return eqx.tree_at(
        lambda m: (m.energy.energy, m.energy.predictor, m.cost),
        eqx.filter(model, eqx.is_inexact_array),
        parts,
    )
