"""The paper's training step, by the library and written by hand, in one run.

    python benchmarks/step.py

784-500-10, batch 20, 20 free and 4 nudged Euler steps, persistent states, plain SGD:
200 batches in one compiled loop each. Prints the median and the spread of milliseconds
a batch, and their ratio to the hand-written loop.
"""

import statistics
import time

import equinox as eqx
import jax
import jax.numpy as jnp

import eqprop as ep


BATCHES, BATCH = 200, 20
ROUNDS = 15


def by_hand(x, y):
    """The recipe in plain JAX, with the input's product taken out of the loop."""

    def clip(s):
        return jnp.clip(s, 0, 1)

    def settle(steps, beta, drive, target, weights, biases, state):
        def step(_, state):
            h, o = state
            h_force = drive + o @ weights.T - h
            o_force = h @ weights + biases - o - beta * (o - target)
            return clip(h + 0.5 * h_force), clip(o + 0.5 * o_force)

        return jax.lax.fori_loop(0, steps, step, state)

    def batch(k, carry):
        (w1, b1, w2, b2), (hidden, output) = carry
        xb, target, h, o = (
            jax.lax.dynamic_slice_in_dim(a, k * BATCH, BATCH)
            for a in (x, y, hidden, output)
        )
        drive = xb @ w1 + b1
        h, o = settle(20, 0.0, drive, target, w2, b2, (h, o))
        hn, on = settle(4, 1.0, drive, target, w2, b2, (h, o))
        rate = 0.1 / BATCH
        params = (
            w1 + rate * (xb.T @ (hn - h)),
            b1 + rate * jnp.sum(hn - h, 0),
            w2 + rate * (hn.T @ on - h.T @ o),
            b2 + rate * jnp.sum(on - o, 0),
        )
        write = jax.lax.dynamic_update_slice_in_dim
        states = write(hidden, h, k * BATCH, 0), write(output, o, k * BATCH, 0)
        return params, states

    def run(params, states):
        return jax.lax.fori_loop(0, BATCHES, batch, (params, states))

    return jax.jit(run)


def by_library(model, x, y):
    """`value_and_grad` in a loop, as a user would write it."""
    euler = ep.Euler(step_size=0.5, max_steps=20), ep.Euler(step_size=0.5, max_steps=4)
    method = ep.EquilibriumProp(ep.OneSided(beta=1.0), *euler)

    @eqx.filter_jit
    def run(model, states, method):
        arrays, static = eqx.partition(model, eqx.is_array)

        def batch(k, carry):
            arrays, states = carry
            xb, yb, *state0 = (
                jax.lax.dynamic_slice_in_dim(a, k * BATCH, BATCH)
                for a in (x, y, *states)
            )
            outcome, grads = method.value_and_grad(
                eqx.combine(arrays, static), xb, yb, state0=tuple(state0)
            )
            states = tuple(
                jax.lax.dynamic_update_slice_in_dim(s, new, k * BATCH, 0)
                for s, new in zip(states, outcome.free.state, strict=True)
            )
            updates = jax.tree.map(lambda g: -0.1 * g, grads)
            return eqx.apply_updates(arrays, updates), states

        return jax.lax.fori_loop(0, BATCHES, batch, (arrays, states))

    return lambda model, states: run(model, states, method)


def seconds(run, *args) -> float:
    started = time.perf_counter()
    jax.block_until_ready(run(*args))
    return time.perf_counter() - started


def main() -> None:
    key = jax.random.key(0)
    x = jax.random.uniform(key, (BATCHES * BATCH, 784))
    y = jax.nn.one_hot(jnp.arange(len(x)) % 10, 10)
    energy = ep.nets.mlp([784, 500, 10], key=key, output_unit=ep.HardSigmoid())
    model = ep.Model(energy, ep.SquaredError())
    states = jax.vmap(energy.init)(x)
    params = tuple(jax.tree.leaves(eqx.filter(model, eqx.is_array)))
    runs = {
        "hand-written": (by_hand(x, y), params, states),
        "library": (by_library(model, x, y), model, states),
    }
    for name, run in runs.items():
        print(f"{name:>14}: compiled and warmed up in {seconds(*run):.1f} s")
    # One round runs each once, so that a change of the machine's speed meets both.
    rounds = [
        {name: seconds(*run) for name, run in runs.items()} for _ in range(ROUNDS)
    ]
    for name in runs:
        times = sorted(1e3 * r[name] / BATCHES for r in rounds)
        ratio = statistics.median(r[name] / r["hand-written"] for r in rounds)
        print(
            f"{name:>14}: {statistics.median(times):.2f} ms a batch "
            f"({times[0]:.2f} to {times[-1]:.2f}), {ratio:.2f} × hand-written"
        )


if __name__ == "__main__":
    main()
