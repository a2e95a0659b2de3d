import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree, Scalar

from ..energies import Hopfield, INPUT, Model, Network, require_kind
from ..relaxation import as_scalar, require, show_numbers
from ._schedules import AbstractSchedule, Constant


def _as_rates(value: Any) -> Any:
    if isinstance(value, list | tuple | np.ndarray):
        return jnp.asarray(value, float)
    return as_scalar(value)


class AbstractOptimizer(eqx.Module):
    """How a gradient becomes an update of the model. Rates are arrays: changing one
    doesn't recompile."""

    __repr__ = show_numbers

    @abc.abstractmethod
    def init(self, model: Model) -> PyTree[Array]:
        """The optimizer's memory before the first update."""

    @abc.abstractmethod
    def update(
        self,
        gradient: PyTree[Array],
        memory: PyTree[Array],
        model: Model,
        *,
        epoch: Scalar,
        epochs: Scalar,
    ) -> tuple[PyTree[Array], PyTree[Array]]:
        """The update, to be added to the model, and the new memory.

        **Arguments:**

        - `gradient`: the gradient, with the model's structure.
        - `epoch`, `epochs`: epochs done so far, with their fraction, and in all.
        """


class SGD(AbstractOptimizer):
    """Stochastic gradient descent: $θ \\leftarrow θ - α\\,g$.

    **Arguments:**

    - `learning_rate`: α ≥ 0: a number, or one for each layer from the first hidden
        layer to the output, as the original used. A weight and a bias belong to the
        layer that they lead into; a readout's parameters come last.
    - `momentum`: in [0, 1); 0 keeps none.
    - `schedule`: how the rates change over the epochs.
    """

    learning_rate: Array = eqx.field(converter=_as_rates)
    momentum: float = eqx.field(default=0.0, static=True, converter=float)
    schedule: AbstractSchedule = eqx.field(default_factory=Constant)

    def __check_init__(self):
        _require_rates("SGD", self.learning_rate)
        _require_schedule("SGD", self.schedule)
        fix = "0 keeps none, 0.9 is common."
        require("SGD", "momentum", self.momentum, at_least=0, below=1, fix=fix)

    def init(self, model):
        layer_rates(model, self.learning_rate)
        return self._direction().init(eqx.filter(model, eqx.is_inexact_array))

    def update(self, gradient, memory, model, *, epoch, epochs):
        direction, memory = self._direction().update(gradient, memory)
        factor = self.schedule(epoch, epochs)
        return _descend(model, direction, self.learning_rate, factor), memory

    def _direction(self) -> optax.GradientTransformation:
        return optax.trace(self.momentum) if self.momentum else optax.identity()


class Adam(AbstractOptimizer):
    """Adam (Kingma & Ba 2015).

    **Arguments:**

    - `learning_rate`: α ≥ 0: a number, or one for each layer as in [`eqprop.SGD`][].
    - `b1`, `b2`: decay of the averages of the gradient and its square, in [0, 1).
    - `eps`: added to the root of the second, positive.
    - `schedule`: how the rates change over the epochs.

    ??? cite "Kingma & Ba 2015"
        arXiv:1412.6980.
    """

    learning_rate: Array = eqx.field(default=1e-3, converter=_as_rates)
    b1: float = eqx.field(default=0.9, static=True, converter=float)
    b2: float = eqx.field(default=0.999, static=True, converter=float)
    eps: float = eqx.field(default=1e-8, static=True, converter=float)
    schedule: AbstractSchedule = eqx.field(default_factory=Constant)

    def __check_init__(self):
        _require_rates("Adam", self.learning_rate)
        _require_schedule("Adam", self.schedule)
        fix = "The defaults are 0.9 and 0.999."
        require("Adam", "b1", self.b1, at_least=0, below=1, fix=fix)
        require("Adam", "b2", self.b2, at_least=0, below=1, fix=fix)
        require("Adam", "eps", self.eps, above=0, fix="The default is 1e-8.")

    def init(self, model):
        layer_rates(model, self.learning_rate)
        return self._direction().init(eqx.filter(model, eqx.is_inexact_array))

    def update(self, gradient, memory, model, *, epoch, epochs):
        # optax raises a float to the power of an integer count.
        with jax.numpy_dtype_promotion("standard"):
            direction, memory = self._direction().update(gradient, memory)
        factor = self.schedule(epoch, epochs)
        return _descend(model, direction, self.learning_rate, factor), memory

    def _direction(self) -> optax.GradientTransformation:
        return optax.scale_by_adam(self.b1, self.b2, self.eps)


class Optax(AbstractOptimizer):
    """Any optax optimizer. Its numbers are compiled in.

    **Arguments:**

    - `transformation`: such as `optax.adamw(1e-3)`.
    """

    transformation: optax.GradientTransformation = eqx.field(static=True)

    def init(self, model):
        return self.transformation.init(eqx.filter(model, eqx.is_inexact_array))

    def update(self, gradient, memory, model, *, epoch, epochs):
        params = eqx.filter(model, eqx.is_inexact_array)
        return self.transformation.update(gradient, memory, params)


def layer_rates(model: Model, rates: Array) -> Any:
    """The learning rate of every parameter: a pytree like the model's parameters.

    **Raises:**

    - `ValueError`: one rate for each layer was given, but the energy has no layers or
        another number of them.
    """
    params: Any = eqx.filter(model, eqx.is_inexact_array)
    if rates.ndim == 0:
        return jax.tree.map(lambda _: rates, params)
    energy = model.energy
    if not isinstance(energy, Network | Hopfield):
        raise ValueError(
            f"`learning_rate` holds {rates.size} rates, one for each layer, but a "
            f"`{type(energy).__name__}` has no layers. Pass a single number."
        )
    names = [layer.name for layer in energy.layers]
    readout = len(jax.tree.leaves(params.cost)) > 0
    if rates.shape != (len(names) + readout,):
        listed = ", ".join(names) + (", readout" if readout else "")
        raise ValueError(
            f"`learning_rate` has shape {rates.shape}, but there must be one rate for "
            f"each of {listed}, or a single number."
        )
    spread = jax.tree.map(lambda _: rates[-1], params)
    for k, edge in enumerate(energy.edges):
        inside = [name for name in edge.layers if name != INPUT]
        if not inside:
            continue
        rate = rates[names.index(inside[-1])]
        part = jax.tree.map(lambda _, rate=rate: rate, params.energy.edges[k])
        spread = eqx.tree_at(lambda m, k=k: m.energy.edges[k], spread, part)
    return spread


def _descend(
    model: Model, direction: PyTree[Any], rates: Array, factor: Any
) -> PyTree[Array]:
    return jax.tree.map(
        lambda d, rate: (-factor * rate).astype(d.dtype) * d,
        direction,
        layer_rates(model, rates),
    )


def _require_rates(owner: str, rates: Array) -> None:
    fix = "Try 1e-3."
    require(owner, "learning_rate", rates, at_least=0, vector=True, fix=fix)


def _require_schedule(owner: str, schedule: Any) -> None:
    fix = (
        "Pass `ep.Cosine()` or `ep.Exponential(0.99)`; a factor that never changes "
        "belongs into `learning_rate`."
    )
    require_kind("schedule", schedule, AbstractSchedule, fix, owner=owner)
