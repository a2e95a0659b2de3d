"""The cost falls with the nudge: along a branch of minima, C(s^β) never rises with β.

    python examples/claims/cost_decreases_with_beta.py \
        docs/claims/cost_decreases_with_beta.png

Settles networks of random weights under a range of nudges, negative ones included, and
compares the cost's slope at β = 0 with −∂Cᵀ J⁻¹ ∂C (proposition 2), and the slope of
the settled energy with the cost (the envelope theorem). Needs matplotlib.
"""

import sys
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from jax.flatten_util import ravel_pytree

import eqprop as ep


BETAS = np.linspace(-0.4, 2.0, 25)
EXAMPLES = 6
STEP = 1e-4
SOLVER = ep.BlockCoordinate(max_steps=2000, stop=ep.Tolerance(1e-14), certify=1e-11)


class Found(NamedTuple):
    """For every β and example the cost and the energy F of the nudged state, the slope
    of F in β by central differences, and the smallest curvature of F; for every example
    the cost's slope at β = 0, by central differences and by the formula."""

    cost: np.ndarray
    energy: np.ndarray
    energy_slope: np.ndarray
    curvature: np.ndarray
    cost_slope: np.ndarray
    formula: np.ndarray


def problem(unit: ep.AbstractUnit) -> tuple[ep.Landscape, jax.Array]:
    energy = ep.nets.mlp(
        [4, 6, 3], key=jax.random.key(0), unit=unit, init=ep.FanInUniform(0.9)
    )
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.uniform(-1.0, 1.0, (EXAMPLES, 4)))
    y = jnp.asarray(rng.normal(size=(EXAMPLES, 3)))
    return ep.Landscape(ep.Model(energy, ep.SquaredError()), x), y


@eqx.filter_jit
def settle(landscape: ep.Landscape, y, start, betas):
    """Every example at every β, all at once: F, C and the smallest curvature."""

    def repeated(a):
        return jnp.repeat(a, len(betas), axis=0)

    nudged = ep.Landscape(landscape.model, repeated(landscape.x)).nudge(
        repeated(y), jnp.tile(betas, EXAMPLES)
    )
    state = ep.relax(nudged, SOLVER, jax.tree.map(repeated, start)).state
    bend = ep.diagnostics.curvature(nudged, state).smallest
    values = (nudged.energy(state), nudged.cost(state), bend)
    return [v.reshape(EXAMPLES, len(betas)).T for v in values]


@eqx.filter_jit
def by_formula(landscape: ep.Landscape, state, y) -> jax.Array:
    """−∂Cᵀ J⁻¹ ∂C at the free equilibrium of every example, J = ∂²E/∂s² on the units
    that are not at a wall."""
    energy, cost = landscape.model.energy, landscape.model.cost

    def one(x, state, y):
        flat, unravel = ravel_pytree(state)
        walls = [u.saturated(s) for u, s in zip(energy.units, state, strict=True)]
        free = ~jnp.concatenate(walls)
        J = jax.hessian(lambda s: energy(unravel(s), x))(flat)
        J = jnp.where(jnp.outer(free, free), J, jnp.eye(flat.size))
        dC = jax.grad(lambda s: cost(energy.output(unravel(s)), y))(flat)
        dC = jnp.where(free, dC, 0)
        return -dC @ jnp.linalg.solve(J, dC)

    return jax.vmap(one)(landscape.x, state, y)


def measure_units(unit: ep.AbstractUnit) -> Found:
    landscape, y = problem(unit)
    free = ep.relax(landscape, SOLVER).state
    betas = np.concatenate([BETAS, BETAS + STEP, BETAS - STEP, [STEP, -STEP]])
    found = settle(landscape, y, free, jnp.asarray(betas))
    energy, cost, bend = map(np.asarray, found)
    n = len(BETAS)
    return Found(
        cost[:n],
        energy[:n],
        (energy[n : 2 * n] - energy[2 * n : 3 * n]) / (2 * STEP),
        bend[:n],
        (cost[-2] - cost[-1]) / (2 * STEP),
        np.asarray(by_formula(landscape, free, y)),
    )


def measure() -> dict[str, Found]:
    units = {"tanh": ep.Tanh(), "hard sigmoid": ep.HardSigmoid()}
    return {name: measure_units(unit) for name, unit in units.items()}


def draw(found: dict[str, Found], path: str) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(11.5, 3.5), layout="constrained")
    for axis, (name, case) in zip(axes, found.items(), strict=False):
        axis.plot(BETAS, case.cost, color="0.4", lw=1)
        some = slice(0, None, 3)
        axis.plot(BETAS[some], case.energy_slope[some], "o", color="C0", mfc="none")
        near = np.linspace(-0.15, 0.15, 21)
        at_zero = case.cost[np.argmin(np.abs(BETAS))]
        axis.semilogy(near, at_zero + np.outer(near, case.formula), "C3--", lw=2)
        axis.plot([], [], color="0.4", lw=1, label="C(s^β)")
        axis.plot([], [], "o", color="C0", mfc="none", label="dF/dβ, settled")
        axis.plot([], [], "C3--", lw=2, label="slope −∂Cᵀ J⁻¹ ∂C")
        axis.axvline(0, color="0.8", lw=0.8, zorder=0)
        axis.set(xlabel="β", title=f"cost, {name} units")
    axes[0].legend(frameon=False)
    for mark, (name, case) in zip("o^", found.items(), strict=False):
        axes[2].plot(case.formula, case.cost_slope, mark, ms=7, mfc="none", label=name)
    lowest = 1.1 * min(case.formula.min() for case in found.values())
    axes[2].plot([lowest, 0], [lowest, 0], color="0.7", lw=1, zorder=0)
    axes[2].set(xlabel="−∂Cᵀ J⁻¹ ∂C", title="dC(s^β)/dβ at β = 0, each example")
    axes[2].legend(frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: str) -> None:
    jax.config.update("jax_enable_x64", True)
    found = measure()
    draw(found, path)
    for name, case in found.items():
        rise = np.diff(case.cost, axis=0).max()
        envelope = np.abs(case.energy_slope / case.cost - 1).max()
        formula = np.abs(case.cost_slope / case.formula - 1).max()
        print(f"{name} units: largest change of the cost between β {rise:.1e}")
        print(
            f"  dF/dβ is the cost to {envelope:.1e}, dC/dβ the formula to {formula:.1e}"
        )
        print(f"  smallest curvature of F on the way {case.curvature.min():.3f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cost_decreases_with_beta.png")
