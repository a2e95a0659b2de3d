"""Every quantity of E = ½ sᵀAs − sᵀ(Bx + b), C = ½‖Ps − y‖², in closed form.

    s^β = (A + β PᵀP)⁻¹ (Bx + b + β Pᵀy),   one column of states for each example

with A symmetric and A + β PᵀP positive definite. The rows of x and y are examples.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


Floats = NDArray[np.floating]


@dataclass
class Quadratic:
    a: Floats
    b: Floats
    bias: Floats
    p: Floats

    def state(self, x: Floats, y: Floats, beta: float) -> Floats:
        right = x @ self.b.T + self.bias + beta * y @ self.p
        return np.linalg.solve(self.a + beta * self.p.T @ self.p, right.T).T

    def slopes(self, x: Floats, s: Floats) -> dict[str, Floats]:
        """The batch mean of ∂E/∂A, ∂E/∂B and ∂E/∂b, A's entries taken as free."""
        count = len(x)
        return {"a": 0.5 * s.T @ s / count, "b": -s.T @ x / count, "bias": -s.mean(0)}

    def contrast(
        self, x: Floats, y: Floats, up: float, down: float
    ) -> dict[str, Floats]:
        """(∂E/∂θ(s^up) − ∂E/∂θ(s^down)) / (up − down)."""
        high = self.slopes(x, self.state(x, y, up))
        low = self.slopes(x, self.state(x, y, down))
        return {name: (high[name] - low[name]) / (up - down) for name in high}

    def gradient(self, x: Floats, y: Floats) -> dict[str, Floats]:
        """dL/dθ = λᵀ(Bdx + db − dA s), where A λ = Pᵀ(Ps − y)."""
        s = self.state(x, y, 0.0)
        adjoint = np.linalg.solve(self.a, ((s @ self.p.T - y) @ self.p).T).T
        count = len(x)
        both = adjoint.T @ s + s.T @ adjoint
        return {
            "a": -0.5 * both / count,
            "b": adjoint.T @ x / count,
            "bias": adjoint.mean(0),
        }
