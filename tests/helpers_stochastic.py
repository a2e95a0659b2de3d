"""Networks small enough to enumerate or integrate, twice: as a model and in NumPy."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import eqprop as ep
from eqprop.relaxation.samplers._walls import walls
from oracles.stationary import binary_states, box_states, cross_entropy, joined, Net


INPUTS = 2


class Pair(NamedTuple):
    """A model and its oracle, with a batch."""

    model: ep.Model
    net: Net
    x: np.ndarray
    y: np.ndarray

    @property
    def free(self) -> ep.Landscape:
        return ep.Landscape(self.model, jnp.asarray(self.x))

    def repeated(self, count: int, beta: float | None = None) -> ep.Landscape:
        """The first example, `count` times: as many independent chains."""
        landscape = ep.Landscape(self.model, jnp.asarray(self.x[:1].repeat(count, 0)))
        if beta is None:
            return landscape
        return landscape.nudge(jnp.asarray(self.y[:1].repeat(count, 0)), beta)


def layer_states(unit: ep.AbstractUnit, count: int):
    """The oracle's states of a layer. Open sides end where nothing is left."""
    if unit.binary:
        return binary_states(count)
    low, high = walls(unit)
    # More than one unit is too many to integrate: then only the model is of use.
    nodes = 60 if count == 1 else 1
    return box_states(count, max(low, -4.0), min(high, 4.0), nodes)


def pair(
    hidden: int,
    outputs: int,
    temperature: float,
    units: Sequence[ep.AbstractUnit],
    *,
    lateral: bool = False,
    scale: float = 1.0,
    cost: ep.AbstractCost | None = None,
    seed: int = 0,
) -> Pair:
    """input → hidden ↔ output, each layer of its unit; three examples."""
    rng = np.random.default_rng(seed)
    n = hidden + outputs
    w = scale * rng.normal(size=(INPUTS, hidden))
    v = scale * rng.normal(size=(hidden, outputs))
    side = scale * np.triu(rng.normal(size=(hidden, hidden)), 1) * lateral
    b = 0.3 + 0.3 * scale * rng.normal(size=n)
    layers = [
        ep.Layer("h", units[0], (hidden,)),
        ep.Layer("output", units[-1], (outputs,)),
    ]
    edges = [
        ep.Edge(("h", "output"), ep.Dense(jnp.asarray(v))),
        ep.Edge(("input", "h"), ep.Dense(jnp.asarray(w))),
        ep.Edge(("h",), ep.Bias(jnp.asarray(b[:hidden]))),
        ep.Edge(("output",), ep.Bias(jnp.asarray(b[hidden:]))),
    ]
    if lateral:
        edges.append(ep.Edge(("h",), ep.Lateral(jnp.asarray(side))))
    j = np.zeros((n, n))
    j[:hidden, hidden:], j[:hidden, :hidden] = v, side
    states = joined(layer_states(units[0], hidden), layer_states(units[-1], outputs))
    u = np.concatenate([w, np.zeros((INPUTS, outputs))], axis=1)
    net = Net(j + j.T, u, b, outputs, temperature, *states)
    if isinstance(cost, ep.CrossEntropy):
        net.loss = cross_entropy
    x, y = rng.uniform(size=(3, INPUTS)), rng.uniform(size=(3, outputs))
    energy = ep.Network(layers, edges)
    return Pair(ep.Model(energy, cost or ep.SquaredError()), net, x, y)


def as_vector(gradient, case: Pair) -> np.ndarray:
    """A gradient (or its standard errors) in the oracle's order of parameters. NaN
    for what the model doesn't have: couplings of outputs with each other or x."""
    edges = gradient.energy.edges
    net, out = case.net, case.net.outputs
    n, hidden = len(net.b), len(net.b) - out
    j = np.full((n, n), np.nan)
    j[:hidden, hidden:] = edges[0].interaction.weight
    if len(edges) > 4:
        j[:hidden, :hidden] = edges[4].interaction.weight
    u = np.full((INPUTS, n), np.nan)
    u[:, :hidden] = edges[1].interaction.weight
    biases = [edges[k].interaction.bias for k in (2, 3)]
    upper = np.triu_indices(n, 1)
    return np.concatenate([j[upper], u.reshape(-1), *map(np.asarray, biases)])


def scores(outcome: ep.Outcome, gradient, exact: np.ndarray, case: Pair) -> np.ndarray:
    """How many standard errors each component is off."""
    found, error = as_vector(gradient, case), as_vector(outcome.stderr, case)
    there = np.isfinite(found)
    return (found[there] - exact[there]) / error[there]


def rows(state) -> np.ndarray:
    """All units of every example, a row each."""
    leaves = [np.asarray(s).reshape(len(s), -1) for s in jax.tree.leaves(state)]
    return np.concatenate(leaves, axis=1)


def moment_scores(s: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
    """How many standard errors the means, variances and covariances of independent
    rows are off."""
    centered = s - mean
    products = centered[:, :, None] * centered[:, None, :]
    first = np.mean(centered, 0) / (np.std(s, 0) / np.sqrt(len(s)))
    second = np.mean(products, 0) - cov
    error = np.std(products, 0) / np.sqrt(len(s))
    upper = np.triu_indices(s.shape[1])
    return np.concatenate([first, (second / error)[upper]])
