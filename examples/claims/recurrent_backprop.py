"""Recurrent backpropagation: the same gradient, by another computation.

    python examples/claims/recurrent_backprop.py docs/claims/recurrent_backprop.png

Follows the second phases of Equilibrium Propagation and of recurrent backpropagation
step by step, counts the programs that each compiles, and lets both train a network of
which only forces can be measured. Needs matplotlib.
"""

import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


STEP_SIZE = 0.1
STEPS = 400
BETAS = (1e-1, 1e-2, 1e-3, 1e-4)
SETTLING = ep.Euler(0.4, max_steps=3000, stop=ep.Tolerance(1e-15), certify=1e-12)
STEP = ep.Euler(STEP_SIZE, max_steps=STEPS)


class Found(NamedTuple):
    """The layers of the chain, the output last. `states` are those of EP's phases (0 is
    the first), `sums` recurrent backpropagation's terms summed up, both from the
    start on, `[step, unit]`; `adjoint` is λ by a linear solve. `courses` are gradients
    by either phase as far as it has come, `[step, parameter]`, `gradients` those of the
    references. `traced` counts the programs that each one's steps needed;
    `measured` are the black box's gradient by EP, and what recurrent backpropagation
    says to it."""

    states: dict[float, list[np.ndarray]]
    sums: list[np.ndarray]
    adjoint: list[np.ndarray]
    courses: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]
    traced: dict[str, int]
    measured: tuple[np.ndarray, str]

    def errors(self, gradient: np.ndarray) -> np.ndarray:
        """Relative distance from the implicit gradient."""
        exact = self.gradients["implicit"]
        return norm(gradient - exact, axis=-1) / norm(exact)

    def distance(self, beta: float) -> float:
        """Of (s^β − s⁰)/β from −λ, relative."""
        pairs = zip(self.states[beta], self.adjoint, strict=True)
        wrong = [(s[-1] - s[0]) / beta + a for s, a in pairs]
        return norm(np.concatenate(wrong)) / norm(np.concatenate(self.adjoint))


norm = np.linalg.norm


def row(gradient, shape=()) -> np.ndarray:
    leaves = [np.reshape(a, (*shape, -1)) for a in jax.tree.leaves(gradient)]
    return np.concatenate(leaves, axis=-1)


def problem() -> tuple[ep.Model, jax.Array, jax.Array]:
    energy = ep.nets.mlp(
        [4, 6, 5, 3], key=jax.random.key(14), init=ep.FanInUniform(0.8)
    )
    rng = np.random.default_rng(14)
    energy = jax.tree.map(
        lambda a: jnp.asarray(rng.normal(0.3, 0.2, a.shape)) if a.ndim == 1 else a,
        energy,
    )
    x, y = jnp.asarray([[0.9, 0.1, 0.6, 0.4]]), jnp.asarray([[1.5, -1.0, 1.0]])
    return ep.Model(energy, ep.SquaredError()), x, y


def follow(model: ep.Model, x, y, free):
    """Both second phases from the equilibrium on, and the gradient of every step."""
    landscape, traced = ep.Landscape(model, x), {"EP": 0, "RBP": 0}

    # One program: the free phase's β is 0.
    @jax.jit
    def step(state, beta):
        traced["EP"] += 1
        return STEP.step(landscape.nudge(y, beta), state, None)[0]

    @jax.jit
    def back(term):
        traced["RBP"] += 1
        _, pull = jax.vjp(lambda state: STEP.step(landscape, state, None)[0], free)
        return pull(term)[0]

    states = {}
    for beta in (0.0, *BETAS):
        seen = [free if beta else landscape.init()]
        for _ in range(STEPS):
            seen.append(step(seen[-1], beta))
        states[beta] = jax.tree.map(lambda *s: np.stack(s), *seen)
    cost = jax.grad(lambda state: jnp.sum(landscape.cost(state, y)))(free)
    term, sums = cost, [jax.tree.map(np.zeros_like, cost)]
    for _ in range(STEPS):
        sums.append(jax.tree.map(lambda s, d: s + STEP_SIZE * d, sums[-1], term))
        term = back(term)
    return states, jax.tree.map(lambda *s: np.stack(s), *sums), traced


@eqx.filter_jit
def gradients_on_the_way(model: ep.Model, x, y, states, sums):
    """Of EP the contrast of every state with the first; of recurrent backpropagation
    (∂f/∂θ)ᵀ times the sum of terms."""
    landscape, beta = ep.Landscape(model, x), BETAS[-1]
    free = jax.tree.map(lambda s: s[0], states)

    def contrast(state):
        nudged = ep.Phase(landscape.nudge(y, beta), state, 1 / beta)
        return ep.contrast_grad([ep.Phase(landscape, free, -1 / beta), nudged])

    _, pull = eqx.filter_vjp(
        lambda model: STEP.step(ep.Landscape(model, x), free, None)[0], model
    )
    terms = jax.tree.map(lambda s: s / STEP_SIZE, sums)
    return jax.vmap(contrast)(states), jax.vmap(lambda s: pull(s)[0])(terms)


METHODS = {
    "RBP": ep.RecurrentBackprop(ep.Euler(STEP_SIZE), max_steps=STEPS),
    "implicit": ep.ImplicitDifferentiation(SETTLING),
}


@eqx.filter_jit
def run(method: ep.AbstractEstimator, model: ep.Model, x, y, free):
    return method.value_and_grad(model, x, y, state0=free)


@jax.custom_vjp
def black_box(weight, state, x):
    """−hᵀWo − (x + ½)·h of two layers, as a device of which forces are measured."""
    h, o = state
    return -h @ weight @ o - (x + 0.5) @ h


def slopes(weight, state, x):
    """Its slopes in the weights and both layers, in NumPy."""
    h, o = state
    return -np.outer(h, o), (-weight @ o - x - 0.5, -h @ weight)


def by_measuring(saved, scale):
    # JAX can't look inside, and so not differentiate a slope once more.
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), saved[:2])
    found = jax.pure_callback(slopes, shapes, *saved, vmap_method="sequential")
    return *jax.tree.map(lambda a: scale * a, found), jnp.zeros_like(saved[2])


black_box.defvjp(lambda *parts: (black_box(*parts), parts), by_measuring)


def black_box_model(weight: np.ndarray) -> ep.Model:
    energy = ep.FunctionEnergy(
        black_box,
        jnp.asarray(weight),
        init=lambda x: (jnp.zeros(3), jnp.zeros(2)),
        output=lambda state: state[1],
        units=(ep.HardSigmoid(), ep.Linear()),
    )
    return ep.Model(energy, ep.SquaredError())


WEIGHT = np.asarray([[0.4, -0.3], [0.2, 0.5], [-0.6, 0.1]])
X, Y = np.asarray([[0.3, -0.2, 0.1]]), np.asarray([[1.0, 0.0]])


def train_the_black_box() -> tuple[np.ndarray, str]:
    """What EP finds for it, and what recurrent backpropagation says to it."""
    model, x, y = black_box_model(WEIGHT), jnp.asarray(X), jnp.asarray(Y)
    solver = ep.Euler(0.5, max_steps=150, certify=1e-9)
    method = ep.EquilibriumProp(ep.Centered(1e-4), solver)
    found = run(method, model, x, y, None)[1]
    try:
        run(ep.RecurrentBackprop(solver), model, x, y, None)
    except ValueError as error:
        refusal = str(error)
    return row(found), refusal


def layers(tree) -> list[np.ndarray]:
    """Of one example."""
    return [np.asarray(s)[..., 0, :] for s in tree]


def measure() -> Found:
    model, x, y = problem()
    free = ep.relax(ep.Landscape(model, x), SETTLING).state
    states, sums, traced = follow(model, x, y, free)
    ways = gradients_on_the_way(model, x, y, states[BETAS[-1]], sums)
    found = {name: run(m, model, x, y, free) for name, m in METHODS.items()}
    return Found(
        {beta: layers(seen) for beta, seen in states.items()},
        layers(sums),
        layers(found["implicit"][0].nudged[0].state),
        {n: row(way, (STEPS + 1,)) for n, way in zip(traced, ways, strict=True)},
        {name: row(gradient) for name, (_, gradient) in found.items()},
        traced,
        train_the_black_box(),
    )


def draw(found: Found, path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    beta = BETAS[-1]
    shown, some = slice(0, 200), slice(0, 200, 20)
    time = STEP_SIZE * np.arange(STEPS + 1)
    for k, name in enumerate(("hidden 1", "hidden 2", "output")):
        s, adjoint = found.states[beta][k], found.sums[k]
        most = np.abs(adjoint[-1]).argmax()
        color = f"C{2 - k}"
        signal = -(s - s[0])[:, most] / beta
        axes[0].plot(time[shown], signal[shown], color=color, label=name)
        axes[0].plot(time[some], adjoint[some, most], "o", color=color, mfc="none")
    axes[0].plot([], [], "k", label="EP: (s⁰ − s)/β")
    axes[0].plot([], [], "ko", mfc="none", label="RBP: sum of terms")
    axes[0].set(xlabel="time (time constants)", title="error signal, a unit a layer")
    axes[0].legend(frameon=False, fontsize=8, loc=(0.4, 0.4))
    axes[1].axhspan(0, 1, color="0.9", lw=0)
    for k in range(2):
        states, sums = found.states[BETAS[0]][k], found.sums[k]
        axes[1].plot(time[shown], states[shown], "C0", lw=1)
        axes[1].plot(time[shown], sums[shown], "C3--", lw=1)
    axes[1].plot([], [], "C0", lw=1, label=f"EP: states, β = {BETAS[0]:g}")
    axes[1].plot([], [], "C3--", lw=1, label="RBP: sums of terms")
    axes[1].set(xlabel="time (time constants)", title="what every hidden unit holds")
    axes[1].legend(frameon=False, fontsize=8, loc=(0.42, 0.74))
    for (name, course), style in zip(found.courses.items(), ("C0", "C3o"), strict=True):
        every = slice(0, 350, 1 if name == "EP" else 20)
        label = f"EP, β = {beta:g}" if name == "EP" else "RBP"
        error = found.errors(course)[every]
        axes[2].semilogy(time[every], error, style, mfc="none", label=label)
    axes[2].set(xlabel="time (time constants)", title="error of the gradient")
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for name, course in found.courses.items():
        error = found.errors(course[-1])
        print(f"{name}: relative error of the gradient {error:.1e}")
    for beta in BETAS:
        print(f"(s^β − s⁰)/β from −λ at β = {beta:g}: {found.distance(beta):.1e}")
    for name, count in found.traced.items():
        print(f"{name}: programs for its steps: {count}")
    print("RBP of a black box:", found.measured[1])


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "recurrent_backprop.png")
