import equinox as eqx
from jaxtyping import Array, Inexact, Scalar

from ._energy import AbstractEnergy
from ._graph import (
    check_graph,
    check_input,
    Edge,
    edge_energy,
    Layer,
    resting_state,
    values_by_name,
)
from ._unit import AbstractUnit


class Network(AbstractEnergy):
    """A network of layers coupled by any graph of interactions.

    $$E(θ, x, s) = \\sum_k G_k(s_k) + \\sum_e Φ_e(θ_e, s_{e_1}, s_{e_2}, …)$$

    in the coordinates of the units' states (their firing rates). For hard-sigmoid
    units this is the paper's equation 1 on its feasible set; [`eqprop.Hopfield`][] is
    that equation for any activation.

    The state is a tuple of arrays, one a layer, in the order of `layers`.

    **Arguments:**

    - `layers`: the layers, each a [`eqprop.Layer`][].
    - `edges`: the interactions, each an [`eqprop.Edge`][]: chains, skips, lateral
        couplings, cycles.
    - `output`: name of the layer that the cost reads.

    **Raises:**

    - `ValueError`: an edge that names no layer or doesn't fit the layers' shapes.

    ??? cite "Scellier & Bengio 2017, eq. 1"
        arXiv:1602.05179.
    """

    layers: tuple[Layer, ...] = eqx.field(converter=tuple)
    edges: tuple[Edge, ...] = eqx.field(converter=tuple)
    output_layer: str = eqx.field(static=True)

    def __init__(self, layers, edges, output: str = "output"):
        self.layers = tuple(layers)
        self.edges = tuple(edges)
        self.output_layer = output
        check_graph(self.layers, self.edges, output)

    @property
    def units(self) -> tuple[AbstractUnit, ...]:
        return tuple(layer.unit for layer in self.layers)

    def interaction(self, state, x: Inexact[Array, "..."]) -> Scalar:
        check_input(self.edges, self.layers, x)
        return edge_energy(self.edges, values_by_name(self.layers, state, x), x)

    def init(self, x):
        return resting_state(self.layers, x)

    def output(self, state):
        index = [layer.name for layer in self.layers].index(self.output_layer)
        return state[index]
