"""The objective's gradient: the contrast over β tends to it as β tends to 0.

    python examples/claims/objective_gradient.py docs/claims/objective_gradient.png

Measures the gradient of the cost at equilibrium by finite differences, settling the
network again for every parameter, and the error of Equilibrium Propagation against it
for a range of β (theorem 1). Needs matplotlib.
"""

import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import eqprop as ep


BETAS = tuple(float(beta) for beta in np.geomspace(1e-3, 0.5, 10))
RULES = {"one-sided": ep.OneSided, "centered": ep.Centered}
SOLVER = ep.BlockCoordinate(max_steps=500, stop=ep.Tolerance(1e-15), certify=1e-12)


class Found(NamedTuple):
    """Of one network: the gradient of every rule for every β, `[beta, parameter]`, the
    exact one, and for every β whether some unit changes its saturation."""

    gradients: dict[str, np.ndarray]
    exact: np.ndarray
    changes: np.ndarray

    def errors(self, rule: str) -> np.ndarray:
        """Relative errors, one for each β."""
        gap = np.linalg.norm(self.gradients[rule] - self.exact, axis=1)
        return gap / np.linalg.norm(self.exact)

    def slope(self, rule: str) -> float:
        """The order in β, where no unit changes its saturation and β is small."""
        kept = ~self.changes & (np.asarray(BETAS) < 0.1)
        logs = np.log(BETAS)[kept], np.log(self.errors(rule))[kept]
        return float(np.polyfit(*logs, 1)[0])


def networks() -> dict[str, ep.Model]:
    """Of the paper's kind, with units at their walls and inside; and a smooth one."""
    units = {"hard sigmoid": ep.HardSigmoid(), "tanh": ep.Tanh()}
    return {
        name: ep.Model(
            with_biases(ep.nets.mlp([4, 8, 3], key=jax.random.key(0), unit=unit)),
            ep.SquaredError(),
        )
        for name, unit in units.items()
    }


def with_biases(energy: ep.Network) -> ep.Network:
    """Random biases, so that the units differ in how far they are from their walls."""
    rng = np.random.default_rng(6)
    return jax.tree.map(
        lambda a: jnp.asarray(rng.normal(0.3, 0.4, a.shape)) if a.ndim == 1 else a,
        energy,
    )


def row(gradient: ep.Model) -> np.ndarray:
    """All entries of a gradient."""
    return np.concatenate([np.ravel(a) for a in jax.tree.leaves(gradient)])


@eqx.filter_jit
def estimate(method: ep.EquilibriumProp, model: ep.Model, x, y):
    """The gradient, and the share of units whose saturation changes in any phase."""
    outcome, gradient = method.value_and_grad(model, x, y)
    landscape, free = ep.Landscape(model, x), outcome.free.state
    shares = [
        ep.diagnostics.changed_share(landscape, free, phase.state)
        for phase in outcome.nudged
    ]
    return gradient, jnp.max(jnp.stack(shares))


def compare(model: ep.Model) -> Found:
    """Every rule against finite differences, which settle the network again for each
    parameter, a little up and a little down."""
    x = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 4)))
    y = jnp.asarray(np.eye(3)[[0, 1, 2, 0]])
    exact, _ = ep.diagnostics.finite_difference(model, x, y, SOLVER, entries=1000)
    gradients = {name: [] for name in RULES}
    changes = np.zeros(len(BETAS), bool)
    for name, rule in RULES.items():
        for k, beta in enumerate(BETAS):
            method = ep.EquilibriumProp(rule(beta), SOLVER)
            gradient, share = estimate(method, model, x, y)
            gradients[name].append(row(gradient))
            changes[k] |= bool(share > 0)
    return Found(
        {name: np.stack(rows) for name, rows in gradients.items()}, row(exact), changes
    )


def measure() -> dict[str, Found]:
    return {name: compare(model) for name, model in networks().items()}


def draw(found: dict[str, Found], path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    betas = np.asarray(BETAS)
    for axis, (name, case) in zip(axes, found.items(), strict=False):
        for rule, style, order in zip(RULES, ("C0o-", "C1s--"), (1, 2), strict=True):
            errors = case.errors(rule)
            axis.loglog(betas, errors, style, ms=5, label=rule)
            guide = 2.5 * errors[0] * (betas / betas[0]) ** order
            axis.loglog(betas, guide, ":", color="0.5")
            axis.text(betas[2], 1.5 * guide[2], f"slope {order}", ha="right")
        if case.changes.any():
            # Between the last β that is safe and the first that is not.
            first = int(np.argmax(case.changes))
            wall = np.sqrt(betas[first - 1] * betas[first])
            axis.axvspan(wall, betas[-1], color="0.9", lw=0)
            axis.text(1.1 * wall, 1.5e-6, "units reach\nor leave walls")
        axis.set(xlabel="β", title=f"relative error, {name} units")
        axis.legend(frameon=False, loc="lower right" if axis is axes[1] else None)
    case = found["hard sigmoid"]
    ends = [case.exact.min(), case.exact.max()]
    axes[2].plot(ends, ends, color="0.7", lw=1)
    axes[2].plot(case.exact, case.gradients["centered"][0], "o", ms=5, mfc="none")
    axes[2].set(xlabel="dJ/dθ by finite differences", ylabel="EP", aspect="equal")
    axes[2].set_title(f"each parameter, centered, β = {BETAS[0]:g}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for name, case in found.items():
        for rule in RULES:
            error, slope = case.errors(rule)[0], case.slope(rule)
            print(
                f"{name} units, {rule}: error {error:.1e} at β = {BETAS[0]:g}, ", end=""
            )
            print(f"slope {slope:.3f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "objective_gradient.png")
