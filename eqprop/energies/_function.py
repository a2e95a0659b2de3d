from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree, Scalar

from ._energy import AbstractEnergy
from ._kinds import require_kind
from ._unit import AbstractUnit, is_unit, Unconstrained


class FunctionEnergy(AbstractEnergy):
    """An energy written as a plain function, or as a Module of your own.

    $$E(θ, x, s) = \\sum_k G_k(s_k) + \\text{fn}(θ, s, x)$$

    With the default `Unconstrained()` units there are no self-potentials, and `fn` is
    the whole energy. With other units, leave their self-potential (½s² for most) out
    of `fn`.

    **Arguments:**

    - `fn`: `fn(params, state, x)` of one example, without batch axis, to a scalar. Or,
        with `params=None`, `fn(state, x)`: an `equinox.Module`, say, which holds its
        parameters itself.
    - `params`: a pytree of arrays: the parameters θ.
    - `init`: `init(x)`, the resting state of one example (any pytree of arrays).
    - `output`: `output(state)`, what the cost reads. Nudged block sweeps and clamping
        need it to pick one leaf of the state, as `lambda s: s[1]` does.
    - `units`: one unit for all of the state, or a prefix of its pytree structure.

    **Raises:**

    - `TypeError`: `fn`, `init` or `output` is no function, or `units` holds no units.
    - `ValueError`: `params` holds integers, which can't be learned; or, when a
        landscape is made from it, `fn` doesn't return a real floating-point scalar for
        one example.
    """

    fn: Callable[..., Scalar]
    params: PyTree[Any]
    initializer: Callable[[Any], PyTree] = eqx.field(static=True)
    reader: Callable[[Any], Array] = eqx.field(static=True)
    units: PyTree[AbstractUnit]

    def __init__(
        self,
        fn: Callable[..., Scalar],
        params: PyTree[Any] = None,
        *,
        init: Callable[[Any], PyTree],
        output: Callable[[Any], Array],
        units: PyTree[AbstractUnit] = Unconstrained(),
    ):
        self.fn = fn
        self.params = params
        self.initializer = init
        self.reader = output
        self.units = units
        self._check()

    def _check(self) -> None:
        functions = (
            ("fn", self.fn, "fn(params, state, x)"),
            ("init", self.initializer, "init(x)"),
            ("output", self.reader, "output(state)"),
        )
        for name, value, called in functions:
            fix = f"Pass a function: it is called as `{called}`."
            require_kind(name, value, Callable, fix, owner="FunctionEnergy")
        for unit in jax.tree.leaves(self.units, is_leaf=is_unit):
            fix = "Pass a unit, such as `ep.Tanh()`, or a prefix of the state of them."
            require_kind("units", unit, AbstractUnit, fix, owner="FunctionEnergy")
        _require_learnable(self.params)

    def interaction(self, state, x):
        if self.params is None:
            return self.fn(state, x)
        return self.fn(self.params, state, x)

    def init(self, x):
        return self.initializer(x)

    def output(self, state):
        return self.reader(state)


def _require_learnable(params: PyTree[Any]) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = isinstance(leaf, jax.Array | np.ndarray)
        if array and jnp.issubdtype(leaf.dtype, jnp.integer):
            where = f"params{jax.tree_util.keystr(path)}"
            raise ValueError(
                f"`{where}` of `FunctionEnergy` has dtype {leaf.dtype}, but only "
                "floating-point numbers can be learned. Convert it, as in "
                f"`jnp.asarray({where}, jnp.float32)`; numbers that aren't parameters, "
                "such as indices, belong into `fn`."
            )
