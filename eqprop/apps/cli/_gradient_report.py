"""What `eqprop check-gradient` measures, and how it is told."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ...diagnostics import (
    Bias,
    check_gradient,
    descending_updates,
    DescendingUpdates,
    exacting_solver,
    finite_difference,
    GradientCheck,
    in_double,
)
from ...energies import Model
from ...learning import (
    AbstractEstimator,
    BackpropThroughTime,
    Centered,
    Clamped,
    Coupled,
    EquilibriumProp,
    Holomorphic,
    ImplicitDifferentiation,
    OneSided,
    RecurrentBackprop,
)
from ...relaxation import AbstractSolver, Landscape, relax


_REFERENCES = {
    "implicit": "implicit differentiation",
    "bptt": "backpropagation through time",
    "finite-difference": "finite differences",
}
_STEPS = 30


@dataclasses.dataclass(frozen=True)
class Report:
    """A gradient check, and how to print it."""

    check: GradientCheck
    updates: DescendingUpdates | None
    reference: str
    solver: str

    def rows(self) -> list[tuple[str, str]]:
        """The circumstances, as names and values."""
        free, bend = _as_numpy((self.check.outcome.free, self.check.curvature))
        residual, certified = np.max(free.residual), np.mean(free.converged)
        rows = [
            ("reference", _REFERENCES[self.reference]),
            (
                "equilibria",
                f"{self.solver} in float64: {100 * certified:.0f} % certified, largest "
                f"residual {residual:.1e}",
            ),
            (
                "curvature",
                f"smallest {np.min(bend.smallest):.3g} on "
                f"{np.mean(bend.free_units):.0f} units that can move; a negative "
                f"nudge keeps the minimum up to β = {np.min(bend.largest_beta):.3g}",
            ),
        ]
        if self.updates is not None:
            worst = max(self.updates.rmse.values())
            rows.append(
                (
                    "second phase",
                    f"follows the backward pass, relative RMSE at most {worst:.1e} "
                    f"over {_STEPS} steps",
                )
            )
        return rows

    def lines(self) -> Iterator[str]:
        """The tables: each method at each β, then each parameter."""
        yield (
            f"{'estimator':20} {'β':>7} {'cosine':>10} {'error':>9} "
            f"{'changed':>8} {'settled':>8}"
        )
        for name, bias in self.check.bias.items():
            for k, beta in enumerate(bias.betas):
                like = bias.likeness[k]["all"]
                yield (
                    f"{name:20} {_beta(beta):>7} {like.cosine:10.6f} "
                    f"{like.error:9.1e} {100 * bias.changed[k]:6.2f} % "
                    f"{100 * bias.settled[k]:6.1f} %"
                )
        yield ""
        for name, bias in self.check.bias.items():
            if not math.isnan(bias.betas[0]):
                yield f"{name}: {_order_and_range(bias)}"
        yield ""
        yield f"{'parameter':28} {'estimator':20} {'β':>7} {'cosine':>10} {'error':>9}"
        for name, bias in self.check.bias.items():
            k = _shown(bias)
            for parameter, like in bias.likeness[k].items():
                if parameter != "all":
                    yield (
                        f"{parameter:28} {name:20} {_beta(bias.betas[k]):>7} "
                        f"{like.cosine:10.6f} {like.error:9.1e}"
                    )

    def table(self) -> dict[str, Any]:
        """All of it, for JSON."""
        free, bend = _as_numpy((self.check.outcome.free, self.check.curvature))
        found: dict[str, Any] = {
            "reference": self.reference,
            "solver": self.solver,
            "residual": float(np.max(free.residual)),
            "converged": float(np.mean(free.converged)),
            "smallest_curvature": float(np.min(bend.smallest)),
            "largest_negative_beta": float(np.min(bend.largest_beta)),
            "estimators": {n: _as_table(b) for n, b in self.check.bias.items()},
        }
        if self.updates is not None:
            found["descending_updates_rmse"] = self.updates.rmse
            found["descending_updates_sign_error"] = self.updates.sign_error
        return found

    def save_plot(self, file: Path) -> list[Path]:
        """Writes the figures: bias, and beside it as FILE-updates the time course. The
        files that it wrote."""
        from ..plots import plot_bias, plot_descending_updates

        swept = {
            name: bias
            for name, bias in self.check.bias.items()
            if not math.isnan(bias.betas[0])
        }
        plot_bias(swept).savefig(file)
        if self.updates is None:
            return [file]
        beside = file.with_stem(f"{file.stem}-updates")
        plot_descending_updates(self.updates).savefig(beside)
        return [file, beside]


def examine(
    model: Model,
    own: AbstractEstimator,
    x: jax.Array,
    y: jax.Array,
    estimators: str | None,
    betas: list[float],
    reference: str,
) -> Report:
    """Checks the gradients of a model on a batch. JAX must compute in float64.

    **Arguments:**

    - `own`: the method that the model is trained by, with its own steps and β.
    """
    model, x, y = in_double((model, x, y))
    landscape = Landscape(model, x)
    solver = exacting_solver(landscape.nudge(y, betas[0]))
    fixed = _fixed_trips(landscape, solver)
    methods = _chosen(estimators, landscape, solver, fixed) | {"as trained": own}
    exact, where = None, None
    if reference == "finite-difference":
        exact, where = finite_difference(model, x, y, solver)
    elif reference == "bptt":
        exact = BackpropThroughTime(fixed)
    check = check_gradient(
        model, x, y, methods, betas, solver=solver, reference=exact, where=where
    )
    updates = None
    if all(unit.curvature[0] > 0 for unit in landscape.leaf_units()):
        state = check.outcome.free.state
        updates = descending_updates(model, x, y, state, steps=_STEPS)
    return Report(check, updates, reference, type(solver).__name__)


def _fixed_trips(landscape: Landscape, solver: AbstractSolver) -> AbstractSolver:
    """The solver with as many steps as it needs, and no more: those can be reversed."""
    needed = int(np.max(relax(landscape, solver, throw=False).num_steps))
    return dataclasses.replace(solver, stop=None, max_steps=needed + 5)


Maker = AbstractEstimator | Callable[[Any], AbstractEstimator]


def _chosen(
    names: str | None,
    landscape: Landscape,
    solver: AbstractSolver,
    fixed: AbstractSolver,
) -> dict[str, Maker]:
    known: dict[str, Maker] = {
        "OneSided": lambda beta: EquilibriumProp(OneSided(beta), solver),
        "Centered": lambda beta: EquilibriumProp(Centered(beta), solver),
        "Holomorphic": lambda beta: EquilibriumProp(Holomorphic(beta), solver),
        "Coupled": lambda beta: EquilibriumProp(Coupled(beta), solver),
        "Clamped": EquilibriumProp(Clamped(), solver),
        "ImplicitDifferentiation": ImplicitDifferentiation(solver),
        "RecurrentBackprop": RecurrentBackprop(solver),
        "BackpropThroughTime": BackpropThroughTime(fixed),
    }
    if names is None:
        chosen = ["OneSided", "Centered", "RecurrentBackprop"]
        if all(unit.analytic for unit in landscape.leaf_units()):
            chosen.insert(2, "Holomorphic")
    else:
        chosen = [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise ValueError(
                f"`--estimators` names `{name}`, but there are {', '.join(known)}."
            )
    return {name: known[name] for name in chosen}


def _as_numpy(tree: Any) -> Any:
    return jax.tree.map(lambda a: np.asarray(a) if eqx.is_array(a) else a, tree)


def _beta(beta: float) -> str:
    return "-" if math.isnan(beta) else f"{beta:g}"


def _order_and_range(bias: Bias) -> str:
    safe = "no unit changes its saturation up to β = " + (
        "less than the smallest" if bias.safe is None else f"{bias.safe:g}"
    )
    if bias.order is None:
        return safe
    return f"error of order β^{bias.order:.2f}; {safe}"


def _shown(bias: Bias) -> int:
    """Which β the parameters are listed for: the largest that is safe."""
    return bias.betas.index(bias.safe) if bias.safe is not None else 0


def _as_table(bias: Bias) -> dict[str, Any]:
    return {
        "order": bias.order,
        "safe_beta": bias.safe,
        "betas": [
            {
                "beta": beta,
                "changed": bias.changed[k],
                "settled": bias.settled[k],
                "parameters": {
                    name: dataclasses.asdict(like)
                    for name, like in bias.likeness[k].items()
                },
            }
            for k, beta in enumerate(bias.betas)
        ],
    }
