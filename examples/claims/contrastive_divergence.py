"""Contrastive divergence follows no objective; Equilibrium Propagation follows its own.

    python examples/claims/contrastive_divergence.py \
        docs/claims/contrastive_divergence.png

A restricted Boltzmann machine of five binary units, given an input, is small enough to
enumerate. Every expected update is computed from the probabilities of all states, with
nothing sampled, and held against the gradient of its objective by finite differences;
then stochastic Equilibrium Propagation estimates its own by sampling. Needs matplotlib.
"""

import itertools
import sys
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.flatten_util import ravel_pytree

import eqprop as ep


X = np.asarray([[1.0, 0.2], [0.3, 0.9], [0.5, 0.5]])
Y = np.asarray([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
INPUTS, HIDDEN, OUTPUTS = 2, 3, 2
T = 1.2
BETA = 0.5
BETAS = (0.5, 0.25, 0.125, 0.0625)
SWEEPS = (1, 2, 3, 5, 8, 13, 21, 34)
METHOD = ep.StochasticEP(
    ep.OneSided(BETA), ep.Gibbs(T, max_steps=30), samples=300, chains=240
)


class Found(NamedTuple):
    """`updates` are those expected by rule, `gradients` of the rules' objectives by
    finite differences, `[parameter]`; `jacobians` how the updates change with the
    parameters. `cut` and `turn` are updates and Jacobians of phases cut off after each
    number of sweeps. `nudged` are EP's updates for every β, `mean_cost` the gradient of
    E_0[C]; `sampled` is an estimate of EP's and its standard error."""

    updates: dict[str, np.ndarray]
    jacobians: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    cut: dict[str, np.ndarray]
    turn: dict[str, np.ndarray]
    nudged: dict[str, np.ndarray]
    mean_cost: np.ndarray
    sampled: tuple[np.ndarray, np.ndarray]


def network() -> ep.Model:
    rng = np.random.default_rng(3)
    sizes = {"h": HIDDEN, "output": OUTPUTS}
    layers = [ep.Layer(name, ep.Binary(), (n,)) for name, n in sizes.items()]
    shapes = {("input", "h"): (INPUTS, HIDDEN), ("h", "output"): (HIDDEN, OUTPUTS)}
    edges = [
        ep.Edge(names, ep.Dense(jnp.asarray(rng.normal(scale=2.0, size=shape))))
        for names, shape in shapes.items()
    ]
    for layer in layers:
        bias = jnp.asarray(rng.normal(scale=0.5, size=layer.shape))
        edges.append(ep.Edge((layer.name,), ep.Bias(bias)))
    return ep.Model(ep.Network(layers, edges), ep.SquaredError())


def all_states(count: int) -> np.ndarray:
    return np.asarray(list(itertools.product([0.0, 1.0], repeat=count)))


def energies(model: ep.Model) -> jax.Array:
    """E of every input and state, `[example, hidden state, output state]`."""
    h, o = all_states(HIDDEN), all_states(OUTPUTS)
    n = (len(X), len(h), len(o))
    x = np.broadcast_to(X[:, None, None], (*n, INPUTS)).reshape(-1, INPUTS)
    state = (
        np.broadcast_to(h[None, :, None], (*n, HIDDEN)).reshape(-1, HIDDEN),
        np.broadcast_to(o[None, None], (*n, OUTPUTS)).reshape(-1, OUTPUTS),
    )
    landscape = ep.Landscape(model, jnp.asarray(x))
    return landscape.energy(jax.tree.map(jnp.asarray, state)).reshape(n)


def costs() -> jax.Array:
    """C of every target and state, shaped to be added to the energies."""
    misses = all_states(OUTPUTS)[None] - Y[:, None]
    return jnp.asarray(0.5 * np.sum(misses**2, axis=-1))[:, None]


def targets() -> jax.Array:
    """Which output state each target is, in the same shape."""
    alike = all_states(OUTPUTS)[None] == Y[:, None]
    return jnp.asarray(np.all(alike, axis=-1).astype(float))[:, None]


def stationary(f: jax.Array) -> jax.Array:
    """exp(−F/T) over all states of an example, normalized."""
    return jax.nn.softmax(-f / T, axis=(1, 2))


def clamped(e: jax.Array) -> jax.Array:
    """The hidden units' distribution with the outputs at their targets."""
    return jax.nn.softmax(-e / T, axis=1) * targets()


def swept(f: jax.Array, p: jax.Array) -> jax.Array:
    """The distributions after sweeps of Gibbs sampling, outputs first."""

    def sweep(p, _):
        p = jnp.sum(p, axis=2, keepdims=True) * jax.nn.softmax(-f / T, axis=2)
        p = jnp.sum(p, axis=1, keepdims=True) * jax.nn.softmax(-f / T, axis=1)
        return p, p

    every = jax.lax.scan(sweep, p, length=max(SWEEPS))[1]
    return every[jnp.asarray(SWEEPS) - 1]


def free_energy(f: jax.Array) -> jax.Array:
    return -T * jax.nn.logsumexp(-f / T, axis=(1, 2))


# What each rule contrasts: differences of two distributions, given all energies.
def boltzmann(e):
    return clamped(e) - stationary(e)


def contrastive_divergence(e):
    """After each number of sweeps from the target on."""
    return clamped(e)[None] - swept(e, clamped(e))


def nudged_by(beta: float) -> Callable:
    return lambda e: (stationary(e + beta * costs()) - stationary(e)) / beta


def brief(e):
    """After each number of nudged sweeps from the free distribution on."""
    free = stationary(e)
    return (swept(e + BETA * costs(), free) - free[None]) / BETA


# The rules' objectives, for each example.
def surprise(e):
    held = -T * jax.nn.logsumexp(-e / T, axis=1)
    return jnp.sum(held * targets()[:, 0], axis=1) - free_energy(e)


def gain(e):
    return (free_energy(e + BETA * costs()) - free_energy(e)) / BETA


def mean_cost(e):
    return jnp.sum(stationary(e) * costs(), axis=(1, 2))


@jax.jit
def enumerate_all():
    """All but what is sampled, in the order of `Found`."""
    params, static = eqx.partition(network(), eqx.is_inexact_array)
    start, unravel = ravel_pytree(params)

    def of(theta):
        return energies(eqx.combine(unravel(theta), static))

    # ∂E/∂θ of every example and state; E is linear in θ.
    slopes = jax.jacfwd(of)(start)

    def update(rule, theta):
        return jnp.tensordot(rule(of(theta)), slopes, 3) / len(X)

    def both(rules):
        return (
            {name: update(rule, start) for name, rule in rules.items()},
            {
                name: jax.jacfwd(lambda t, r=rule: update(r, t))(start)
                for name, rule in rules.items()
            },
        )

    def differences(objective):
        def mean(theta):
            return jnp.mean(objective(of(theta)))

        moves = 1e-5 * jnp.eye(len(start))
        up, down = (
            jax.vmap(lambda d, s=s: mean(start + s * d))(moves) for s in (1, -1)
        )
        return (up - down) / 2e-5

    up, down = (
        jax.vmap(lambda beta: update(nudged_by(beta), start))(sign * jnp.asarray(BETAS))
        for sign in (1, -1)
    )
    return (
        *both({"Boltzmann": boltzmann, "EP": nudged_by(BETA)}),
        {"Boltzmann": differences(surprise), "EP": differences(gain)},
        *both({"Boltzmann": contrastive_divergence, "EP": brief}),
        {"one-sided": up, "centered": (up + down) / 2},
        differences(mean_cost),
    )


@eqx.filter_jit
def sample(model: ep.Model, x, y):
    outcome, estimate = METHOD.value_and_grad(model, x, y, key=jax.random.key(0))
    return ravel_pytree(estimate)[0], ravel_pytree(outcome.stderr)[0]


def measure() -> Found:
    found = jax.tree.map(np.asarray, enumerate_all())
    sampled = sample(network(), jnp.asarray(X), jnp.asarray(Y))
    return Found(*found, tuple(np.asarray(a) for a in sampled))


def asymmetry(jacobian: np.ndarray) -> float:
    """Zero for every gradient: the share of the Jacobian that is antisymmetric."""
    return float(np.linalg.norm(jacobian - jacobian.T) / 2 / np.linalg.norm(jacobian))


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    draw_parameters(found, axes[0])
    for name, label, color in (("Boltzmann", "CD-k", "C3"), ("EP", "EP", "C0")):
        errors = [error(u, found.updates[name]) for u in found.cut[name]]
        turns = [asymmetry(j) for j in found.turn[name]]
        mark = "x" if color == "C3" else "o"
        axes[1].loglog(SWEEPS, errors, color=color, marker=mark, mfc="none")
        axes[1].loglog(SWEEPS, turns, "--", color=color, marker=mark, mfc="none")
        axes[1].lines[-2].set_label(f"{label}, error")
        axes[1].lines[-1].set_label(f"{label}, antisymmetry")
    axes[1].set(xlabel="sweeps of the second phase", title="cut off before it settles")
    axes[1].set_xticks(SWEEPS, labels=map(str, SWEEPS))
    axes[1].minorticks_off()
    axes[1].legend(frameon=False, fontsize=8)
    for name, style in (("one-sided", "C0o-"), ("centered", "C1s--")):
        errors = [error(update, found.mean_cost) for update in found.nudged[name]]
        order = 1 + (name == "centered")
        axes[2].loglog(BETAS, errors, style, ms=5, label=f"{name}, slope {order}")
    axes[2].set_xticks(BETAS, labels=[f"{beta:g}" for beta in BETAS])
    axes[2].minorticks_off()
    axes[2].set(xlabel="β", title="EP against the gradient of $E_0[C]$")
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_parameters(found: Found, axis) -> None:
    """Expected and sampled updates, in units of the objective's largest slope."""
    exact, other = found.gradients["Boltzmann"], found.gradients["EP"]
    most, largest = np.abs(exact).max(), np.abs(other).max()
    axis.plot([-1.1, 1.1], [-1.1, 1.1], color="0.7", lw=1, zorder=0)
    axis.plot(exact / most, found.cut["Boltzmann"][0] / most, "C3x", label="CD-1")
    expected, (estimate, spread) = found.updates["EP"], found.sampled
    axis.plot(other / largest, expected / largest, "C0o", mfc="none", label="EP")
    style = {"ls": "", "color": "C0", "lw": 1, "label": "EP sampled, ± 3 errors"}
    axis.errorbar(other / largest, estimate / largest, 3 * spread / largest, **style)
    axis.set(xlabel="gradient of its objective", ylabel="update", aspect="equal")
    axis.set_title("each parameter, scaled")
    axis.legend(frameon=False, fontsize=8)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    shown = {
        "CD-1": ("Boltzmann", found.cut["Boltzmann"][0], found.turn["Boltzmann"][0]),
        **{
            name: (name, update, found.jacobians[name])
            for name, update in found.updates.items()
        },
    }
    for name, (goal, update, jacobian) in shown.items():
        gap = error(update, found.gradients[goal])
        print(f"{name}: error {gap:.1e}, antisymmetric {asymmetry(jacobian):.1e}")
    for name, each in found.nudged.items():
        errors = [error(update, found.mean_cost) for update in each]
        slope = np.polyfit(np.log(BETAS), np.log(errors), 1)[0]
        print(f"EP, {name}, against E_0[C]: error {errors[-1]:.1e}, slope {slope:.3f}")
    scores = (found.sampled[0] - found.updates["EP"]) / found.sampled[1]
    print(f"EP sampled: at most {np.abs(scores).max():.1f} standard errors off")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "contrastive_divergence.png")
