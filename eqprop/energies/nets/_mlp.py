from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from .._graph import Edge, INPUT, Layer
from .._hopfield import Hopfield
from .._init import AbstractInitializer, FanInUniform
from .._initialized import Feedforward, Initialized
from .._kinds import require_kind
from .._network import Network
from .._unit import AbstractUnit, HardSigmoid, Linear
from ..interactions import Bias, Dense


def mlp(
    sizes: Sequence[int],
    *,
    key: PRNGKeyArray,
    unit: AbstractUnit = HardSigmoid(),
    output_unit: AbstractUnit = Linear(),
    init: AbstractInitializer = FanInUniform(0.7),
) -> Network:
    """A chain of layers, each coupled to the next by symmetric dense weights.

    Hard-sigmoid hidden units and *linear* outputs are the default: with Glorot weights
    and hard-sigmoid outputs whole classes can die at the start of training.

    **Arguments:**

    - `sizes`: sizes of the input, the hidden layers and the output.
    - `key`: a JAX random key, for the weights; the biases start at zero.
    - `unit`, `output_unit`: the units of the hidden layers and of the output.
    - `init`: how the weights are drawn.

    **Returns:**

    A [`eqprop.Network`][] with layers `hidden1`, `hidden2`, …, `output`.

    **Raises:**

    - `ValueError`: fewer than two sizes, or one that isn't a positive integer.

    ??? cite "Scellier & Bengio 2017, eq. 1"
        arXiv:1602.05179.
    """
    layers = _chain_layers(sizes, unit, output_unit)
    return Network(layers, _chain_edges(sizes, layers, init, key))


def hopfield(
    sizes: Sequence[int],
    *,
    key: PRNGKeyArray,
    rho: AbstractUnit = HardSigmoid(),
    init: AbstractInitializer = FanInUniform(0.7),
) -> Hopfield:
    """The paper's layered network in membrane coordinates, for any activation ρ.

    **Arguments:**

    - `sizes`, `key`, `init`: as for [`eqprop.nets.mlp`][].
    - `rho`: a unit whose activation is ρ. With `HardSigmoid()` the potentials are kept
        on [0, 1], as the paper does (eq. 43); otherwise they are free.

    ??? cite "Scellier & Bengio 2017, eq. 1"
        arXiv:1602.05179.
    """
    unit = rho if rho.quadratic else Linear()
    layers = _chain_layers(sizes, unit, unit)
    return Hopfield(layers, _chain_edges(sizes, layers, init, key), rho)


def initialized_mlp(
    sizes: Sequence[int],
    *,
    key: PRNGKeyArray,
    unit: AbstractUnit = HardSigmoid(),
    output_unit: AbstractUnit = Linear(),
    init: AbstractInitializer = FanInUniform(0.7),
) -> Initialized:
    """The network of [`eqprop.nets.mlp`][] with a feedforward network of the same
    layers beside it, which learns to predict its equilibria
    ([`eqprop.InitializedEP`][]).

    The two begin with equal weights, which then go their own ways.

    **Arguments:** as for [`eqprop.nets.mlp`][].

    ??? cite "O'Connor et al. 2019"
        Initialized Equilibrium Propagation for backprop-free training, ICLR.
    """
    energy = mlp(sizes, key=key, unit=unit, output_unit=output_unit, init=init)
    terms = [edge.interaction for edge in energy.edges]
    weights = [term.weight for term in terms if isinstance(term, Dense)]
    biases = [term.bias for term in terms if isinstance(term, Bias)]
    return Initialized(energy, Feedforward(weights, biases, energy.units))


def _chain_layers(
    sizes: Sequence[int], unit: AbstractUnit, output_unit: AbstractUnit
) -> tuple[Layer, ...]:
    if len(sizes) < 2 or any(not isinstance(n, int) or n < 1 for n in sizes):
        raise ValueError(
            "`sizes` must hold the sizes of the input, any hidden layers and the "
            f"output, all positive integers, as in `[784, 500, 10]`, but is {sizes!r}."
        )
    hidden = [Layer(f"hidden{k}", unit, (n,)) for k, n in enumerate(sizes[1:-1], 1)]
    return (*hidden, Layer("output", output_unit, (sizes[-1],)))


def _chain_edges(
    sizes: Sequence[int],
    layers: Sequence[Layer],
    init: AbstractInitializer,
    key: PRNGKeyArray,
) -> tuple[Edge, ...]:
    seed = key if isinstance(key, int) else 0
    fix = f"Pass a JAX random key, such as `jax.random.key({seed})`."
    require_kind("key", key, jax.Array | np.ndarray, fix)
    names = [INPUT, *(layer.name for layer in layers)]
    edges = []
    for layer, k in enumerate(jax.random.split(key, len(layers))):
        below, above = names[layer : layer + 2]
        m, n = sizes[layer : layer + 2]
        edges.append(Edge((below, above), Dense(init(k, m, n))))
        edges.append(Edge((above,), Bias(jnp.zeros(n, jnp.result_type(float)))))
    return tuple(edges)
