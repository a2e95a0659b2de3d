"""The stationary distribution of a quadratic F without walls, in closed form.

    F = ½ sᵀAs − s·(Bx + b) + β·½‖Ps − y‖²,    p_β = N(s^β, T (A + βPᵀP)⁻¹)

and of Langevin dynamics with a step ε, whose linear recursion s ← (I − εA)s + … has
the covariance T A⁻¹ (I − εA/2)⁻¹.
"""

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]


def covariance(a: Floats, temperature: float, step_size: float = 0.0) -> Floats:
    identity = np.eye(len(a))
    return temperature * np.linalg.inv(a @ (identity - 0.5 * step_size * a))


def mean_cost(
    a: Floats, drive: Floats, p: Floats, y: Floats, temperature: float
) -> float:
    """E_0[C] = C(s⁰) + ½ T tr(P A⁻¹ Pᵀ), mean over the examples' drives."""
    s = np.linalg.solve(a, drive.T).T
    spread = 0.5 * temperature * np.trace(p @ np.linalg.inv(a) @ p.T)
    return float(np.mean(0.5 * np.sum((s @ p.T - y) ** 2, axis=1)) + spread)
