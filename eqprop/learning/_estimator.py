import abc
import functools
from collections.abc import Mapping
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray, PyTree, Scalar

from ..energies import AbstractEnergy, Model, require_kind
from ..relaxation import AbstractSolver, Equilibrium, Landscape, show_numbers
from ._adjoint import settle


class Outcome(eqx.Module):
    """What came of estimating a gradient; no phase's failure is lost.

    **Attributes:**

    - `cost`: the (weighted) mean cost at the free equilibrium.
    - `free`: the free phase.
    - `nudged`: the other phases, in the order of the nudging. A reference gradient's
        second computation counts as one: its state is the adjoint.
    - `stderr`: of sampled gradients the standard error, a pytree like the gradient.
    """

    cost: Scalar
    free: Equilibrium
    nudged: tuple[Equilibrium, ...] = ()
    stderr: PyTree[Array] = None


def require_solvers(method: Any, instead: Mapping[type, str] | None = None) -> None:
    """Raises a `TypeError` unless a method's solvers are of their kind.

    **Arguments:**

    - `method`: has a `solver`, and may have a `nudged_solver`.
    - `instead`: what to pass in the place of things that are easily taken for it.
    """
    check = functools.partial(
        require_kind, owner=type(method).__name__, instead=instead
    )
    fix = "Pass a solver, such as `ep.BlockCoordinate()`"
    check("solver", method.solver, AbstractSolver, f"{fix}.")
    nudged = getattr(method, "nudged_solver", None)
    fix = f"{fix}, or `None` to use that of the free phase."
    check("nudged_solver", nudged, AbstractSolver | None, fix)


class AbstractEstimator(eqx.Module):
    """A way to get the gradient of the cost at equilibrium."""

    __repr__ = show_numbers

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

        The library's methods compile it as a whole, once for all numbers of the same
        shapes; inside a `jit` of your own it becomes a part of that.

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

    @abc.abstractmethod
    def pull_back(
        self,
        landscape: Landscape,
        free: Equilibrium,
        cotangent: PyTree[Array],
        *,
        state0: PyTree[Array] | None = None,
        key: PRNGKeyArray | None = None,
    ) -> tuple[tuple[Equilibrium, ...], AbstractEnergy, PyTree[Array]]:
        """From the cotangent of the settled states to those of parameters and inputs:
        what this method puts in the place of a backward pass.

        **Arguments:**

        - `landscape`: a bare energy and inputs, no nudge.
        - `free`: the free phase settled in it.
        - `cotangent`: $∂ℓ/∂s^0$ for every example, a pytree like the state.
        - `state0`: where the free phase started.
        - `key`: a JAX random key, for methods that draw.

        **Returns:**

        The phases that it took; the cotangent of the energy's parameters, summed over
        the batch (`None` in place of all that isn't an inexact array); and that of x.

        **Raises:**

        - `ValueError`: the method doesn't estimate the gradient of a function of the
            equilibrium.
        """

    def equilibrium(
        self,
        energy: AbstractEnergy,
        x: PyTree[Array],
        *,
        state0: PyTree[Array] | None = None,
        key: PRNGKeyArray | None = None,
        throw: bool = True,
    ) -> Equilibrium:
        """The free phase as a layer of a network: a differentiable equilibrium.

        $$s^0(θ, x) = \\arg\\min_s E(θ, x, s)$$

        `jax.grad` of anything computed from its `state` runs this method in the place
        of a backward pass: with the cotangent $g = ∂ℓ/∂s^0$ as nudge, $E + β⟨g, s⟩$,
        the contrast gives the cotangents of θ and of x. So an energy can stand anywhere
        in a network: Equilibrium Propagation inside, backpropagation around it. Each
        example's cotangent is scaled to 1 and the result scaled back: its size doesn't
        matter. Only `state` is differentiable, in reverse mode, and once.

        **Arguments:**

        - `energy`: differentiated in its inexact arrays.
        - `x`: inputs, with a batch axis; differentiated.
        - `state0`: where to start, by default at rest; not differentiated.
        - `key`: a JAX random key, for methods that draw.
        - `throw`: whether to raise when an example doesn't settle, in the free phase
            or in those of the backward pass. A solver without tolerance promises no
            more than its steps: to be told, give it `stop=ep.Tolerance()`.

        **Raises:**

        - `ValueError`: x doesn't fit the energy; or, when differentiated, the method
            estimates no gradient, or it is differentiated a second time.
        - `RelaxationError`: with `throw`, as [`eqprop.relax`][].

        ??? cite "Nest & Ernoult 2024"
            Towards training digitally-tied analog blocks via hybrid gradient
            computation, arXiv:2409.03306.
        """
        return settle(self, energy, x, state0, key, throw)
