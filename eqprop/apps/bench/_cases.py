"""The training steps that are timed, as plain descriptions. Knows no JAX."""

import dataclasses
import math
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Case:
    """One training step: a network, a batch, and how its two phases settle.

    Layer 0 is the clamped input. The cost is `SquaredError`, the update plain SGD.

    **Attributes:**

    - `sizes`: units of the input, the hidden layers and the output.
    - `batch`: examples in a batch.
    - `solver`: `euler` moves all layers at once by a step of `factor`, `blocks` sweeps
        them block by block with `factor` for its ω.
    - `free_steps`, `nudged_steps`: of each phase.
    - `beta`: β > 0 of the nudged phase.
    - `centered`: nudged by β and −β, in place of free and β.
    - `hard_output`: the output is clipped to [0, 1], as hidden layers are; else linear.
    - `persistent`: a free phase starts where that of the same examples ended.
    - `skips`: couplings besides those of the chain, as pairs of layers (lower, upper).
    - `energy`: a `network`, or a user's own `function`: of the same energy, or `tanh`,
        which couples layers through tanh of their potentials, without walls.
    """

    sizes: tuple[int, ...]
    batch: int
    solver: Literal["euler", "blocks"]
    factor: float
    free_steps: int
    nudged_steps: int
    beta: float
    centered: bool
    hard_output: bool = False
    persistent: bool = False
    skips: tuple[tuple[int, int], ...] = ()
    energy: Literal["network", "function", "tanh"] = "network"

    @property
    def name(self) -> str:
        """What the case is called in tables."""
        sizes = "-".join(map(str, self.sizes))
        skips = "".join(f" +{a}→{b}" for a, b in self.skips)
        kind = {"network": "", "function": " function", "tanh": " tanh function"}
        signs = "2·" if self.centered else ""
        step = "Euler" if self.solver == "euler" else "sweeps"
        return (
            f"{sizes}{skips}{kind[self.energy]}, batch {self.batch}, "
            f"{self.free_steps}+{signs}{self.nudged_steps} {step}"
        )

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The pairs of layers (lower, upper) that are coupled."""
        chain = tuple((k, k + 1) for k in range(len(self.sizes) - 1))
        return chain + self.skips

    @property
    def signs(self) -> tuple[float, ...]:
        """The sign of β in each nudged phase."""
        return (1.0, -1.0) if self.centered else (1.0,)

    @property
    def weights(self) -> int:
        """The number of weights, without biases."""
        return sum(self.sizes[a] * self.sizes[b] for a, b in self.edges)

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.weights + sum(self.sizes[1:])

    @property
    def units(self) -> int:
        """The number of units whose state is free, of one example."""
        return sum(self.sizes[1:])

    def clipped(self, layer: int) -> bool:
        """Whether a layer's states are clipped to [0, 1]."""
        if self.energy == "tanh":
            return False
        return self.hard_output or layer < len(self.sizes) - 1

    def curved(self, layer: int) -> bool:
        """Whether a layer acts on others through tanh of its state."""
        return self.energy == "tanh" and 0 < layer < len(self.sizes) - 1


def paper(*hidden: int, batch: int) -> Case:
    """The recipe of Scellier & Bengio 2017: 20 free and 4 nudged Euler steps."""
    return Case(
        sizes=(784, *hidden, 10),
        batch=batch,
        solver="euler",
        factor=0.5,
        free_steps=20,
        nudged_steps=4,
        beta=1.0,
        centered=False,
        hard_output=True,
        persistent=True,
    )


def house(*hidden: int, batch: int, inputs: int = 784) -> Case:
    """The house recipe: over-relaxed block sweeps, nudged both ways, linear outputs."""
    return Case(
        sizes=(inputs, *hidden, 10),
        batch=batch,
        solver="blocks",
        factor=1.2,
        free_steps=15,
        nudged_steps=8,
        beta=0.2,
        centered=True,
    )


def full_cases() -> tuple[Case, ...]:
    """The cases of a full run; the first two are those that targets are set for."""
    replace = dataclasses.replace
    blocks = house(512, 512, batch=64)
    return (
        paper(500, batch=20),
        blocks,
        house(128, batch=1),
        house(128, batch=20),
        house(512, batch=64),
        house(512, batch=512),
        house(2048, batch=20),
        house(2048, batch=512),
        house(128, 128, batch=20),
        house(512, 512, batch=1),
        house(512, 512, batch=512),
        house(1024, 1024, batch=16),
        house(2048, 2048, batch=64),
        house(128, 128, 128, batch=64),
        house(512, 512, 512, batch=20),
        house(512, 512, 512, batch=512),
        house(2048, 2048, 2048, batch=20),
        replace(blocks, skips=((0, 2), (1, 3))),
        replace(house(512, batch=64), energy="function"),
        replace(paper(512, batch=64), energy="tanh", persistent=False),
    )


def quick_cases() -> tuple[Case, ...]:
    """Two small cases, to see that all is in order."""
    small = paper(32, batch=20)
    return (
        dataclasses.replace(small, sizes=(64, 32, 10)),
        house(32, 32, batch=8, inputs=64),
    )


def batches_for(flops: int, seconds: float) -> int:
    """How many batches take about `seconds`, at a rate that most machines have."""
    return max(2, min(300, math.ceil(seconds * 5e10 / flops)))
