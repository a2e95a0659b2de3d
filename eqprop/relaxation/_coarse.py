"""The first steps of a relaxation with matrix products in bfloat16."""

import equinox as eqx
import jax
from jaxtyping import PRNGKeyArray, Scalar

from ._rounded import with_rounded_products
from ._solver import AbstractSolver, Tolerance


class CoarseFirst(AbstractSolver):
    """Settles by another solver, whose first steps are computed coarsely.

    In the coarse steps every matrix product of the state (float32) is computed from
    its two operands rounded to bfloat16 (8 bits), and accumulated in float32; all else
    as ever. Then the solver itself settles from there, in full precision and with a
    fresh memory, and [`eqprop.relax`][] measures the residual in full precision: a
    state is certified as without coarse steps. Coarse steps alone stall at a residual
    of about 1e-3, more where the drives are large; a few fine ones take it on from
    there.

    Any energy will do, also a function of your own: what is rounded is the traced step.
    Convolutions, products under `jax.checkpoint`, and those of float64 or complex
    operands are left as they are. It pays where bfloat16 products are faster, as on
    CPUs with AMX, and most of the time goes to products. Reverse-differentiable if the
    solver is. Methods that take a solver's steps themselves ([`eqprop.ContinualEP`][],
    [`eqprop.BackpropThroughTime`][]) take as many, but none of them is coarse.

    **Arguments:**

    - `solver`: how states settle after the coarse steps, and whose step is coarsened.
    - `coarse_steps`: how many steps are coarse; compiled in. As many as it takes, with
        three to five steps of the solver to follow.

    **Attributes:**

    - `max_steps`: of both kinds together, as `num_steps` counts them.
    - `stop`, `certify`: the solver's. Coarse steps are all taken.
    """

    solver: AbstractSolver
    coarse_steps: int = eqx.field(static=True)

    # Written out, since type checkers take the attributes below for its arguments.
    def __init__(self, solver: AbstractSolver, coarse_steps: int = 10):
        self.solver = solver
        self.coarse_steps = coarse_steps

    def __check_init__(self):
        if isinstance(self.solver, CoarseFirst):
            raise ValueError(
                "`solver` of `CoarseFirst` is a `CoarseFirst` itself, but there is "
                "only one kind of coarse steps. Add them up: "
                "`ep.CoarseFirst(ep.BlockCoordinate(), coarse_steps=10)`."
            )
        if not isinstance(self.solver, AbstractSolver):
            raise TypeError(
                "`solver` of `CoarseFirst` must be a solver of the library's own "
                f"driver, but is {self.solver!r}. Pass one such as "
                "`ep.BlockCoordinate(max_steps=5)`."
            )
        steps = self.coarse_steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(
                "`coarse_steps` of `CoarseFirst` must be a positive integer, but is "
                f"{steps!r}. It is compiled in; for none, use its `solver` alone."
            )

    @property
    def max_steps(self) -> int:
        return self.coarse_steps + self.solver.max_steps

    @property
    def stop(self) -> Tolerance | None:
        return self.solver.stop

    @property
    def certify(self) -> Scalar:
        return self.solver.certify

    def init(self, landscape, state, key):
        return self.solver.init(landscape, state, key)

    def step(self, landscape, state, memory):
        return self.solver.step(landscape, state, memory)


class _Coarse(AbstractSolver):
    """A fixed number of a solver's steps, with rounded products."""

    solver: AbstractSolver
    max_steps: int = eqx.field(static=True)
    certify: Scalar
    stop: Tolerance | None = None

    def init(self, landscape, state, key):
        return self.solver.init(landscape, state, key)

    def step(self, landscape, state, memory):
        def step(state, memory):
            return self.solver.step(landscape, state, memory)

        return with_rounded_products(step, state, memory)


def stages(
    solver: AbstractSolver, key: PRNGKeyArray | None
) -> tuple[tuple[AbstractSolver, PRNGKeyArray | None], ...]:
    """The solvers that settle a state one after the other, each with its own key."""
    if not isinstance(solver, CoarseFirst):
        return ((solver, key),)
    inner = solver.solver
    coarse = _Coarse(solver=inner, max_steps=solver.coarse_steps, certify=inner.certify)
    return (coarse, key), (inner, None if key is None else jax.random.fold_in(key, 1))
