import equinox as eqx
from jaxtyping import Scalar

from ...relaxation import as_scalar, require
from .._phase import Phase
from ._nudging import AbstractNudging, SMALL_BETA


class Centered(AbstractNudging):
    """Nudged both ways (Laborieux et al. 2021, symmetric nudging).

    $$\\frac1{2β}\\bigl[∂_θF(β, s^β) - ∂_θF(-β, s^{-β})\\bigr]$$

    Bias O(β²); two relaxations more than prediction. The negative nudge needs
    $λ_{\\min}(∂²E) > β\\,λ_{\\max}(∂²C)$: for `SquaredError`, β < 1.

    **Arguments:**

    - `beta`: β > 0, dimensionless; changing it doesn't recompile.

    ??? cite "Laborieux et al. 2021"
        arXiv:2101.05536, symmetric nudging.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("Centered", "beta", self.beta, above=0, fix=SMALL_BETA)

    def phases(self, landscape, state, y, *, key=None):
        share = 0.5 / self.beta
        up = Phase(landscape.nudge(y, self.beta), state, share)
        down = Phase(landscape.nudge(y, -self.beta), state, -share)
        return (), (up, down)
