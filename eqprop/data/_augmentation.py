import abc
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


class AbstractAugmentation(eqx.Module):
    """How training examples are varied before each use: a function of a random key, so
    that a resumed run sees what an uninterrupted one would. Evaluation never varies
    them."""

    @abc.abstractmethod
    def __call__(
        self, key: PRNGKeyArray, x: Float[Array, "batch *shape"]
    ) -> Float[Array, "batch *shape"]:
        """Inputs like `x`, varied.

        **Raises:**

        - `ValueError`: x has a shape that can't be varied so.
        """


class Shift(AbstractAugmentation):
    """Moves every image by a few whole pixels, in a direction of its own.

    Both offsets are drawn uniformly from −p, …, p; zeros come in from outside.

    **Arguments:**

    - `pixels`: p ≥ 1, compiled in.
    - `shape`: height and width of an image; x may hold it in one row, as MNIST does.
    """

    pixels: int = eqx.field(default=1, static=True)
    shape: tuple[int, ...] = eqx.field(default=(28, 28), static=True, converter=tuple)

    def __check_init__(self):
        whole = [self.pixels, *self.shape]
        if len(self.shape) != 2 or any(
            not isinstance(n, int) or isinstance(n, bool) or n < 1 for n in whole
        ):
            raise ValueError(
                "`pixels` and `shape` of `Shift` must be a positive integer and two of "
                f"them, as in `Shift(1, (28, 28))`, but are {self.pixels!r} and "
                f"{self.shape!r}."
            )

    def __call__(self, key, x):
        if math.prod(x.shape[1:]) != math.prod(self.shape):
            raise ValueError(
                f"`Shift` moves images of shape {self.shape}, but an example of `x` "
                f"has shape {x.shape[1:]}. Pass yours, as in `Shift(1, (8, 8))`."
            )
        images = x.reshape(-1, *self.shape)
        p = self.pixels
        offsets = jax.random.randint(key, (len(images), 2), 0, 2 * p + 1)
        padded = jnp.pad(images, ((0, 0), (p, p), (p, p)))

        def moved(image, offset):
            return jax.lax.dynamic_slice(image, tuple(offset), self.shape)

        return jax.vmap(moved)(padded, offsets).reshape(x.shape)
