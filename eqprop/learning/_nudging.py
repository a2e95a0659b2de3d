import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from ..energies import CrossEntropy, Model, Readout
from ..relaxation import as_scalar, Landscape, require
from ._phase import Phase


_SMALL = "Small values have less bias, large ones less round-off: try 0.2."


class AbstractNudging(eqx.Module):
    """Which phases are contrasted, under which nudges, with which weights."""

    @abc.abstractmethod
    def phases(
        self,
        landscape: Landscape,
        state: PyTree[Array],
        y: Float[Array, "batch ..."],
        *,
        key: PRNGKeyArray | None = None,
    ) -> tuple[tuple[Phase, ...], tuple[Phase, ...]]:
        """Plans the phases that follow the free one.

        **Arguments:**

        - `landscape`, `state`: the free landscape and the state settled in it.
        - `y`: targets.
        - `key`: a JAX random key, for nudgings that draw.

        **Returns:**

        The phases that are settled already (the free one, if the contrast uses it),
        and those still to settle, each with the state to start from.
        """


class OneSided(AbstractNudging):
    """The paper's two phases: free and nudged (Scellier & Bengio 2017, eq. 10).

    $$\\frac1β\\bigl[∂_θF(β, s^β) - ∂_θF(0, s^0)\\bigr]$$

    Bias O(β); one relaxation more than prediction. At any finite β it is the exact
    gradient of $L_β = \\frac1β[F(β, s^β) - F(0, s^0)]$.

    **Arguments:**

    - `beta`: β ≠ 0, dimensionless; changing it doesn't recompile.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("OneSided", "beta", self.beta, nonzero=True, fix=_SMALL)

    def phases(self, landscape, state, y, *, key=None):
        return _two_phases(landscape, state, y, self.beta)


class Centered(AbstractNudging):
    """Nudged both ways (Laborieux et al. 2021, symmetric nudging).

    $$\\frac1{2β}\\bigl[∂_θF(β, s^β) - ∂_θF(-β, s^{-β})\\bigr]$$

    Bias O(β²); two relaxations more than prediction. The negative nudge needs
    $λ_{\\min}(∂²E) > β\\,λ_{\\max}(∂²C)$: for `SquaredError`, β < 1.

    **Arguments:**

    - `beta`: β > 0, dimensionless; changing it doesn't recompile.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("Centered", "beta", self.beta, above=0, fix=_SMALL)

    def phases(self, landscape, state, y, *, key=None):
        share = 0.5 / self.beta
        up = Phase(landscape.nudge(y, self.beta), state, share)
        down = Phase(landscape.nudge(y, -self.beta), state, -share)
        return (), (up, down)


class RandomSign(AbstractNudging):
    """One-sided, with a sign drawn for each batch, as the original code does.

    [`eqprop.OneSided`][] at $σβ$, σ = ±1 with equal odds: the bias O(β) of one sign
    cancels the other's on average, leaving O(β²).

    **Arguments:**

    - `beta`: β > 0, dimensionless; changing it doesn't recompile.
    """

    beta: Scalar = eqx.field(converter=as_scalar)

    def __check_init__(self):
        require("RandomSign", "beta", self.beta, above=0, fix=_SMALL)

    def sign(self, key: PRNGKeyArray) -> Scalar:
        """The sign ±1 that `key` stands for."""
        return jnp.where(jax.random.bernoulli(key), 1.0, -1.0)

    def phases(self, landscape, state, y, *, key=None):
        if key is None:
            raise ValueError(
                "`RandomSign` draws a sign for each batch and needs a `key`: "
                "`method.value_and_grad(model, x, y, key=jax.random.key(0))`. For "
                "signs of your own use `OneSided(beta=sign * beta)`."
            )
        return _two_phases(landscape, state, y, self.beta * self.sign(key))


class Clamped(AbstractNudging):
    """Contrastive Hebbian learning: outputs free, then held at the target.

    $$∂_θE(s^∞) - ∂_θE(s^0)$$

    The limit β → ∞. Its objective $E(s^∞) - E(s^0)$ is not the cost, and turns
    negative where the phases land in different modes (the paper, §4.2). Needs an
    output that can be held: a layer of the state, and a cost of the outputs
    themselves.
    """

    def phases(self, landscape, state, y, *, key=None):
        model = landscape.model
        if isinstance(model, Model) and isinstance(model.cost, Readout | CrossEntropy):
            raise ValueError(
                "`Clamped` holds the outputs at the target y, but under "
                f"`{type(model.cost).__name__}` the outputs are not what y is compared "
                "with. Use `ep.SquaredError()`, or `ep.Centered(beta=0.2)`."
            )
        landscape.check_targets(y)
        held = landscape.clamp(landscape.energy_fn.output, y)
        start = held.project(state)
        return (Phase(landscape, state, -1.0),), (Phase(held, start, 1.0),)


def _two_phases(landscape: Landscape, state: PyTree[Array], y: Array, beta: Array):
    free = Phase(landscape, state, -1 / beta)
    nudged = Phase(landscape.nudge(y, beta), state, 1 / beta)
    return (free,), (nudged,)
