import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..energies import Model
from ..learning import (
    AbstractEstimator,
    ImplicitDifferentiation,
    Outcome,
    RecurrentBackprop,
)
from ..relaxation import Landscape
from ._compare import compare, Likeness
from ._saturation import changed_share


@dataclasses.dataclass(frozen=True)
class Bias:
    """How far a method is from a reference gradient, for each of several β.

    **Attributes:**

    - `betas`: the values of β; NaN for a method that has none.
    - `likeness`: for each β, the likeness of every parameter's gradient by name, and of
        `"all"`.
    - `changed`: for each β, the share of units whose saturation differs between the
        free and any other phase, the largest of all examples.
    - `settled`: for each β, the share of phases that were certified.
    - `order`: the slope of $\\ln$ error against $\\ln β$ where it can be measured: 1
        for an error O(β). `None` with fewer than two such points.
    """

    betas: tuple[float, ...]
    likeness: tuple[dict[str, Likeness], ...]
    changed: tuple[float, ...]
    settled: tuple[float, ...]
    order: float | None

    @property
    def errors(self) -> tuple[float, ...]:
        """The relative error of the whole gradient for each β."""
        return tuple(row["all"].error for row in self.likeness)

    @property
    def safe(self) -> float | None:
        """The largest β up to which no unit changed its saturation and all phases were
        certified; `None` if the smallest is too large already."""
        found = None
        for beta, changed, settled in sorted(
            zip(self.betas, self.changed, self.settled, strict=True)
        ):
            if changed > 0 or settled < 1:
                break
            found = beta
        return found


def measure_bias(
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    method: AbstractEstimator | Callable[[Any], AbstractEstimator],
    betas: Sequence[float],
    reference: Model,
    *,
    where: dict[str, Array] | None = None,
    floor: float = 1e-10,
) -> Bias:
    """Measures a method's bias against a reference gradient, and its order in β.

    **Arguments:**

    - `model`, `x`, `y`: the model and a batch, in float64 for orders above 1.
    - `method`: makes the estimator for a β, as in
        `lambda beta: ep.EquilibriumProp(ep.Centered(beta), solver)`. Its solvers must
        settle to many more digits than the bias. A method that has no β is passed
        itself, and measured once.
    - `betas`: positive values of β.
    - `reference`: the reference gradient, such as
        [`eqprop.ImplicitDifferentiation`][] gives.
    - `where`: entries to compare: see [`eqprop.diagnostics.compare`][].
    - `floor`: relative errors below floor/β are round-off, and don't count for the
        order. Nor do values of β past [`eqprop.diagnostics.Bias.safe`][].
    """
    if isinstance(method, AbstractEstimator):
        betas = (math.nan,)
    elif not all(beta > 0 for beta in betas):
        raise ValueError(
            f"`betas` must be positive, but is {list(betas)}. The order is measured in "
            "|β|: pass `[0.01, 0.1, 0.5]`."
        )
    rows, changed, settled = [], [], []
    for beta in betas:
        made = method if isinstance(method, AbstractEstimator) else method(beta)
        outcome, gradient = estimate(made, model, x, y)
        rows.append(compare(gradient, reference, where))
        changed.append(_most_changed(model, x, made, outcome))
        phases = (outcome.free, *outcome.nudged)
        settled.append(float(np.mean([np.asarray(p.converged) for p in phases])))
    found = Bias(tuple(betas), tuple(rows), tuple(changed), tuple(settled), None)
    return dataclasses.replace(found, order=_order(found, floor))


@eqx.filter_jit
def estimate(method, model, x, y) -> tuple[Outcome, Model]:
    # The key is for methods that draw; one for all, so that a check is repeatable.
    return method.value_and_grad(model, x, y, key=jax.random.key(0))


def _most_changed(
    model: Model, x: PyTree[Array], method: AbstractEstimator, outcome: Outcome
) -> float:
    if isinstance(method, ImplicitDifferentiation | RecurrentBackprop):
        # Their second phase is no state of the units.
        return 0.0
    landscape = Landscape(model, x)
    shares = [
        jnp.max(changed_share(landscape, outcome.free.state, phase.state))
        for phase in outcome.nudged
        # A complex state has left the real line, on which the walls are.
        if not any(jnp.iscomplexobj(s) for s in jax.tree.leaves(phase.state))
    ]
    return float(jnp.max(jnp.stack(shares))) if shares else 0.0


def _order(bias: Bias, floor: float) -> float | None:
    safe = bias.safe
    points = [
        (beta, error)
        for beta, error in zip(bias.betas, bias.errors, strict=True)
        if safe is not None
        and beta <= safe
        and np.isfinite(error)
        and error > floor / beta
    ]
    if len(points) < 2:
        return None
    betas, errors = np.log(np.asarray(points)).T
    return float(np.polyfit(betas, errors, 1)[0])
