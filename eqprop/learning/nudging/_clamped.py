import equinox as eqx
import jax
from jaxtyping import Array

from ...energies import AbstractCost, CrossEntropy, Model
from ...relaxation import Landscape
from .._adjoint import Overlap
from .._phase import Phase
from ._nudging import AbstractNudging


class Clamped(AbstractNudging):
    """Contrastive Hebbian learning: outputs free, then held at the target.

    $$∂_θE(s^∞) - ∂_θE(s^0)$$

    The limit β → ∞ of [`eqprop.OneSided`][] times β. Bias O(1), since it descends
    another objective: $E(s^∞) - E(s^0)$, not the cost, and that turns negative where
    the phases land in different modes (the paper, §4.2). One relaxation more than
    prediction. Needs an output that can be held: a layer of the state, and a cost
    that compares it with y. It estimates no gradient of the cost, and can't stand
    behind [`eqprop.AbstractEstimator.equilibrium`][].

    ??? cite "Movellan 1991; Xie & Seung 2003"
        Contrastive Hebbian learning in the continuous Hopfield model, Connectionist
        Models: Proceedings of the 1990 Summer School. Equivalence of backpropagation
        and contrastive Hebbian learning in a layered network, Neural Computation
        15:441–454: where feedback is weak.
    """

    def phases(self, landscape, state, y, *, key=None):
        if isinstance(holdable_cost("Clamped", landscape, y), CrossEntropy):
            raise ValueError(
                "`Clamped` holds the outputs at the target y, but under `CrossEntropy` "
                "the outputs are not what y is compared with: they are logits. Use "
                "`ep.SquaredError()`, or `ep.Centered(beta=0.2)`."
            )
        held = landscape.clamp(landscape.energy_fn.output, y)
        start = held.project(state)
        return (Phase(landscape, state, -1.0),), (Phase(held, start, 1.0),)


def holdable_cost(owner: str, landscape: Landscape, y: Array) -> AbstractCost:
    """The model's cost; refuses one whose outputs can't be held in the place of
    nudging them."""
    model = landscape.model
    if isinstance(model, Model) and isinstance(model.cost, Overlap):
        raise ValueError(
            f"`equilibrium` can't be differentiated by `{owner}`, which is no gradient "
            "of what is computed from an equilibrium: it holds outputs near a target. "
            "Use `ep.EquilibriumProp(ep.Centered(beta=0.2))`; `ep.OneSided` and "
            "`ep.Holomorphic` serve too."
        )
    landscape.check_targets(y)
    assert isinstance(model, Model)
    if any(map(eqx.is_inexact_array, jax.tree.leaves(model.cost))):
        raise ValueError(
            f"`{owner}` holds the outputs of the state, but under "
            f"`{type(model.cost).__name__}` the outputs are not what y is compared "
            "with, and the cost's own parameters would learn nothing. Use "
            "`ep.SquaredError()`, or `ep.Centered(beta=0.2)`."
        )
    return model.cost
