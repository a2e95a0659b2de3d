from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree, Scalar

from ..energies import require_kind
from ._equilibrium import classify, Equilibrium, require_settled, RESULTS
from ._landscape import Landscape
from ._relax import starting_state
from ._scalars import as_scalar, require, require_steps, state_size
from ._shown import show_numbers
from ._single import displacement_of_one, for_each_example
from ._solver import Tolerance


try:
    import diffrax
except ImportError as error:
    raise ImportError(
        '`ep.LeakyIntegrator` needs the diffrax library: `pip install "eqprop[ode]"`.'
    ) from error


class LeakyIntegrator(eqx.Module):
    """The network in continuous time: what the discrete solvers approximate.

    $$\\frac{ds}{dt} = \\text{activate}(\\text{drive}) - s$$

    with the units' time constant as unit of time, solved by the diffrax library with
    steps that adapt to each example by itself. For quadratic units whose drive is
    within the walls it is the paper's $ds/dt = -∂F/∂s$ (eq. 4), along which
    $dF/dt = -‖ds/dt‖²$; at a wall it slows down instead of running into it; and for
    any unit the energy falls. Units without a potential follow
    $\\text{project}(s + \\text{force}) - s$. Its steady states are the equilibria.

    Not a solver of the driver's: diffrax owns its loop. Call it in the place of
    [`eqprop.relax`][].

    **Main arguments:**

    - `rtol`, `atol`: the error allowed to each step, relative to the state and
        absolute.
    - `max_time`: when to give up, in time constants.
    - `stop`: a [`eqprop.Tolerance`][] on $\\max|ds/dt|$ that ends an example's run, or
        `None` to go on to `max_time`. Explicit steps can't resolve less than about
        `rtol`.

    **Other arguments:**

    - `solver`: a diffrax solver: `diffrax.Kvaerno5()` for stiff energies.
    - `max_steps`: the most steps; compiled in.
    - `certify`: the residual up to which a state counts as an equilibrium.

    ??? cite "Scellier & Bengio 2017, eq. 4–9; Kidger 2021"
        arXiv:1602.05179; On neural differential equations, arXiv:2202.02435.
    """

    __repr__ = show_numbers

    rtol: Scalar = eqx.field(default=1e-5, converter=as_scalar)
    atol: Scalar = eqx.field(default=1e-7, converter=as_scalar)
    max_time: Scalar = eqx.field(default=1000.0, converter=as_scalar)
    stop: Tolerance | None = eqx.field(default_factory=Tolerance)
    solver: Any = eqx.field(default_factory=diffrax.Tsit5)
    max_steps: int = eqx.field(default=4096, static=True)
    certify: Scalar = eqx.field(default=1e-3, converter=as_scalar)

    def __check_init__(self):
        owner = "LeakyIntegrator"
        fix = "The defaults are 1e-5 and 1e-7."
        require(owner, "rtol", self.rtol, above=0, fix=fix)
        require(owner, "atol", self.atol, above=0, fix=fix)
        fix = "The default is 1000 time constants."
        require(owner, "max_time", self.max_time, above=0, fix=fix)
        fix = "Pass `stop=ep.Tolerance(atol=1e-5)`, or `None` to go on to `max_time`."
        require_kind("stop", self.stop, Tolerance | None, fix, owner=owner)
        require_steps(owner, self.max_steps)
        require(owner, "certify", self.certify, above=0, fix="The default is 1e-3.")
        if not isinstance(self.solver, diffrax.AbstractSolver):
            raise TypeError(
                "`solver` of `LeakyIntegrator` must be a diffrax solver, but is "
                f"{type(self.solver).__name__}. Pass one such as `diffrax.Tsit5()`; "
                "the library's own solvers go to `ep.relax`."
            )

    def relax(
        self,
        landscape: Landscape,
        state0: PyTree[Array] | None = None,
        *,
        throw: bool = True,
    ) -> Equilibrium:
        """Settles every example; arguments and errors as for [`eqprop.relax`][].

        An example that is still moving at `max_time` is reported as such."""
        start = starting_state(landscape, state0)
        equilibrium = _settle(self, landscape, start)
        if throw:
            return require_settled(equilibrium, equilibrium)
        return equilibrium

    def trajectory(
        self,
        landscape: Landscape,
        times: Float[Array, " time"],
        state0: PyTree[Array] | None = None,
    ) -> PyTree[Array]:
        """The states at given times.

        **Arguments:**

        - `landscape`: what to move in.
        - `times`: ascending, in time constants after the start at 0.
        - `state0`: where to start, with a batch axis; by default at rest.

        **Returns:**

        A pytree like the state, of arrays `[time, batch, ...]`. NaN for an example
        that `max_steps` didn't take to the last of the times.

        **Raises:**

        - `ValueError`: times before 0 or out of order, or a `state0` that doesn't fit.
        """
        _require_ascending(times)
        start = starting_state(landscape, state0)
        return _trajectory(self, landscape, times, start)


def _require_ascending(times: Array) -> None:
    if isinstance(times, Tracer):
        return
    known = np.asarray(times)
    if known.size < 1 or known[0] < 0 or np.any(np.diff(known) < 0):
        raise ValueError(
            "`times` of `trajectory` must hold ascending times from 0 on, but is "
            f"{known}. Pass a row such as `jnp.linspace(0.0, 10.0, 101)`."
        )


@eqx.filter_jit
def _settle(
    method: LeakyIntegrator, landscape: Landscape, start: PyTree[Array]
) -> Equilibrium:
    event = None
    if method.stop is not None:
        # Typed as floats there, but arrays do.
        rtol: Any = method.stop.rtol
        atol: Any = method.stop.atol
        event = diffrax.Event(diffrax.steady_state_event(rtol, atol, norm=_largest))

    def one(single, state):
        ends = diffrax.SaveAt(t1=True)
        found = _solve(method, single, state, method.max_time, ends, event=event)
        late = found.ts[-1] >= method.max_time
        state = jax.tree.map(lambda s: s[-1], found.ys)
        return state, found.stats["num_steps"], late

    state, num_steps, late = for_each_example(one, landscape, start)
    state = landscape.hold(state)
    residual = landscape.residual(state)
    result = classify(residual, state_size(state), method.certify, stopped_early=True)
    unfinished = (result == RESULTS.max_steps_reached) & late
    result = jax.vmap(
        lambda ran_out, r: RESULTS.where(ran_out, RESULTS.max_time_reached, r)
    )(unfinished, result)
    converged = residual <= method.certify
    return Equilibrium(state, residual, converged, num_steps, result)


@eqx.filter_jit
def _trajectory(method: LeakyIntegrator, landscape: Landscape, times, start):
    def one(single, state):
        found = _solve(method, single, state, times[-1], diffrax.SaveAt(ts=times))
        # What was not reached diffrax leaves at infinity.
        return jax.tree.map(lambda s: jnp.where(jnp.isinf(s), jnp.nan, s), found.ys)

    return jax.tree.map(
        lambda s: jnp.swapaxes(s, 0, 1), for_each_example(one, landscape, start)
    )


def _solve(method: LeakyIntegrator, landscape, state, until, saveat, event=None) -> Any:
    def velocity(_, s, __):
        return displacement_of_one(landscape, s)

    return diffrax.diffeqsolve(
        diffrax.ODETerm(velocity),
        method.solver,
        t0=0.0,
        t1=until,
        dt0=None,
        y0=state,
        saveat=saveat,
        stepsize_controller=diffrax.PIDController(rtol=method.rtol, atol=method.atol),
        event=event,
        max_steps=method.max_steps,
        throw=False,
    )


def _largest(tree: PyTree[Array]) -> Scalar:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(s)) for s in jax.tree.leaves(tree)]))
