import dataclasses
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from ...data import Dataset, Splits
from ...diagnostics import layer_names
from ...energies import Model
from ...learning import AbstractNudging, EquilibriumProp, InitializedEP
from ...relaxation import (
    AbstractSolver,
    BlockCoordinate,
    estimate_relaxation,
    Landscape,
    relax,
)


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is watched: a network, and the examples that it is shown.

    **Arguments:**

    - `model`: the network.
    - `x`, `y`: examples and their targets, each with a leading axis.
    - `title`: what the page calls it.
    - `solver`, `nudging`: what the page starts with; by default the first that suit.
    - `first`: the example that it starts with.
    """

    model: Model
    x: PyTree[Array]
    y: Array
    title: str = "network"
    solver: AbstractSolver | None = None
    nudging: AbstractNudging | None = None
    first: int = 0

    def __post_init__(self):
        Landscape(self.model, _rows(self.x, slice(0, 1))).check_targets(self.y[:1])
        if len({len(leaf) for leaf in jax.tree.leaves((self.x, self.y))}) > 1:
            raise ValueError(
                f"`y` holds {len(self.y)} targets, but `x` has shapes "
                f"{[a.shape for a in jax.tree.leaves(self.x)]}. Pass one target for "
                "each example."
            )

    def __len__(self) -> int:
        return len(self.y)

    def example(self, index: int) -> tuple[PyTree[Array], Array]:
        """Input and target of one example, as a batch of one."""
        rows = slice(index, index + 1)
        return _rows(self.x, rows), self.y[rows]

    @property
    def classes(self) -> int | None:
        """How many classes the targets tell apart; `None` if they aren't one-hot."""
        y = np.asarray(self.y)
        if y.ndim != 2 or y.shape[1] < 2:
            return None
        one_hot = np.all((y == 0) | (y == 1)) and np.all(y.sum(axis=1) == 1)
        return y.shape[1] if one_hot else None

    @property
    def picture(self) -> tuple[int, int] | None:
        """Rows and columns of an input that can be drawn: one array of numbers in
        [0, 1], square if it has one axis."""
        leaves = jax.tree.leaves(self.x)
        if len(leaves) != 1 or not np.all((leaves[0] >= 0) & (leaves[0] <= 1)):
            return None
        shape = tuple(n for n in leaves[0].shape[1:] if n > 1)
        if len(shape) == 2:
            return shape[0], shape[1]
        side = math.isqrt(shape[0]) if len(shape) == 1 else 0
        return (side, side) if side > 1 and side * side == shape[0] else None

    def drawn(self, pixels: np.ndarray) -> PyTree[Array]:
        """The input that a drawing of `picture` pixels in [0, 1] stands for."""
        leaves, treedef = jax.tree.flatten(self.x)
        image = jnp.asarray(pixels, leaves[0].dtype).reshape(1, *leaves[0].shape[1:])
        return jax.tree.unflatten(treedef, [image])

    def layer_names(self) -> list[str]:
        """A name for each leaf of the state."""
        landscape = Landscape(self.model, self.example(0)[0])
        return layer_names(self.model.energy, jax.eval_shape(landscape.init))


def of_arrays(model: Model, data: Any, title: str) -> Subject:
    """A network of one's own and its examples: of splits the test part, if any."""
    if isinstance(data, Splits):
        parts = (data.test, data.validation, data.train)
        data = next(part for part in parts if part is not None)
    if isinstance(data, Dataset):
        data = data.x, data.y
    if not isinstance(data, tuple) or len(data) != 2:
        raise TypeError(
            f"`data` is {type(data).__name__}, but must be examples with targets: "
            "`ep.data.digits()`, a part of it, or the pair `(x, y)`."
        )
    return Subject(model, data[0], jnp.asarray(data[1]), title)


def of_run(
    run: Path,
    *,
    checkpoint: str = "last",
    adapt: Callable[[dict[str, Any]], dict[str, Any]] = lambda table: table,
    title: str | None = None,
) -> Subject:
    """A trained run, with its own solver and nudging, and its test examples, of which
    the first is shown that the network gets wrong.

    **Arguments:**

    - `adapt`: changes the run's recipe before its data are read.

    **Raises:**

    - `ValueError`, `OSError`: there is no such run, or its data aren't here.
    """
    from ...training import build, load, RunDirectory

    model = load(run, checkpoint=checkpoint)
    recipe = build(adapt(RunDirectory.open(run).read_config()))
    own = recipe.method
    if isinstance(own, InitializedEP):
        own = own.method
    subject = of_arrays(model, recipe.data(), title or os.path.basename(run))
    some = Landscape(model, subject.x[:128])
    solver = own.free_solver()
    if isinstance(solver, BlockCoordinate) and solver.relaxation is None:
        # What is stepped by hand has one number, an ω that stays.
        solver = dataclasses.replace(solver, relaxation=estimate_relaxation(some))
    nudging = own.nudging if isinstance(own, EquilibriumProp) else None
    first = _first_mistake(some, solver, subject.y[:128])
    return dataclasses.replace(subject, solver=solver, nudging=nudging, first=first)


def bundled() -> Subject:
    """The digits network that comes with eqprop, trained by `eqprop train digits`."""
    run = Path(__file__).parent / "digits"
    return of_run(run, title="Handwritten digits, 64-128-10")


def _first_mistake(landscape: Landscape, solver: AbstractSolver, y: Array) -> int:
    """The first example whose largest output isn't its target's; 0 if there is none."""
    output = landscape.output(relax(landscape, solver, throw=False).state)
    if output.shape != y.shape:
        return 0
    return int(jnp.argmax(jnp.argmax(output, axis=-1) != jnp.argmax(y, axis=-1)))


def _rows(tree: PyTree[Array], rows: slice) -> PyTree[Array]:
    return jax.tree.map(lambda a: jnp.asarray(a)[rows], eqx.filter(tree, eqx.is_array))
