"""Tiny data and models, training loops written out by hand, and run comparisons."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

import eqprop as ep


Floats = NDArray[np.floating]


def examples(count: int = 23, *, inputs: int = 5, seed: int = 0) -> ep.data.Dataset:
    rng = np.random.default_rng(seed)
    x = rng.random((count, inputs))
    return ep.data.dataset(x, rng.integers(0, 3, count), classes=3)


def splits(count: int = 23, validation: int = 7) -> ep.data.Splits:
    return ep.data.Splits(examples(count), examples(validation, seed=1), None, "tiny")


def chain(seed: int = 0, *, cost: Any = None, unit: Any = None) -> ep.Model:
    """5-6-3 with strong weights and biases, so that some units saturate."""
    energy = ep.nets.mlp(
        [5, 6, 3],
        key=jax.random.key(seed),
        init=ep.FanInUniform(1.5),
        output_unit=unit or ep.Linear(),
    )
    biases = jnp.linspace(-0.4, 0.9, 6), jnp.linspace(-0.1, 0.2, 3)
    energy = eqx.tree_at(
        lambda e: (e.edges[1].interaction.bias, e.edges[3].interaction.bias),
        energy,
        biases,
    )
    return ep.Model(energy, cost or ep.SquaredError())


def euler(steps: int, **options: Any) -> ep.Euler:
    return ep.Euler(step_size=0.5, max_steps=steps, **options)


# With `base`, all that a resumed run must bring back: states, momentum, drawn signs.
METHOD = ep.EquilibriumProp(ep.RandomSign(0.3), euler(6), euler(3))


def base(**changes: Any) -> ep.training.Run:
    """`fit` as most tests call it, so that they share one compilation."""
    options: dict[str, Any] = {
        "model": chain(),
        "data": splits(),
        "method": METHOD,
        "optimizer": ep.SGD([0.3, 0.1], momentum=0.5),
        "epochs": 3,
        "batch_size": 5,
        "persistent": True,
    }
    options |= changes
    first = [options.pop(name) for name in ("model", "data", "method", "optimizer")]
    return ep.fit(*first, **options)


def keys(seed: int) -> tuple[jax.Array, jax.Array]:
    """The key of the orders, and that of the method."""
    return ep.training.run_keys(seed)


def batches_by_hand(
    seed: int, epoch: int, size: int, batch_size: int, order: Any = None
) -> list[NDArray[np.integer]]:
    """An epoch's batches; the last is short instead of padded."""
    order = ep.data.Shuffled() if order is None else order
    indices = np.asarray(order(keys(seed)[0], epoch, size))
    return [indices[k : k + batch_size] for k in range(0, size, batch_size)]


@eqx.filter_jit
def _gradient(method, model, x, y, key):
    return method.value_and_grad(model, x, y, key=key)


Update = Callable[[ep.Model, ep.Model, int, float], ep.Model]


def fit_by_hand(
    model: ep.Model,
    data: ep.data.Dataset,
    method: ep.AbstractEstimator,
    update: Update,
    *,
    epochs: int,
    batch_size: int,
    seed: int = 0,
    order: Any = None,
) -> ep.Model:
    """A plain loop without padding. `update(model, gradient, step, epoch)` returns the
    new model; `epoch` has its fraction."""
    step, count = 0, math.ceil(len(data) / batch_size)
    for epoch in range(epochs):
        for rows in batches_by_hand(seed, epoch, len(data), batch_size, order):
            key = ep.training.batch_key(keys(seed)[1], step)
            _, gradient = _gradient(method, model, data.x[rows], data.y[rows], key)
            model = update(model, gradient, step, epoch + step % count / count)
            step += 1
    return model


def descend(model: ep.Model, direction: Any, rates: list[float]) -> ep.Model:
    """θ − rate·direction, with one rate for each edge of the network, in their order,
    and one more for the cost's parameters if it has any."""
    edges = [
        jax.tree.map(lambda p, d, r=r: p - r * d, edge, change)
        for edge, change, r in zip(
            model.energy.edges, direction.energy.edges, rates, strict=False
        )
    ]
    cost = jax.tree.map(lambda p, d: p - rates[-1] * d, model.cost, direction.cost)
    return eqx.tree_at(lambda m: (m.energy.edges, m.cost), model, (tuple(edges), cost))


@dataclasses.dataclass
class ChainByHand:
    """x – h – o in NumPy: h hard-sigmoid, o linear, ½‖o − y‖², Euler steps of 0.5."""

    w: Floats
    b: Floats
    v: Floats
    c: Floats

    @classmethod
    def of(cls, model: ep.Model) -> "ChainByHand":
        edges = model.energy.edges
        return cls(*(np.asarray(jax.tree.leaves(edge)[0]) for edge in edges))

    def drives(self, x, h, o, y=None, beta=0.0):
        top = h @ self.v + self.c
        if y is not None:
            top = top + beta * (y - o)
        return x @ self.w + self.b + o @ self.v.T, top

    def settle(self, x, h, o, steps, y=None, beta=0.0):
        for _ in range(steps):
            to_h, to_o = self.drives(x, h, o, y, beta)
            h, o = np.clip(h + 0.5 * (to_h - h), 0, 1), o + 0.5 * (to_o - o)
        return h, o

    def rest(self, x):
        return np.zeros((len(x), 6)), np.zeros((len(x), 3))

    def residual(self, x, h, o, y=None, beta=0.0):
        to_h, to_o = self.drives(x, h, o, y, beta)
        gaps = np.abs(np.clip(to_h, 0, 1) - h), np.abs(to_o - o)
        return np.concatenate(gaps, axis=1).max(axis=1)

    def energy(self, x, h, o):
        squares = 0.5 * (h * h).sum(1) + 0.5 * (o * o).sum(1)
        linear = h @ self.b + o @ self.c
        return squares - linear - ((x @ self.w) * h).sum(1) - ((h @ self.v) * o).sum(1)

    def slopes(self, x, h, o):
        """The batch mean of ∂E/∂θ."""
        n = len(x)
        return [-x.T @ h / n, -h.mean(0), -h.T @ o / n, -o.mean(0)]

    def free_metrics(self, x, y, h, o, certify) -> dict[str, Floats]:
        """One number for each example."""
        residual = self.residual(x, h, o)
        return {
            "cost": 0.5 * ((o - y) ** 2).sum(1),
            "energy": self.energy(x, h, o),
            "error": 100.0 * (o.argmax(1) != y.argmax(1)),
            "saturation": 100.0 * ((h == 0) | (h == 1)).sum(1) / 9,
            "converged": 1.0 * (residual <= certify),
            "residual": residual,
        }


def without_seconds(run: ep.training.Run) -> list[dict[str, Any]]:
    times = ("seconds", "compile_seconds")
    return [{k: v for k, v in row.items() if k not in times} for row in run.metrics]


def arrays(tree: Any) -> list[np.ndarray]:
    return [np.asarray(a) for a in jax.tree.leaves(eqx.filter(tree, eqx.is_array_like))]


def bits(tree: Any) -> list[tuple]:
    """Every array's type, shape and bytes."""
    return [(a.dtype.name, a.shape, a.tobytes()) for a in arrays(tree)]


def stored(run: Path) -> dict[str, bytes]:
    """The bytes of all tensors of a run's last checkpoint: weights, the optimizer's
    memory, persistent states, sums."""
    folder = ep.training.RunDirectory.open(run).checkpoint("last")
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def last_model(run: Path, like: ep.Model) -> ep.Model:
    directory = ep.training.RunDirectory.open(run)
    return directory.load("last", {"model": like})[0]["model"]


def all_finite(tree: Any) -> bool:
    return all(np.all(np.isfinite(a.astype(float))) for a in arrays(tree))


def relative_distance(a: Any, b: Any) -> float:
    one, two = (
        np.concatenate([np.ravel(leaf).astype(float) for leaf in arrays(tree)])
        for tree in (a, b)
    )
    return float(np.linalg.norm(one - two) / np.linalg.norm(two))
