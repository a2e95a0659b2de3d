import abc

import equinox as eqx
from equinox import AbstractVar
from jaxtyping import Array, PyTree, Scalar

from ._unit import AbstractUnit, self_potential


class AbstractEnergy(eqx.Module):
    """The energy of one example: a scalar that the state minimizes.

    $$E(θ, x, s) = \\sum_k G_k(s_k) + Φ(θ, x, s)$$

    with the units' self-potentials $G_k$ and the interaction $Φ$. The module's inexact
    arrays are the parameters θ. Every method takes **one example, without a batch
    axis**; the library adds the batch axis itself.

    **Attributes:**

    - `units`: the units, as a prefix of the state's pytree structure.
    """

    units: AbstractVar[PyTree[AbstractUnit]]

    @abc.abstractmethod
    def interaction(self, state: PyTree[Array], x: PyTree[Array]) -> Scalar:
        """The interaction $Φ(θ, x, s)$: all of the energy but the self-potentials."""

    @abc.abstractmethod
    def init(self, x: PyTree[Array]) -> PyTree[Array]:
        """The resting state, from which a cold relaxation starts."""

    @abc.abstractmethod
    def output(self, state: PyTree[Array]) -> Array:
        """The part of the state that the cost reads."""

    def __call__(self, state: PyTree[Array], x: PyTree[Array]) -> Scalar:
        """The energy $E(θ, x, s)$."""
        return self_potential(self.units, state) + self.interaction(state, x)
