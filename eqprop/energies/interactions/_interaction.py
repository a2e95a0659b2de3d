import abc

import equinox as eqx
from jaxtyping import Array, Inexact, Scalar


class AbstractInteraction(eqx.Module):
    """One term of an interaction: a scalar function of the layers that it couples.

    Which layers those are is said by the [`eqprop.Edge`][] that holds it. All methods
    take the layers' states of one example, in the order of the edge.
    """

    @abc.abstractmethod
    def __call__(self, *layers: Inexact[Array, "..."]) -> Scalar:
        """The term's contribution to the energy."""

    @abc.abstractmethod
    def check(self, *shapes: tuple[int, ...]) -> str | None:
        """What is wrong with coupling layers of these shapes, or `None`."""
