"""The matrix products that a training step can't do without, counted by hand."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from typing import Literal

from ._cases import Case


@dataclasses.dataclass(frozen=True)
class Product:
    """A matrix product `[rows, inner] @ [inner, columns]`.

    **Attributes:**

    - `layout`: how the two factors lie in memory: `nn` as written, `nt` with the second
        transposed, `tn` with the first transposed.
    """

    rows: int
    inner: int
    columns: int
    layout: Literal["nn", "nt", "tn"]

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return 2 * self.rows * self.inner * self.columns

    @property
    def shapes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Shapes of the two factors as they lie in memory."""
        m, k, n = self.rows, self.inner, self.columns
        first = (k, m) if self.layout == "tn" else (m, k)
        second = (n, k) if self.layout == "nt" else (k, n)
        return first, second


def products_of(case: Case) -> Counter[Product]:
    """The matrix products of one training step, and how often each is done.

    The clamped input meets its weights once for all phases. In each step of a
    relaxation each inner weight is used both ways: all the phases with a nudge are one
    batch. The update of a weight is one product: at the input
    $x^\\top(s^+ - s^-)$, elsewhere over the examples of both contrasted phases. A
    first step from rest, whose states are zeros, is counted as any other.
    """
    found: Counter[Product] = Counter()
    sizes, batch = case.sizes, case.batch
    phases = (
        (batch, case.free_steps),
        (batch * len(case.signs), case.nudged_steps),
    )
    for a, b in case.edges:
        m, n = sizes[a], sizes[b]
        if a == 0:
            found[Product(batch, m, n, "nn")] += 1
            found[Product(m, batch, n, "tn")] += 1
            continue
        for rows, steps in phases:
            found[Product(rows, m, n, "nn")] += steps
            found[Product(rows, n, m, "nt")] += steps
        found[Product(m, 2 * batch, n, "tn")] += 1
    return found


def count_flops(products: Mapping[Product, int]) -> int:
    """Multiplications and additions of all products."""
    return sum(product.flops * count for product, count in products.items())


def equivalents(case: Case) -> float:
    """Matrix-product equivalents of one training step.

    One equivalent is one pass of the batch over all the network's weights:
    2 · batch · weights operations.
    """
    return count_flops(products_of(case)) / (2 * case.batch * case.weights)


def relaxation_equivalents(case: Case, steps: int | float) -> float:
    """Matrix-product equivalents of one relaxation: the input's product once, every
    inner weight both ways in each of its steps."""
    inner = sum(case.sizes[a] * case.sizes[b] for a, b in case.edges if a > 0)
    return (case.weights - inner + 2 * steps * inner) / case.weights
