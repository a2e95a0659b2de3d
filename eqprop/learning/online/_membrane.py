import equinox as eqx

from ...energies import Hopfield, name_of
from ._plasticity import AbstractPlasticity
from ._presynaptic import potentials, presynaptic_change


class MembraneSTDP(AbstractPlasticity):
    """Presynaptic activity times the change of the postsynaptic membrane potential.

    $$ΔW_{ij} = -ρ(u_i)\\,Δu_j$$

    the rule by which Bengio et al. explain spike-timing-dependent plasticity. It is
    [`eqprop.RateSTDP`][] with $Δu$ for $Δρ(u)$, of which all else holds; both ways, it
    is a gradient only where $ρ' = 1$, as inside the clip. Requires a
    [`eqprop.Hopfield`][] energy.

    **Arguments:**

    - `both_ways`: whether either side's change counts.

    ??? cite "Scellier & Bengio 2017, eq. 11; Bengio et al. 2015"
        arXiv:1602.05179; STDP as presynaptic activity times rate of change of
        postsynaptic activity, arXiv:1509.05936.
    """

    both_ways: bool = eqx.field(default=False, static=True)

    def change(self, landscape, old, new, *, weight=None):
        energy = landscape.energy_fn
        if not isinstance(energy, Hopfield):
            raise ValueError(
                "`MembraneSTDP` needs membrane potentials, which an `ep.Hopfield` "
                f"energy has, but this is {name_of(energy)}. Use `ep.RateSTDP()`, "
                "which on hard-sigmoid units is the same rule."
            )
        return presynaptic_change(
            landscape, old, new, potentials, both_ways=self.both_ways, weight=weight
        )
