import cmath

import equinox as eqx
from jaxtyping import Scalar

from ...relaxation import as_complex, as_scalar, require
from .._phase import Phase
from ._nudging import AbstractNudging, SMALL_BETA


class Holomorphic(AbstractNudging):
    """Nudged all around a circle in the complex plane (Laborieux & Zenke 2022).

    $$\\frac1n \\sum_{k=0}^{n-1} \\frac{∂_θF(β_k, s^{β_k})}{β_k},
      \\qquad β_k = |β|\\,e^{2πik/n}$$

    Cauchy's formula for the derivative at β = 0, by n points. Bias O(|β|ⁿ), while the
    circle holds no singularity of $s^β$: past it, or where a negative β leaves no
    minimum, phases don't settle, or to another branch. `Centered` is n = 2.

    States at conjugate β are conjugate, so only half of the circle is relaxed: ⌊n/2⌋ +
    1 relaxations more than prediction, of which the one at |β| and, for even n, the
    one at −|β| are real, and the others complex, at several times the work. Needs
    analytic units (`Linear`, `Sigmoid`, `Tanh`, `Softmax`), and an energy and cost that
    are analytic functions of the state, which is checked; clipped units are refused.

    **Arguments:**

    - `beta`: |β| > 0, dimensionless; changing it doesn't recompile. With a bias this
        small it may be large, which is what makes the estimate robust to noise.
    - `points`: n ≥ 2, compiled in.

    ??? cite "Laborieux & Zenke 2022"
        Holomorphic equilibrium propagation computes exact gradients through finite
        size oscillations, arXiv:2209.00530. Theirs relaxes all n points.
    """

    beta: Scalar = eqx.field(converter=as_scalar)
    points: int = eqx.field(default=4, static=True)

    def __check_init__(self):
        require("Holomorphic", "beta", self.beta, above=0, fix=SMALL_BETA)
        n = self.points
        if isinstance(n, bool) or not isinstance(n, int) or n < 2:
            raise ValueError(
                f"`points` of `Holomorphic` must be an integer of at least 2, but is "
                f"{n!r}: on one point the contrast needs the free phase, which is "
                "`ep.OneSided(beta=0.2)`. Try 4."
            )

    def phases(self, landscape, state, y, *, key=None):
        n, continued = self.points, landscape.continued()
        nudged = []
        for k in range(n // 2 + 1):
            if k == 0 or 2 * k == n:
                beta = self.beta if k == 0 else -self.beta
                phase = Phase(landscape.nudge(y, beta), state, 1 / (n * beta))
            else:
                beta = as_complex(self.beta) * cmath.exp(2j * cmath.pi * k / n)
                up = continued.nudge(y, beta)
                # Twice, for the conjugate: the contrast takes the real part.
                phase = Phase(up, as_complex(state), 2 / (n * beta))
            nudged.append(phase)
        return (), tuple(nudged)
