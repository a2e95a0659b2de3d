import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PyTree

from ...energies import require_kind
from ...relaxation import Landscape, show_numbers


class AbstractPlasticity(eqx.Module):
    """What the synapses do while the states move from one step to the next."""

    __repr__ = show_numbers

    @abc.abstractmethod
    def change(
        self,
        landscape: Landscape,
        old: PyTree[Array],
        new: PyTree[Array],
        *,
        weight: Float[Array, " batch"] | None = None,
    ) -> PyTree[Array]:
        """One step's $Δ_θ$, with the sign of $∂_θF$: weights follow it downhill.

        **Arguments:**

        - `landscape`: in which the states move, nudged or not.
        - `old`, `new`: the states before and after the step.
        - `weight`: one non-negative number for each example of the mean.

        **Returns:**

        A pytree like the landscape's model, with `None` in place of all that isn't an
        inexact array. It lacks the factor $1/β$.

        **Raises:**

        - `ValueError`: the rule doesn't apply to the landscape's energy.
        """


def require_plasticity(method: Any) -> None:
    """Raises a `TypeError` unless a method's plasticity is one."""
    require_kind(
        "plasticity",
        method.plasticity,
        AbstractPlasticity,
        "Pass `ep.SymmetricSTDP()` or `ep.RateSTDP()`.",
        owner=type(method).__name__,
    )
