from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Scalar

from ._energy import AbstractEnergy
from ._graph import (
    check_graph,
    check_input,
    Edge,
    edge_energy,
    INPUT,
    Layer,
    resting_state,
    values_by_name,
)
from ._unit import AbstractUnit


class Hopfield(AbstractEnergy):
    """The paper's energy: a continuous Hopfield network in membrane coordinates.

    $$E(u) = ½\\sum_i u_i^2 - ½\\sum_{i \\ne j} W_{ij} ρ(u_i) ρ(u_j)
      - \\sum_i b_i ρ(u_i)$$

    where u = {x, h, y} are all units' membrane potentials, $W$ is symmetric with zero
    diagonal, and each pair is stored once, in the edge that couples the two. Its force
    is the leaky integrator $ρ'(u_i)(\\sum_j W_{ij} ρ(u_j) + b_i) - u_i$. The input's
    own $½x²$ is a constant and is included. In states $s = ρ(u)$, which is what
    [`eqprop.Network`][] uses, the equation agrees with this one only for the clip.

    The state is a tuple of arrays, one a layer, in the order of `layers`. The
    interaction is not affine in u, not even for the clip, which has a kink at each
    corner: `BlockCoordinate` refuses it; use `Euler` or `FixedPoint`.

    **Arguments:**

    - `layers`: the layers. Their units say where u may live and must be quadratic:
        `HardSigmoid()` for the clip (the projection of eq. 43), `Linear()` otherwise.
    - `edges`: [`eqprop.Dense`][], [`eqprop.Lateral`][] and [`eqprop.Bias`][] terms,
        which read ρ(u).
    - `rho`: the activation ρ: a unit, whose `activate` is taken (`HardSigmoid()`,
        `Sigmoid()`, `Tanh()`), or any elementwise function.
    - `output`: name of the layer that the cost reads (its u, as in the paper).

    ??? cite "Scellier & Bengio 2017, eq. 1"
        arXiv:1602.05179.
    """

    layers: tuple[Layer, ...]
    edges: tuple[Edge, ...]
    rho: AbstractUnit | Callable[[Array], Array]
    output_layer: str = eqx.field(static=True)

    def __init__(self, layers, edges, rho, output: str = "output"):
        self.layers = tuple(layers)
        self.edges = tuple(edges)
        self.rho = rho
        self.output_layer = output
        check_graph(self.layers, self.edges, output)
        for layer in self.layers:
            if not layer.unit.quadratic:
                raise ValueError(
                    f"Layer {layer.name!r} of a `Hopfield` energy has unit "
                    f"{layer.unit}, but the energy's own ½u² asks for a quadratic one. "
                    "Pass `ep.Linear()` (or `ep.HardSigmoid()` for the clip) and give "
                    "the activation as `rho`."
                )

    @property
    def units(self) -> tuple[AbstractUnit, ...]:
        return tuple(layer.unit for layer in self.layers)

    def interaction(self, state, x: Inexact[Array, "..."]) -> Scalar:
        check_input(self.edges, self.layers, x)
        potentials = values_by_name(self.layers, state, x)
        rates = {name: self.rate(u) for name, u in potentials.items()}
        constant = 0.5 * jnp.sum(potentials[INPUT] ** 2)
        return constant + edge_energy(self.edges, rates, x)

    def rate(self, u: Inexact[Array, "..."]) -> Inexact[Array, "..."]:
        """The firing rate ρ(u)."""
        rho = self.rho.activate if isinstance(self.rho, AbstractUnit) else self.rho
        return rho(u)

    def init(self, x):
        return resting_state(self.layers, x)

    def output(self, state):
        index = [layer.name for layer in self.layers].index(self.output_layer)
        return state[index]
