import equinox as eqx

from ._cost import AbstractCost
from ._energy import AbstractEnergy


class Model(eqx.Module):
    """An energy and a cost: the one pytree that is trained.

    Its inexact arrays are the parameters θ; `equinox.filter(model,
    equinox.is_inexact_array)` selects them.

    **Arguments:**

    - `energy`: what relaxes.
    - `cost`: what its output is judged by; may own parameters ([`eqprop.Readout`][]).
    """

    energy: AbstractEnergy
    cost: AbstractCost

    def __check_init__(self):
        for name, kind in (("energy", AbstractEnergy), ("cost", AbstractCost)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise TypeError(
                    f"`{name}` of a `Model` must be an `{kind.__name__}`, but is "
                    f"{type(value).__name__}. For a plain function as energy pass "
                    "`ep.FunctionEnergy(fn, params, init=..., output=...)`."
                )
