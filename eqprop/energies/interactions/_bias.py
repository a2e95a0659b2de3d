import jax.numpy as jnp
from jaxtyping import Array, Float

from ._interaction import AbstractInteraction


class Bias(AbstractInteraction):
    """A bias on one layer: $-\\langle b, s \\rangle$.

    **Arguments:**

    - `bias`: $b$, of the layer's shape.
    """

    bias: Float[Array, "..."]

    def __call__(self, *layers):
        (s,) = layers
        return -jnp.sum(self.bias * s)

    def check(self, *shapes):
        if len(shapes) != 1:
            return f"couples one layer, not {len(shapes)}"
        if shapes[0] != self.bias.shape:
            return f"has a bias of shape {self.bias.shape} for a layer of {shapes[0]}"
        return None
