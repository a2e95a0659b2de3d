"""Networks that the command trains for itself, to measure how they settle."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax

from ...data import digits, mnist, Splits
from ...energies import Model, nets, SquaredError
from ...learning import Centered, EquilibriumProp
from ...relaxation import BlockCoordinate
from ...training import Adam, evaluate, fit


# Sweeps of the free and of the nudged phase and ω, enough for each number of hidden
# layers to be trained at.
_RECIPES = {1: (8, 4, 1.2), 2: (14, 8, 1.3), 3: (20, 10, 1.5)}
_BATCH = 128


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network in training, and the data that it learns.

    **Attributes:**

    - `stage`: `early`, after a quarter of an epoch, or `late`.
    - `epochs`: how long it was trained.
    - `test_error`: percent.
    """

    sizes: tuple[int, ...]
    stage: str
    epochs: float
    model: Model
    splits: Splits
    test_error: float


def open_data(data_dir: Path | None) -> Splits:
    """MNIST in a folder, or without one the digits that come with eqprop."""
    return digits() if data_dir is None else mnist(data_dir)


def trained_nets(
    splits: Splits,
    hidden: Sequence[tuple[int, ...]],
    epochs: int,
    note: Callable[[str], None],
) -> Iterator[Trained]:
    """Each network early and late in training, one after the other.

    **Arguments:**

    - `hidden`: the hidden layers of each.
    - `epochs`: when it is late.
    """
    quarter = dataclasses.replace(splits, train=splits.train[: len(splits.train) // 4])
    for widths in hidden:
        sizes = (splits.train.x.shape[1], *widths, splits.train.y.shape[1])
        free, nudged, factor = _RECIPES[len(widths)]
        method = EquilibriumProp(
            Centered(0.2),
            BlockCoordinate(relaxation=factor, max_steps=free),
            BlockCoordinate(relaxation=factor, max_steps=nudged),
        )
        model = Model(nets.mlp(list(sizes), key=jax.random.key(0)), SquaredError())
        for stage, part, count in (("early", quarter, 1), ("late", splits, epochs)):
            shown = "-".join(map(str, sizes))
            note(f"sweeps: training {shown} on {splits.name}, {stage}")
            only = Splits(part.train, None, None, splits.name)
            run = fit(
                model, only, method, Adam(1e-3), epochs=count, batch_size=_BATCH, seed=0
            )
            assert splits.test is not None
            error = evaluate(run.model, splits.test, method.solver)["error"]
            share = 0.25 if stage == "early" else float(count)
            yield Trained(sizes, stage, share, run.model, splits, error)
