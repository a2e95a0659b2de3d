import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..energies import Model
from ..learning import AbstractEstimator, EquilibriumProp, tune
from ..relaxation import AbstractSolver, Landscape, relax


@dataclasses.dataclass(frozen=True)
class PhaseTrace:
    """What one phase looks like on its way, from its start to its last step.

    Arrays have one row for the start and one more for each step.

    **Attributes:**

    - `energy`: of every example what the phase minimizes, $F = E + βC$.
    - `cost`: the cost C of its outputs, whether nudged or not.
    - `residual`: how far it is from the phase's equilibrium, in the units of the state.
    - `beta`: β; `None` if the outputs are held instead. Of a phase with complex states
        it is complex, and `energy` and `cost` are real parts.
    - `solver`: the name of the solver.
    - `certify`: the residual up to which it counts a state as an equilibrium.
    """

    energy: Float[np.ndarray, "steps batch"]
    cost: Float[np.ndarray, "steps batch"]
    residual: Float[np.ndarray, "steps batch"]
    beta: complex | float | None
    solver: str
    certify: float


def trace_phases(
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    method: AbstractEstimator,
    *,
    key: PRNGKeyArray | None = None,
) -> tuple[PhaseTrace, ...]:
    """Follows the phases of a method step by step.

    **Arguments:**

    - `model`, `x`, `y`: the model and a batch.
    - `method`: whose solvers settle the phases. Of [`eqprop.EquilibriumProp`][] all
        phases are followed, of other estimators the free one.
    - `key`: a JAX random key, for methods that draw.

    **Returns:**

    The free phase, then the others in the order of the nudging, which all start where
    it ended. An example that had stopped repeats its last values.
    """
    # As the estimators divide it.
    keys = [None] * 3 if key is None else list(jax.random.split(key, 3))
    landscape = Landscape(model, x)
    method = tune(method, landscape, y=y)
    solver = method.free_solver()
    state, free = _follow(landscape, solver, None, y, 0.0, keys[0])
    if not isinstance(method, EquilibriumProp):
        return (free,)
    if method.nudged_solver is not None:
        solver = method.nudged_solver
    _, pending = method.nudging.phases(landscape, state, y, key=keys[1])
    traces = [free]
    for phase in pending:
        beta = phase.landscape.beta
        if beta is not None:
            beta = np.asarray(beta).item()
        _, trace = _follow(phase.landscape, solver, phase.state, y, beta, keys[2])
        traces.append(trace)
    return tuple(traces)


def _follow(
    landscape: Landscape,
    solver: AbstractSolver,
    start: PyTree[Array] | None,
    y: Array,
    beta: complex | float | None,
    key: PRNGKeyArray | None,
) -> tuple[PyTree[Array], PhaseTrace]:
    def observe(landscape, state):
        energy, cost = landscape.energy(state), landscape.cost(state, y)
        return jnp.real(energy), jnp.real(cost), landscape.residual(state)

    settled = relax(landscape, solver, start, key=key, observe=observe, throw=False)
    kept = int(np.max(settled.num_steps)) + 1
    energy, cost, residual = (np.asarray(a)[:kept] for a in settled.observations)
    name, certify = type(solver).__name__, float(solver.certify)
    return settled.state, PhaseTrace(energy, cost, residual, beta, name, certify)
