import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..energies import Model
from ..learning import AbstractEstimator, ImplicitDifferentiation, Outcome
from ..relaxation import AbstractSolver, Landscape, relax
from ._bias import Bias, estimate, measure_bias
from ._curvature import Curvature, curvature


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """What [`eqprop.diagnostics.check_gradient`][] found.

    **Attributes:**

    - `reference`: the reference gradient.
    - `outcome`: how its phases did.
    - `bias`: for each method by name its [`eqprop.diagnostics.Bias`][].
    - `curvature`: that of the energy at the free equilibria.
    """

    reference: Model
    outcome: Outcome
    bias: dict[str, Bias]
    curvature: Curvature

    def problems(self, min_cosine: float = 0.9) -> list[str]:
        """What speaks against trusting the gradients, one sentence each; empty if
        nothing does.

        **Arguments:**

        - `min_cosine`: the least cosine of the whole gradient to the reference.
        """
        found = []
        for name, phases in (
            ("free phases", (self.outcome.free,)),
            ("reference's second phases", self.outcome.nudged),
        ):
            settled = [bool(np.all(phase.converged)) for phase in phases]
            if not all(settled):
                found.append(f"not all {name} settled: the reference is not exact")
        lowest = float(np.min(self.curvature.smallest))
        if not lowest > 0:
            found.append(f"a free state is no minimum: smallest curvature {lowest:.2g}")
        for name, bias in self.bias.items():
            found += [f"{name}: {text}" for text in _faults(bias, min_cosine)]
        return found


def check_gradient(
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    methods: Mapping[str, AbstractEstimator | Callable[[Any], AbstractEstimator]],
    betas: Sequence[float],
    *,
    solver: AbstractSolver,
    reference: AbstractEstimator | Model | None = None,
    where: dict[str, Array] | None = None,
) -> GradientCheck:
    """Checks methods against a reference gradient before they are believed.

    **Arguments:**

    - `model`, `x`, `y`: the model and a batch, in float64
        ([`eqprop.diagnostics.in_double`][]).
    - `methods`: by name, what makes the estimator for a β, as in
        `{"centered": lambda beta: ep.EquilibriumProp(ep.Centered(beta), solver)}`; or
        the estimator itself, if it has no β.
    - `betas`: the values of β to try.
    - `solver`: settles the free phases to round-off
        ([`eqprop.diagnostics.exacting_solver`][]).
    - `reference`: by default [`eqprop.ImplicitDifferentiation`][] with that solver. Or
        a gradient that is known already, of the entries `where`, as
        [`eqprop.diagnostics.finite_difference`][] returns them.
    """
    if isinstance(reference, Model):
        landscape = Landscape(model, x)
        free = relax(landscape, solver, throw=False)
        outcome = Outcome(jnp.mean(landscape.cost(free.state, y)), free)
        gradient = reference
    else:
        exact = ImplicitDifferentiation(solver) if reference is None else reference
        outcome, gradient = estimate(exact, model, x, y)
    bend = curvature(Landscape(model, x), outcome.free.state, y)
    bias = {
        name: measure_bias(model, x, y, method, betas, gradient, where=where)
        for name, method in methods.items()
    }
    return GradientCheck(gradient, outcome, bias, bend)


def _faults(bias: Bias, min_cosine: float) -> list[str]:
    found = []
    for beta, row, settled in zip(bias.betas, bias.likeness, bias.settled, strict=True):
        cosine = row["all"].cosine
        at = "" if math.isnan(beta) else f"at β = {beta:g} "
        if settled < 1:
            found.append(f"{at}only {100 * settled:.0f} % of the phases settled")
        if not cosine >= min_cosine:
            found.append(
                f"{at}the cosine to the reference is {cosine:.6f}, below {min_cosine:g}"
            )
    return found
