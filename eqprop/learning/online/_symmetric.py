from .._phase import contrast_grad, Phase
from ._plasticity import AbstractPlasticity


class SymmetricSTDP(AbstractPlasticity):
    """Follows the product of both activities: the symmetric rule of STDP.

    $$Δ_θ = ∂_θF(s_{t+1}) - ∂_θF(s_t), \\qquad
      \\frac{dW_{ij}}{dt} \\propto \\frac{d}{dt}\\bigl[ρ(u_i)\\,ρ(u_j)\\bigr]$$

    for any energy and cost. Its sum over a phase is the difference of the two ends,
    whatever the path: $1/β$ times it is [`eqprop.OneSided`][]'s contrast.

    ??? cite "Scellier & Bengio 2017, eq. 13 and 14"
        arXiv:1602.05179.
    """

    def change(self, landscape, old, new, *, weight=None):
        phases = (Phase(landscape, old, -1.0), Phase(landscape, new, 1.0))
        return contrast_grad(phases, weight=weight)
