"""What a nudge can move, of the training examples that a run still gets wrong.

    python benchmarks/nudge_reach.py RUN --beta 0.5 -0.5 2

An output of hard-sigmoid units at its wall moves only once the nudge outweighs the
drive beyond it. Settles every training example from rest and, for those whose largest
output is another than the target's, says how many have the target's output at 0, and
for each β at how many it stays there, and how many no output of which moves.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import eqprop as ep
from eqprop.training import build, RunDirectory


_BATCH = 500
_MOVED = 1e-3  # the residual that a state is certified to


class Reach(NamedTuple):
    """Counts of examples: all, the wrong ones, those of them with the target's output
    at 0; and for each β those where it stays there, and those where nothing moves."""

    examples: int
    wrong: int
    at_wall: int
    stays: list[int]
    unmoved: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description="What a nudge can move.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--beta", type=float, nargs="+", default=[0.5, -0.5, 2.0])
    options = parser.parse_args()
    model = ep.load(options.run)
    recipe = build(RunDirectory.open(options.run).read_config())
    found = reach(model, recipe.data().train, options.beta)
    print(f"wrong                       {found.wrong} of {found.examples}")
    print(f"target's output at 0        {found.at_wall}")
    for beta, stays, unmoved in zip(
        options.beta, found.stays, found.unmoved, strict=True
    ):
        print(f"β = {beta:+g}: stays at 0 in {stays}; no output moves in {unmoved}")


def reach(model: ep.Model, data: ep.data.Dataset, betas: list[float]) -> Reach:
    solver = ep.BlockCoordinate(
        relaxation=1.0, stop=ep.Tolerance(atol=_MOVED / 2, rtol=0.0), max_steps=500
    )

    @eqx.filter_jit
    def outputs(x, y):
        landscape = ep.Landscape(model, x)
        free = ep.relax(landscape, solver, throw=False).state
        nudged = [
            ep.relax(landscape.nudge(y, beta), solver, free, throw=False).state
            for beta in betas
        ]
        read = jax.vmap(model.energy.output)
        return jnp.stack([read(state) for state in (free, *nudged)])

    parts = [
        np.asarray(outputs(data.x[k : k + _BATCH], data.y[k : k + _BATCH]))
        for k in range(0, len(data), _BATCH)
    ]
    free, *nudged = np.concatenate(parts, axis=1)
    target = np.argmax(data.y, axis=1)
    wrong = np.flatnonzero(free.argmax(axis=1) != target)
    rows = (wrong, target[wrong])
    at_wall = free[rows] < _MOVED
    return Reach(
        examples=len(data),
        wrong=len(wrong),
        at_wall=int(at_wall.sum()),
        stays=[int((at_wall & (o[rows] < _MOVED)).sum()) for o in nudged],
        unmoved=[
            int((np.abs(o - free)[wrong].max(axis=1) < _MOVED).sum()) for o in nudged
        ],
    )


if __name__ == "__main__":
    main()
