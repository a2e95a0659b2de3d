from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Scalar

from ._equilibrium import classify, Equilibrium, require_settled
from ._landscape import Landscape
from ._relax import starting_state
from ._scalars import as_scalar, require, require_steps, state_size
from ._shown import show_numbers
from ._single import add_batch_axis, displacement_of_one, for_each_example


try:
    import optimistix as optx
except ImportError as error:
    raise ImportError(
        '`ep.Optimistix` needs the optimistix library: `pip install "eqprop[solvers]"`.'
    ) from error


class Optimistix(eqx.Module):
    """Relaxes with any solver of the optimistix library, as an independent oracle.

    Each example is solved by itself. What is solved depends on the solver's kind:

    - a fixed-point solver iterates the activation of the drive;
    - a root finder or least-squares solver takes the residual to zero;
    - a minimizer lowers the energy, which must be that of units without walls.

    Not a solver of the driver's: optimistix owns its loop. Call it in the place of
    [`eqprop.relax`][].

    **Arguments:**

    - `solver`: such as `optimistix.Newton(rtol=1e-10, atol=1e-10)`.
    - `max_steps`: the most steps; compiled in.
    - `certify`: the residual up to which a state counts as an equilibrium.

    ??? cite "Rader, Lyons & Kidger 2024"
        Optimistix: modular optimisation in JAX and Equinox, arXiv:2402.09983.
    """

    __repr__ = show_numbers

    solver: Any
    max_steps: int = eqx.field(default=256, static=True)
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        require_steps("Optimistix", self.max_steps)
        fix = "The default is 1e-3."
        require("Optimistix", "certify", self.certify, above=0, fix=fix)

    def relax(
        self,
        landscape: Landscape,
        state0: PyTree[Array] | None = None,
        *,
        throw: bool = True,
    ) -> Equilibrium:
        """Settles every example; arguments and errors as for [`eqprop.relax`][]."""
        if isinstance(self.solver, optx.AbstractMinimiser):
            _require_no_walls(landscape)
        start = starting_state(landscape, state0)
        state, num_steps = eqx.filter_jit(_solve_all)(self, landscape, start)
        state = landscape.hold(state)
        residual = landscape.residual(state)
        result = classify(residual, state_size(state), self.certify, stopped_early=True)
        converged = residual <= self.certify
        equilibrium = Equilibrium(state, residual, converged, num_steps, result)
        if throw:
            return require_settled(equilibrium, equilibrium)
        return equilibrium


def _solve_all(method: Optimistix, landscape: Landscape, start: PyTree[Array]):
    def one(single, state):
        return _solve_one(method, single, state)

    return for_each_example(one, landscape, start)


def _solve_one(method: Optimistix, landscape: Landscape, state: PyTree[Array]):
    def distance(s, _):
        return displacement_of_one(landscape, s)

    def goal(s, args):
        return jax.tree.map(jnp.add, s, distance(s, args))

    def energy(s, _):
        return landscape.energy(add_batch_axis(s))[0]

    solver, options = method.solver, {"max_steps": method.max_steps, "throw": False}
    if isinstance(solver, optx.AbstractFixedPointSolver):
        solution = optx.fixed_point(goal, solver, state, **options)
    elif isinstance(solver, optx.AbstractRootFinder):
        solution = optx.root_find(distance, solver, state, **options)
    elif isinstance(solver, optx.AbstractLeastSquaresSolver):
        solution = optx.least_squares(distance, solver, state, **options)
    elif isinstance(solver, optx.AbstractMinimiser):
        solution = optx.minimise(energy, solver, state, **options)
    else:
        raise TypeError(
            f"`solver` must be an optimistix solver, but is {type(solver).__name__}. "
            "Pass one such as `optimistix.Newton(rtol=1e-8, atol=1e-8)`; the library's "
            "own solvers go to `ep.relax`."
        )
    return solution.value, solution.stats["num_steps"]


def _require_no_walls(landscape: Landscape) -> None:
    for unit in landscape.leaf_units():
        probe = jnp.asarray([-1e3, 1e3])
        if bool(jnp.any(unit.project(probe) != probe)):
            raise ValueError(
                f"An optimistix minimizer knows no walls, but `units` holds `{unit}`. "
                "Pass a root finder, such as `optimistix.Newton(rtol=1e-8, atol=1e-8)`."
            )
