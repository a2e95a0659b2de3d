"""Free phases that start where a feedforward network predicts, beside those at rest.

    python benchmarks/predicted_start.py [--data-dir DIR] [--epochs N]

Nets of one, two and three hidden layers, 512 wide (64 on the bundled digits without
DIR), are trained from rest with the sweeps of the MNIST presets, by Initialized EP with
as many, and by Initialized EP with fewer in the free phase. Prints two tables in
Markdown. What training takes and what comes of it: the median epoch's time as a ratio
to that from rest, one run after the other in one process. And the sweeps that the
examples of the test set need to a residual of 1e-3 in the same trained energy, from
rest and from the prediction, each with the best of ω = 1, 1.1, …, 1.7.
"""

import argparse
import statistics
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

import eqprop as ep


BATCH = 256
FACTORS = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7)


class Plan(NamedTuple):
    """Sweeps of the free and the nudged phase, and those of a predicted free phase."""

    free: int
    nudged: int
    fewer: int
    batch_size: int
    rate: float


PLANS = (
    Plan(5, 4, 3, 64, 1e-3),
    Plan(10, 6, 6, 128, 1e-3),
    Plan(14, 8, 9, 128, 5e-4),
)


def trained(data, sizes, plan: Plan, free: int, epochs: int, *, predicted: bool):
    method = ep.EquilibriumProp(
        ep.Centered(0.2),
        ep.BlockCoordinate(max_steps=free),
        ep.BlockCoordinate(max_steps=plan.nudged),
    )
    make = ep.nets.initialized_mlp if predicted else ep.nets.mlp
    return ep.fit(
        ep.Model(make(sizes, key=jax.random.key(0)), ep.SquaredError()),
        data,
        ep.InitializedEP(method) if predicted else method,
        ep.Adam(plan.rate, schedule=ep.Cosine()),
        epochs=epochs,
        batch_size=min(plan.batch_size, len(data.train) // 8),
        seed=0,
    )


def error_before(model: ep.Model, test) -> float:
    """Percent of wrong answers of the prediction itself."""
    scape = ep.Landscape(model, test.x)
    answers = np.asarray(scape.output(scape.init())).argmax(axis=1)
    return 100 * float(np.mean(answers != np.asarray(test.labels)))


def sweeps(energy, test, state0) -> tuple[float, float, float]:
    """Of the sweeps to 1e-3 the median and the 90 % point over the examples, and the
    mean over batches of the slowest; each with the ω that is best for it."""
    size = min(BATCH, len(test))
    count = len(test) // size * size
    x, start = jax.tree.map(lambda a: a[:count], (test.x, state0))
    stop = ep.Tolerance(1e-3)
    found = []
    for factor in FACTORS:
        solver = ep.BlockCoordinate(factor, max_steps=200, stop=stop)
        taken = ep.relax(ep.Landscape(energy, x), solver, start, throw=False).num_steps
        each = np.asarray(taken)
        slowest = each.reshape(-1, size).max(axis=1).mean()
        found.append((np.median(each), np.quantile(each, 0.9), slowest))
    return tuple(float(best) for best in np.min(found, axis=0))


def training_row(
    sizes, plan: Plan, free: int, run: ep.training.Run, ratio: float, test
) -> str:
    predicted = isinstance(run.model.energy, ep.Initialized)
    solver = ep.BlockCoordinate(max_steps=100, stop=ep.Tolerance(1e-3))
    cells = (
        "-".join(map(str, sizes)),
        "predicted" if predicted else "rest",
        f"{free} + 2·{plan.nudged}",
        f"{ratio:.2f}",
        f"{100 * run.metrics[-1]['converged']:.1f} %",
        f"{ep.evaluate(run.model, test, solver)['error']:.2f} %",
        f"{error_before(run.model, test):.2f} %" if predicted else "",
    )
    return f"| {' | '.join(cells)} |"


def settling_row(sizes, energy: ep.Initialized, test) -> str:
    rest, ahead = (
        sweeps(energy.energy, test, jax.vmap(one.init)(test.x))
        for one in (energy.energy, energy)
    )
    cells = [f"{a:.0f} → {b:.0f}" for a, b in zip(rest, ahead, strict=True)]
    return f"| {'-'.join(map(str, sizes))} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    if given.data_dir is None:
        data, width = ep.data.digits(), 64
    else:
        data, width = ep.data.mnist(folder=given.data_dir), 512
    print("| net | start | sweeps | time | certified | error | before a sweep |")
    print("|---|---|---|---|---|---|---|")
    settling = []
    for hidden, plan in enumerate(PLANS, start=1):
        sizes = [data.train.x.shape[1], *[width] * hidden, 10]
        seconds = []
        for start, free in (
            ("rest", plan.free),
            ("predicted", plan.free),
            ("predicted", plan.fewer),
        ):
            predicted = start == "predicted"
            run = trained(data, sizes, plan, free, given.epochs, predicted=predicted)
            seconds.append(statistics.median(row["seconds"] for row in run.metrics))
            ratio = seconds[-1] / seconds[0]
            print(training_row(sizes, plan, free, run, ratio, data.test), flush=True)
            if predicted and free == plan.free:
                settling.append(settling_row(sizes, run.model.energy, data.test))
    print("\n| sweeps: rest → predicted | median | 90 % | slowest of 256 |")
    print("|---|---|---|---|")
    print(*settling, sep="\n")


if __name__ == "__main__":
    main()
