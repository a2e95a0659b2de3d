"""What the references that solve for an adjoint have in common."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ...energies import AbstractEnergy, Model, name_of
from ...relaxation import Landscape, relax
from .._estimator import AbstractEstimator, Outcome
from .._phase import batch_mean


def gradient_by_pull_back(
    method: AbstractEstimator,
    model: Model,
    x: PyTree[Array],
    y: Float[Array, "batch ..."],
    weight: Float[Array, " batch"] | None,
    state0: PyTree[Array] | None,
    key: PRNGKeyArray | None,
) -> tuple[Outcome, Model]:
    """The gradient of the mean cost: its cotangent of the settled states pulled back,
    and what the cost and the output depend on by themselves."""
    landscape = Landscape(model, x)
    landscape.check_targets(y)
    free = relax(landscape, method.free_solver(), state0, key=key, throw=False)

    @eqx.filter_value_and_grad
    def mean_cost(parts):
        model, state = parts
        return batch_mean(Landscape(model, x).cost(state, y), weight)

    cost, (direct, cotangent) = mean_cost((model, free.state))
    bare = Landscape(model.energy, x)
    phases, energy_bar, _ = method.pull_back(
        bare, free, cotangent, state0=state0, key=key
    )
    energy = jax.tree.map(jnp.add, direct.energy, energy_bar)
    gradient = eqx.tree_at(lambda m: m.energy, direct, energy)
    return Outcome(cost, free, phases), gradient


def pulled(
    fn: Callable[[Landscape], PyTree[Array]],
    landscape: Landscape,
    adjoint: PyTree[Array],
) -> tuple[AbstractEnergy, PyTree[Array]]:
    """$(∂_θ f)^\\top λ$ and $(∂_x f)^\\top λ$ of a function of a bare landscape."""
    _, pull = eqx.filter_vjp(
        lambda parts: fn(Landscape(*parts)), (landscape.model, landscape.x)
    )
    return pull(adjoint)[0]


def require_second_derivative(owner: str, landscape: Landscape) -> None:
    """Raises a `ValueError` unless the force of an energy has a derivative, and JAX
    can take it. Nothing is computed."""
    for unit in landscape.leaf_units():
        if unit.curvature[0] == float("inf"):
            raise ValueError(
                f"`{owner}` needs states that can move a little, but `units` holds "
                f"`{unit}`, whose states are isolated: there the gradient is zero "
                "almost everywhere. Use `ep.StochasticEP`."
            )

    def differentiated(state):
        _, pull = eqx.filter_vjp(
            lambda parts: Landscape(parts[0], parts[1]).drive(parts[2]),
            (landscape.model, landscape.x, state),
        )
        return pull(state)

    try:
        eqx.filter_eval_shape(differentiated, landscape.init())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"`{owner}` needs the second derivative of the energy, ∂²E/∂s², which JAX "
            f"can't take of {name_of(landscape.energy_fn)}: {error} Use "
            "`ep.EquilibriumProp(ep.Centered(beta=0.1), ...)`, for which first "
            "derivatives are enough."
        ) from error
