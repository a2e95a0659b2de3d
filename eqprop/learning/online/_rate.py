import equinox as eqx

from ...energies import Hopfield, name_of, Network
from ._plasticity import AbstractPlasticity
from ._presynaptic import presynaptic_change, rates


class RateSTDP(AbstractPlasticity):
    """Presynaptic activity times the change of the postsynaptic one.

    $$ΔW_{ij} = -ρ(u_i)\\,Δρ(u_j)$$

    with $ρ(u_i)$ as it was before the step. An edge's last layer that isn't the input
    is postsynaptic, all others are presynaptic; inside a layer ([`eqprop.Lateral`][])
    it is the unit of larger index. Of biases it is the change of the activity, and a
    readout's parameters follow β∂C.

    One way only, its sum depends on the path of the states and is no gradient: it is
    that of [`eqprop.SymmetricSTDP`][] for couplings with the clamped input, and lacks
    the part where the presynaptic unit moves for all others. Both ways, it lacks only
    $-Δρ(u_i)Δρ(u_j)$ of each step, which sums up to O(ε) for steps of size ε. Requires
    a [`eqprop.Network`][] (whose states are rates) or a [`eqprop.Hopfield`][] energy.

    **Arguments:**

    - `both_ways`: whether either side's change counts, as in a tied weight that learns
        by the rule of both synapses that it stands for.

    ??? cite "Scellier & Bengio 2017, eq. 12; Xie & Seung 2000"
        arXiv:1602.05179; Spike-based learning rules and stabilization of persistent
        neural activity, NeurIPS 1999.
    """

    both_ways: bool = eqx.field(default=False, static=True)

    def change(self, landscape, old, new, *, weight=None):
        energy = landscape.energy_fn
        if not isinstance(energy, Network | Hopfield):
            raise ValueError(
                "`RateSTDP` needs an energy that knows its synapses, an `ep.Network` "
                f"or `ep.Hopfield`, but this is {name_of(energy)}. Use "
                "`ep.SymmetricSTDP()`, which works for any energy."
            )
        return presynaptic_change(
            landscape, old, new, rates, both_ways=self.both_ways, weight=weight
        )
