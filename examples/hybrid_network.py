"""Trains a network of energy blocks and feedforward layers, end to end.

    python examples/hybrid_network.py

Two blocks that relax, with a normalized linear layer between them and a linear readout
after them: the feedforward-tied energy-based models of Nest & Ernoult 2024
(arXiv:2409.03306). Inside a block the gradient is Equilibrium Propagation's, around it
that of backpropagation; `jax.grad` composes the two. Prints how the gradient of each
part compares with the exact one, and the test error on the bundled digits.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

import eqprop as ep


EPOCHS, BATCH = 25, 32


class Hybrid(eqx.Module):
    """block → normalization and linear layer → block → linear readout."""

    first: ep.AbstractEnergy
    norm: eqx.nn.LayerNorm
    between: eqx.nn.Linear
    second: ep.AbstractEnergy
    readout: eqx.nn.Linear

    def __init__(self, key: jax.Array):
        keys = jax.random.split(key, 4)
        unit = ep.Sigmoid(slope=4, center=0.5)
        self.first = ep.nets.mlp([64, 96, 64], key=keys[0], unit=unit)
        self.norm = eqx.nn.LayerNorm(64)
        self.between = eqx.nn.Linear(64, 48, key=keys[1])
        self.second = ep.nets.mlp([48, 64, 32], key=keys[2], unit=unit)
        self.readout = eqx.nn.Linear(32, 10, key=keys[3])

    def __call__(self, x: jax.Array, method: ep.AbstractEstimator) -> jax.Array:
        """The logits of a batch. `method` differentiates the blocks' equilibria."""
        s = method.equilibrium(self.first, x).state[-1]
        s = jax.vmap(lambda one: jnp.tanh(self.between(self.norm(one))))(s)
        s = method.equilibrium(self.second, s).state[-1]
        return jax.vmap(self.readout)(s)


def loss(net: Hybrid, x: jax.Array, y: jax.Array, method) -> jax.Array:
    return jnp.mean(optax.softmax_cross_entropy(net(x, method), y))


@eqx.filter_jit
def epoch(net, memory, optim, method, x, y):
    """One pass over the batches `x`, `y` of shape [batches, batch, ...]."""
    params, rest = eqx.partition(net, eqx.is_inexact_array)

    def step(carry, batch):
        params, memory = carry
        grads = eqx.filter_grad(loss)(eqx.combine(params, rest), *batch, method)
        updates, memory = optim.update(grads, memory, params)
        return (eqx.apply_updates(params, updates), memory), None

    (params, memory), _ = jax.lax.scan(step, (params, memory), (x, y))
    return eqx.combine(params, rest), memory


def batches(data: ep.data.Dataset, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    whole = len(data) // BATCH * BATCH
    order = jax.random.permutation(key, len(data))[:whole].reshape(-1, BATCH)
    return data.x[order], data.y[order]


def cosines(net: Hybrid, data: ep.data.Dataset, method) -> dict[str, float]:
    """The cosine of each part's gradient with that of implicit differentiation."""
    x, y = data.x[:64], data.y[:64]
    solver = ep.BlockCoordinate(max_steps=100)
    grad = eqx.filter_jit(eqx.filter_grad(loss))
    found = grad(net, x, y, method)
    exact = grad(net, x, y, ep.ImplicitDifferentiation(solver))
    parts = ("first", "between", "second", "readout")
    return {name: _cosine(getattr(found, name), getattr(exact, name)) for name in parts}


def _cosine(a, b) -> float:
    a, b = (jnp.concatenate([v.ravel() for v in jax.tree.leaves(t)]) for t in (a, b))
    return float(a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b))


def train(seed: int = 0) -> tuple[Hybrid, ep.AbstractEstimator, ep.data.Splits]:
    data = ep.data.digits()
    solver = ep.BlockCoordinate(max_steps=20)
    method = ep.EquilibriumProp(ep.Centered(beta=0.1), solver)
    net = Hybrid(jax.random.key(seed))
    rate = optax.cosine_decay_schedule(3e-3, EPOCHS * (len(data.train) // BATCH))
    optim = optax.adamw(rate)
    memory = optim.init(eqx.filter(net, eqx.is_inexact_array))
    for k in range(EPOCHS):
        x, y = batches(data.train, jax.random.fold_in(jax.random.key(seed), k))
        net, memory = epoch(net, memory, optim, method, x, y)
    return net, method, data


def main() -> None:
    net, method, data = train()
    for name, cosine in cosines(net, data.train, method).items():
        print(f"cosine to the exact gradient, {name}: {cosine:.4f}")
    guess = jnp.argmax(net(data.test.x, method), axis=1)
    error = 100 * float(jnp.mean(guess != data.test.labels))
    print(f"test error: {error:.2f} %")


if __name__ == "__main__":
    main()
