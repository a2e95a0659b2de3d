"""Linear solvers for the adjoint of one example, given by products alone."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Scalar

from ...relaxation import as_scalar, require, show_numbers


class AdjointSystem(eqx.Module):
    """The system $(I - A'H)\\,λ = A'c$ of one example, over its units in one row.

    With A' the slope of the units' activation at their drive and H = ∂drive/∂s, for
    units with a potential λ is $J^{-1}c$ on the unsaturated units and 0 on the others,
    where A' is 0: they drop out by themselves.

    **Arguments:**

    - `slope`: the product with A', which is symmetric.
    - `feedback`: the product with Hᵀ.
    - `cotangent`: c.
    """

    slope: Callable[[Array], Array]
    feedback: Callable[[Array], Array]
    cotangent: Float[Array, " units"]

    def product(self, v: Float[Array, " units"]) -> Float[Array, " units"]:
        """$(I - A'H)\\,v$."""
        return v - self.slope(self.feedback(v))

    def target(self) -> Float[Array, " units"]:
        """$A'c$."""
        return self.slope(self.cotangent)


class AbstractLinearSolver(eqx.Module):
    """How [`eqprop.ImplicitDifferentiation`][] solves for one example's adjoint."""

    __repr__ = show_numbers

    @abc.abstractmethod
    def solve(
        self, system: AdjointSystem
    ) -> tuple[Float[Array, " units"], Int[Array, ""]]:
        """λ and the number of steps it took. What came of it is measured outside."""


class DenseLU(AbstractLinearSolver):
    """Writes the matrix out and factors it: for nets of up to some hundred units.

    n products and O(n³) for n units, n² memory, for each example. Exact to round-off
    for any curvature that isn't singular, a minimum's or not.
    """

    def solve(self, system):
        identity = jnp.eye(system.cotangent.size, dtype=system.cotangent.dtype)
        columns = jax.vmap(system.product)(identity)
        return jnp.linalg.solve(columns.T, system.target()), jnp.asarray(1)


class GMRES(AbstractLinearSolver):
    """Generalized minimal residuals, by products alone: for large nets of any units.

    Memory grows with `restart`, time with the curvature's condition. Needs lineax.

    **Arguments:**

    - `rtol`: the residual to stop at, relative to the right-hand side; nothing below
        the rounding of the states' type is asked for.
    - `restart`: products between two restarts; compiled in.
    - `max_steps`: the most restarts; compiled in.

    ??? cite "Saad & Schultz 1986"
        GMRES: a generalized minimal residual algorithm for solving nonsymmetric linear
        systems, SIAM Journal on Scientific and Statistical Computing 7:856–869.
    """

    rtol: Scalar = eqx.field(default=1e-10, converter=as_scalar)
    restart: int = eqx.field(default=20, static=True)
    max_steps: int = eqx.field(default=50, static=True)

    def __check_init__(self):
        _require_rtol("GMRES", self.rtol)
        _require_count("GMRES", "restart", self.restart)
        _require_count("GMRES", "max_steps", self.max_steps)

    def solve(self, system):
        lx = _lineax("GMRES")
        target = system.target()
        tolerance = _tolerance(self.rtol, target)
        method = lx.GMRES(
            tolerance, tolerance, max_steps=self.max_steps, restart=self.restart
        )
        operator = lx.FunctionLinearOperator(system.product, _struct(target))
        found = lx.linear_solve(operator, target, method, throw=False)
        return found.value, found.stats["num_steps"]


class ConjugateGradient(AbstractLinearSolver):
    """Conjugate gradients, by products alone: for large nets at a minimum.

    Solves $(I - RHR)\\,v = Rc$ with $R = \\sqrt{A'}$, which is symmetric, and positive
    definite at a minimum; then λ = Rv. Units must act one by one (not `Softmax`). Needs
    lineax.

    **Arguments:**

    - `rtol`: the residual to stop at, relative to the right-hand side; nothing below
        the rounding of the states' type is asked for.
    - `max_steps`: the most products; compiled in.

    ??? cite "Hestenes & Stiefel 1952"
        Methods of conjugate gradients for solving linear systems, Journal of Research
        of the National Bureau of Standards 49:409–436.
    """

    rtol: Scalar = eqx.field(default=1e-10, converter=as_scalar)
    max_steps: int = eqx.field(default=1000, static=True)

    def __check_init__(self):
        _require_rtol("ConjugateGradient", self.rtol)
        _require_count("ConjugateGradient", "max_steps", self.max_steps)

    def solve(self, system):
        lx = _lineax("ConjugateGradient")
        # A diagonal A' is what it makes of ones. Of any other the result would miss
        # the system, and the residual tells.
        root = jnp.sqrt(system.slope(jnp.ones_like(system.cotangent)))
        target = root * system.cotangent
        tolerance = _tolerance(self.rtol, target)

        def product(v):
            return v - root * system.feedback(root * v)

        operator = lx.FunctionLinearOperator(
            product, _struct(target), lx.positive_semidefinite_tag
        )
        method = lx.CG(tolerance, tolerance, max_steps=self.max_steps)
        found = lx.linear_solve(operator, target, method, throw=False)
        return root * found.value, found.stats["num_steps"]


def _lineax(owner: str) -> Any:
    try:
        import lineax
    except ImportError as error:
        raise ImportError(
            f'`ep.{owner}` needs the lineax library: `pip install "eqprop[solvers]"`. '
            "For nets of up to some hundred units `ep.DenseLU()` does without."
        ) from error
    return lineax


def _struct(vector: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(vector.shape, vector.dtype)


def _tolerance(rtol: Scalar, vector: Array) -> Scalar:
    # Of a right-hand side whose largest entry is 1: absolute is relative.
    reachable = 16 * jnp.finfo(vector.dtype).eps
    return jnp.maximum(rtol, reachable).astype(vector.dtype)


def _require_rtol(owner: str, rtol: Any) -> None:
    require(owner, "rtol", rtol, above=0, below=1, fix="The default is 1e-10.")


def _require_count(owner: str, name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"`{name}` of `{owner}` must be a positive integer, but is {value!r}. It "
            "is compiled in; `rtol` says when to stop early."
        )
