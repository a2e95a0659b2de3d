import abc

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from ..energies import Model
from ..relaxation import AbstractSolver, Equilibrium


class Outcome(eqx.Module):
    """What came of estimating a gradient; no phase's failure is lost.

    **Attributes:**

    - `cost`: the (weighted) mean cost at the free equilibrium.
    - `free`: the free phase.
    - `nudged`: the other phases, in the order of the nudging.
    """

    cost: Scalar
    free: Equilibrium
    nudged: tuple[Equilibrium, ...] = ()


class AbstractEstimator(eqx.Module):
    """A way to get the gradient of the cost at equilibrium."""

    @abc.abstractmethod
    def free_solver(self) -> AbstractSolver:
        """How the free phase settles. Predicting is that phase alone."""

    @abc.abstractmethod
    def value_and_grad(
        self,
        model: Model,
        x: PyTree[Array],
        y: Float[Array, "batch ..."],
        *,
        weight: Float[Array, " batch"] | None = None,
        state0: PyTree[Array] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[Outcome, Model]:
        """The mean cost of a batch and its gradient in the parameters.

        **Arguments:**

        - `model`: the model.
        - `x`, `y`: inputs and targets, each with a batch axis.
        - `weight`: one non-negative number for each example (padding has 0).
        - `state0`: where the free phase starts; by default at rest.
        - `key`: a JAX random key, for methods that draw.

        **Returns:**

        An [`eqprop.Outcome`][] and a pytree like `model`, ready for descent: any
        optax optimizer takes it.

        **Raises:**

        - `ValueError`: x, y or `state0` don't fit the model. Failure to settle is not
            raised here: look at the outcome's phases.
        """
