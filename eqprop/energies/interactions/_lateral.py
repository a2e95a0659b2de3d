import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._interaction import AbstractInteraction


class Lateral(AbstractInteraction):
    """All-to-all symmetric coupling inside one layer: $-\\sum_{i<j} W_{ij} s_i s_j$.

    One weight for each pair of units, none of a unit with itself: only the part of
    `weight` above the diagonal is read, so that $∂E/∂W_{ij} = -s_i s_j$ is the paper's
    rule, and the rest has gradient zero. The term is not affine in its layer: exact
    block sweeps refuse it.

    **Arguments:**

    - `weight`: $W$, of shape `[size, size]`.
    """

    weight: Float[Array, "size size"]

    def __call__(self, *layers):
        s = layers[0].reshape(-1)
        return -jnp.dot(s @ jnp.triu(self.weight, 1), s)

    def check(self, *shapes):
        if len(shapes) != 1:
            return f"couples one layer with itself, not {len(shapes)}"
        size = math.prod(shapes[0])
        if self.weight.shape != (size, size):
            return (
                f"has a weight of shape {self.weight.shape} for a layer of {size} units"
            )
        return None
