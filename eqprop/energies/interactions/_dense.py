import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._interaction import AbstractInteraction


class Dense(AbstractInteraction):
    """All-to-all symmetric coupling of two layers: $-\\langle s_a W, s_b \\rangle$.

    The same $W$ carries the drive both ways: $s_a W$ into layer b and $W s_b$ into
    layer a. Layers of several axes are flattened.

    **Arguments:**

    - `weight`: $W$, of shape `[size of a, size of b]`.
    """

    weight: Float[Array, "a b"]

    def __call__(self, *layers):
        a, b = layers
        # Not `dot`, whose derivative mapped over phases comes out transposed.
        return -jnp.sum((a.reshape(-1) @ self.weight) * b.reshape(-1))

    def check(self, *shapes):
        if len(shapes) != 2:
            return f"couples two layers, not {len(shapes)}"
        sizes = tuple(math.prod(shape) for shape in shapes)
        if sizes != self.weight.shape:
            return (
                f"has a weight of shape {self.weight.shape} for layers of "
                f"{sizes[0]} and {sizes[1]} units"
            )
        return None
