import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from ..relaxation import (
    AbstractSolver,
    AdaptiveEuler,
    BlockCoordinate,
    Euler,
    FixedPoint,
    Landscape,
    Tolerance,
)


def exacting_solver(
    landscape: Landscape, *, tolerance: float = 1e-13, max_steps: int = 20_000
) -> AbstractSolver:
    """The first solver that can work on a landscape, set to settle to round-off.

    Block sweeps where the interaction allows them, else damped fixed points, else
    explicit steps. A gradient can only be checked at states that are equilibria to
    many more digits than the bias that is looked for.

    **Arguments:**

    - `landscape`: a landscape; nudged if the solver must settle nudged phases too.
    - `tolerance`: where to stop. The default suits float64.
    - `max_steps`: the most steps; compiled in.
    """
    stop = Tolerance(tolerance, tolerance)
    common = {"stop": stop, "max_steps": max_steps, "certify": 100 * tolerance}
    candidates = (
        BlockCoordinate(**common),
        FixedPoint(damping=0.5, **common),
        Euler(step_size=0.25, **common),
        AdaptiveEuler(**common),
    )
    state = jax.eval_shape(landscape.init)
    refusals = []
    for solver in candidates:
        try:
            eqx.filter_eval_shape(solver.init, landscape, state, None)
        except ValueError as error:
            refusals.append(str(error))
        else:
            return solver
    raise ValueError("No solver suits this landscape: " + " ".join(refusals))


def in_double(tree: PyTree) -> PyTree:
    """A pytree with its floating-point arrays in float64, for models, data and states.

    **Raises:**

    - `ValueError`: JAX was not told to compute in float64.
    """
    if not jax.config.read("jax_enable_x64"):
        raise ValueError(
            "float64 is off in JAX. Turn it on before anything is computed: "
            '`jax.config.update("jax_enable_x64", True)`.'
        )
    return jax.tree.map(
        lambda a: a.astype(jnp.float64) if eqx.is_inexact_array(a) else a, tree
    )
