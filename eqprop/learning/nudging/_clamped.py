from ...energies import CrossEntropy, Model, Readout
from .._phase import Phase
from ._nudging import AbstractNudging


class Clamped(AbstractNudging):
    """Contrastive Hebbian learning: outputs free, then held at the target.

    $$∂_θE(s^∞) - ∂_θE(s^0)$$

    The limit β → ∞. Its objective $E(s^∞) - E(s^0)$ is not the cost, and turns
    negative where the phases land in different modes (the paper, §4.2). Needs an
    output that can be held: a layer of the state, and a cost of the outputs
    themselves.
    """

    def phases(self, landscape, state, y, *, key=None):
        model = landscape.model
        if isinstance(model, Model) and isinstance(model.cost, Readout | CrossEntropy):
            raise ValueError(
                "`Clamped` holds the outputs at the target y, but under "
                f"`{type(model.cost).__name__}` the outputs are not what y is compared "
                "with. Use `ep.SquaredError()`, or `ep.Centered(beta=0.2)`."
            )
        landscape.check_targets(y)
        held = landscape.clamp(landscape.energy_fn.output, y)
        start = held.project(state)
        return (Phase(landscape, state, -1.0),), (Phase(held, start, 1.0),)
