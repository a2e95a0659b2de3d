import abc

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ...relaxation import Landscape, show_numbers
from .._phase import Phase


SMALL_BETA = "Small values have less bias, large ones less round-off: try 0.2."


class AbstractNudging(eqx.Module):
    """Which phases are contrasted, under which nudges, with which weights."""

    __repr__ = show_numbers

    @abc.abstractmethod
    def phases(
        self,
        landscape: Landscape,
        state: PyTree[Array],
        y: Float[Array, "batch ..."],
        *,
        key: PRNGKeyArray | None = None,
    ) -> tuple[tuple[Phase, ...], tuple[Phase, ...]]:
        """Plans the phases that follow the free one.

        **Arguments:**

        - `landscape`, `state`: the free landscape and the state settled in it.
        - `y`: targets.
        - `key`: a JAX random key, for nudgings that draw.

        **Returns:**

        The phases that are settled already (the free one, if the contrast uses it),
        and those still to settle, each with the state to start from.
        """
