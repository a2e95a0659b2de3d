import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Inexact, Scalar


class AbstractCost(eqx.Module):
    """How far an output is from its target: $C(o, y)$, minimized.

    Methods take one example, without batch axis. A cost may own parameters.
    """

    @abc.abstractmethod
    def __call__(
        self, output: Inexact[Array, "..."], y: Inexact[Array, "..."]
    ) -> Scalar:
        """The cost $C(o, y)$."""

    @abc.abstractmethod
    def predict(self, output: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """The prediction, in the units of the target y."""

    @abc.abstractmethod
    def curvature(self) -> tuple[Scalar | float, Scalar | float]:
        """Lower and upper bound $(μ, L)$ of the eigenvalues of $∂²C/∂o²$. Nudged
        block minimization steps by it; equal bounds make its steps exact."""

    @abc.abstractmethod
    def check(self, output: tuple[int, ...], y: tuple[int, ...]) -> str | None:
        """What is wrong with outputs and targets of these shapes, or `None`."""


class SquaredError(AbstractCost):
    """Half the squared distance, $C = ½‖o - y‖²$ (the paper's equation 2).

    The paper's original code leaves out the ½: its β and learning rates mean twice
    what they say there.

    ??? cite "Scellier & Bengio 2017, eq. 2"
        arXiv:1602.05179.
    """

    def __call__(self, output, y):
        return 0.5 * jnp.sum((output - y) ** 2)

    def predict(self, output):
        return output

    def curvature(self):
        return (1.0, 1.0)

    def check(self, output, y):
        return _same_shape(output, y)


class CrossEntropy(AbstractCost):
    """Cross-entropy of outputs that are logits: $C = \\ln\\sum_i e^{o_i} - \\langle y,
    o \\rangle$ for a one-hot (or probability) target y.

    The outputs must be linear units: on probabilities a negative β would leave the
    nudged energy without a lower bound.
    """

    def __call__(self, output, y):
        return logsumexp(output) - jnp.sum(y * output)

    def predict(self, output):
        return jax.nn.softmax(output.reshape(-1)).reshape(output.shape)

    def curvature(self):
        # ∂²C = diag(p) − ppᵀ, whose eigenvalues lie between 0 and ½.
        return (0.0, 0.5)

    def check(self, output, y):
        return _same_shape(output, y)


class Readout(AbstractCost):
    """A trained linear readout outside the dynamics: $C = c(oW + b, y)$.

    The relaxing outputs $o$ are, say, a hidden layer; the readout's parameters are
    the cost's own and learn from the same contrast.

    **Arguments:**

    - `cost`: the inner cost $c$ of the readout's result.
    - `weight`: $W$, of shape `[size of o, size of y]`.
    - `bias`: $b$, of shape `[size of y]`.

    ??? cite "Laborieux et al. 2021"
        arXiv:2101.05536.
    """

    cost: AbstractCost
    weight: Float[Array, "outputs targets"]
    bias: Float[Array, " targets"]

    def _read(self, output):
        return output.reshape(-1) @ self.weight + self.bias

    def __call__(self, output, y):
        return self.cost(self._read(output), y)

    def predict(self, output):
        return self.cost.predict(self._read(output))

    def curvature(self):
        # ‖W‖² is at most the largest absolute row sum of the small Gram matrix.
        gram = self.weight.T @ self.weight
        return (0.0, self.cost.curvature()[1] * jnp.max(jnp.sum(jnp.abs(gram), 1)))

    def check(self, output, y):
        size = 1
        for n in output:
            size *= n
        if size != self.weight.shape[0]:
            return (
                f"the readout's weight of shape {self.weight.shape} does not fit "
                f"outputs of shape {output}"
            )
        return self.cost.check((self.weight.shape[1],), y)


def _same_shape(output: tuple[int, ...], y: tuple[int, ...]) -> str | None:
    if output == y:
        return None
    return f"targets of shape {y} do not fit outputs of shape {output}"
