"""Training steps whose first sweeps multiply in bfloat16, beside those in float32.

    python benchmarks/coarse_first.py [--data-dir DIR]

784-512-512-10 (64-512-512-10 on the bundled digits without DIR), batch 64, centered
nudging, a few hundred steps into training. Prints, as a table in Markdown, each plan's
time as a ratio to full precision, taken round by round in one process; the certified
shares of its phases, over 2048 examples; and how far its gradient of one batch is from
that at equilibrium.
"""

import argparse
import statistics
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

import eqprop as ep
from eqprop.diagnostics import compare


BATCHES, BATCH, ROUNDS = 20, 64, 15


def plan(free: tuple[int, int], nudged: tuple[int, int], omega: float):
    """Centered EP with so many coarse and fine sweeps a phase."""

    def solver(coarse, fine):
        sweeps = ep.BlockCoordinate(relaxation=omega, max_steps=fine)
        return ep.CoarseFirst(sweeps, coarse_steps=coarse) if coarse else sweeps

    return ep.EquilibriumProp(ep.Centered(beta=0.2), solver(*free), solver(*nudged))


PLANS = {
    "float32, 15 + 2·8 sweeps": plan((0, 15), (0, 8), 1.2),
    "10 + 5 and 2·(4 + 4)": plan((10, 5), (4, 4), 1.2),
    "13 + 2 and 2·(7 + 1)": plan((13, 2), (7, 1), 1.2),
    "float32, 30 + 2·16, ω = 1.3": plan((0, 30), (0, 16), 1.3),
    "27 + 3 and 2·(14 + 2), ω = 1.3": plan((27, 3), (14, 2), 1.3),
}


@eqx.filter_jit
def steps(method, model, x, y):
    """Gradients of some batches, each used, in one compiled call."""
    arrays, static = eqx.partition(model, eqx.is_array)

    def body(k, arrays):
        xb, yb = (jax.lax.dynamic_slice_in_dim(a, k * BATCH, BATCH) for a in (x, y))
        grads = method.value_and_grad(eqx.combine(arrays, static), xb, yb)[1]
        return eqx.apply_updates(arrays, jax.tree.map(lambda g: -1e-6 * g, grads))

    return jax.lax.fori_loop(0, BATCHES, body, arrays)


@eqx.filter_jit
def estimate(method, model, x, y):
    return method.value_and_grad(model, x, y)


def seconds(*args) -> float:
    started = time.perf_counter()
    jax.block_until_ready(steps(*args))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    folder = parser.parse_args().data_dir
    data = ep.data.digits() if folder is None else ep.data.mnist(folder=folder)
    train = data.train
    sizes = [train.x.shape[1], 512, 512, 10]
    model = ep.Model(ep.nets.mlp(sizes, key=jax.random.key(0)), ep.SquaredError())
    first = PLANS["float32, 30 + 2·16, ω = 1.3"]
    few = train[: min(len(train), 300 * BATCH)]
    model = ep.fit(model, few, first, ep.Adam(5e-4), epochs=1, batch_size=BATCH).model
    count = BATCHES * BATCH
    x, y = (jnp.resize(a, (count, a.shape[1])) for a in (train.x, train.y))
    sweeps = ep.BlockCoordinate(
        relaxation=1.5, max_steps=400, stop=ep.Tolerance(2e-6), certify=1e-5
    )
    settled = ep.EquilibriumProp(ep.Centered(beta=0.2), sweeps)
    _, exact = estimate(settled, model, x[:BATCH], y[:BATCH])
    for method in PLANS.values():
        seconds(method, model, x, y)
    rounds = [
        {name: seconds(method, model, x, y) for name, method in PLANS.items()}
        for _ in range(ROUNDS)
    ]
    base = next(iter(PLANS))
    print("| sweeps: coarse + fine | time | certified: free, +β, −β | gradient |")
    print("|---|---|---|---|")
    for name, method in PLANS.items():
        ratio = statistics.median(r[name] / r[base] for r in rounds)
        many = [a[: min(len(train), 2048)] for a in (train.x, train.y)]
        outcome, _ = estimate(method, model, *many)
        phases = (outcome.free, *outcome.nudged)
        shares = ", ".join(f"{100 * float(p.converged.mean()):.1f} %" for p in phases)
        _, gradient = estimate(method, model, x[:BATCH], y[:BATCH])
        error = compare(gradient, exact)["all"].error
        print(f"| {name} | {ratio:.2f} | {shares} | off by {100 * error:.1f} % |")


if __name__ == "__main__":
    main()
