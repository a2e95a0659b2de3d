import equinox as eqx
from jaxtyping import Array, PyTree, Scalar

from ...relaxation import as_scalar, Landscape, require
from .._phase import Phase
from ._nudging import AbstractNudging, SMALL_BETA


class OneSided(AbstractNudging):
    """The paper's two phases: free and nudged (Scellier & Bengio 2017, eq. 10).

    $$\\frac1β\\bigl[∂_θF(β, s^β) - ∂_θF(0, s^0)\\bigr]$$

    Bias O(β); one relaxation more than prediction. At any finite β it is the exact
    gradient of $L_β = \\frac1β[F(β, s^β) - F(0, s^0)]$.

    **Arguments:**

    - `beta`: β ≠ 0, dimensionless; changing it doesn't recompile.

    ??? cite "Scellier & Bengio 2017, eq. 10"
        arXiv:1602.05179.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("OneSided", "beta", self.beta, nonzero=True, fix=SMALL_BETA)

    def phases(self, landscape, state, y, *, key=None):
        return two_phases(landscape, state, y, self.beta)


def two_phases(landscape: Landscape, state: PyTree[Array], y: Array, beta: Array):
    """The free phase and one nudged by β, weighted ∓1/β."""
    free = Phase(landscape, state, -1 / beta)
    nudged = Phase(landscape.nudge(y, beta), state, 1 / beta)
    return (free,), (nudged,)
