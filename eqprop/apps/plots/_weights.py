import math
from collections.abc import Sequence
from typing import Any, TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float

from ...diagnostics import layer_names, receptive_fields
from ...energies import Model
from ...relaxation import Landscape
from ._style import new_figure


if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Images smaller than this are rather a few features than pixels.
_SMALLEST_SIDE = 5
_COLUMNS = 10
# Of an enormous layer only so many units, at equal distances, are looked at.
_ASKED = 2048


def plot_weights(
    model: Model,
    x: Float[Array, "..."],
    *,
    shape: Sequence[int] | None = None,
    units: int = 40,
) -> "Figure":
    """What the units look for in the input, a panel for each layer.

    The weights of the first layer, as images where the input is one; of the layers
    above, their weights taken back to the input
    ([`eqprop.diagnostics.receptive_fields`][]). Dark is negative, bright positive,
    middle gray zero, on one scale for a layer. Of a larger layer the units of largest
    fields are shown, the largest first.

    **Arguments:**

    - `model`: a model, of any energy whose input is one array.
    - `x`: an input, without batch axis; only its shape and type count.
    - `shape`: of an input as an image: `(height, width)`, with three colors `(3,
        height, width)` or `(height, width, 3)`; or `(size,)`, which is none and is
        drawn as a map of units and inputs. By default the shape of `x`, a flat `x` of
        n² entries being n × n pixels and one of 3n² three colors.
    - `units`: how many units of each layer to show at most.

    **Raises:**

    - `ValueError`: `shape` doesn't fit `x`, or the input is not one array.
    """
    shape = _image_shape(np.shape(x), shape)
    landscape = Landscape(model, x[None])
    rest = landscape.init()
    names = layer_names(landscape.energy_fn, rest)
    sizes = [leaf.size for leaf in jax.tree.leaves(rest)]
    asked = [np.linspace(0, n - 1, min(n, _ASKED)).round().astype(int) for n in sizes]
    fields = receptive_fields(model, x, asked)
    figure, axes = new_figure(1, len(names))
    heights = []
    for k, (one, name) in enumerate(zip(axes, names, strict=True)):
        chosen = _largest(fields[name], units)
        some = fields[name][chosen].reshape(-1, *shape)
        heights.append(_draw(figure, one, some, asked[k][chosen]))
        which = "all" if len(some) == sizes[k] else f"{len(some)} largest of"
        through = ", through the layers before" if k else ""
        one.set_title(f"{name}: {which} {sizes[k]} units{through}", fontsize=9)
    figure.set_size_inches(7.0, sum(heights))
    grid = axes[0].get_gridspec()
    assert grid is not None
    grid.set_height_ratios(heights)
    return figure


def _largest(fields: np.ndarray, count: int) -> np.ndarray:
    """The indices of the largest, the largest first; of all if there aren't more."""
    if len(fields) <= count:
        return np.arange(len(fields))
    norms = np.linalg.norm(fields.reshape(len(fields), -1), axis=1)
    return np.argsort(-norms, kind="stable")[:count]


def mosaic(images: Float[np.ndarray, "n h w *c"]) -> Float[np.ndarray, "H W *c"]:
    """Images in rows of ten, a line of NaN between them."""
    n, h, w, *colors = images.shape
    rows, columns = -(-n // _COLUMNS), min(n, _COLUMNS)
    whole = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, *colors), np.nan)
    for k, image in enumerate(images):
        i, j = (k // _COLUMNS) * (h + 1), (k % _COLUMNS) * (w + 1)
        whole[i : i + h, j : j + w] = image
    return whole


def _draw(figure: Any, axes: Any, fields: np.ndarray, units: np.ndarray) -> float:
    """Draws the fields of one layer; the height in inches that they need."""
    scale = max(float(np.quantile(np.abs(fields), 0.99)), 1e-12)
    look = {"cmap": "gray", "vmin": -scale, "vmax": scale, "interpolation": "nearest"}
    axes.grid(False)
    if fields.ndim == 2:
        drawn = axes.imshow(fields, aspect="auto", **look)
        axes.set(xlabel="input", ylabel="unit")
        every = max(1, len(units) // 5)
        axes.set_yticks(np.arange(len(units))[::every], units[::every])
        height = 0.9 + min(0.12 * max(len(units), 6), 3.0)
    else:
        colored = fields.ndim == 4
        if colored:
            fields = np.moveaxis(fields, 1, -1) if fields.shape[1] == 3 else fields
        whole = mosaic(fields)
        if colored:
            shown = np.clip(0.5 + 0.5 * whole / scale, 0, 1)
            # White between the images: NaN has no color of its own here.
            drawn = axes.imshow(np.nan_to_num(shown, nan=1.0), **look)
        else:
            drawn = axes.imshow(whole, **look)
        h, w = fields.shape[1:3]
        axes.set(xticks=(), yticks=(), xlabel=f"{h} × {w} inputs for each unit")
        axes.spines[:].set_visible(False)
        height = 0.65 + 6.0 * whole.shape[0] / (_COLUMNS * (w + 1) - 1)
    # Beside the images themselves, which rarely fill the panel.
    bar = axes.inset_axes((1.015, 0.0, 0.015, 1.0))
    figure.colorbar(drawn, cax=bar, label="weight")
    return height


def _image_shape(
    shape: tuple[int, ...], given: Sequence[int] | None
) -> tuple[int, ...]:
    size = math.prod(shape)
    if given is not None:
        given = tuple(given)
        if math.prod(given) != size or not _drawable(given):
            raise ValueError(
                f"`shape` is {given}, but an input has {size} entries. Pass the height "
                "and width of the image, as in `(28, 28)`, with three colors `(3, 32, "
                f"32)`, or for inputs that are no image `({size},)`."
            )
        return given
    if _drawable(shape) and len(shape) > 1:
        return shape
    if len(shape) == 3 and 1 in (shape[0], shape[2]):
        return shape[1:] if shape[0] == 1 else shape[:2]
    for colors in ((), (3,)):
        side = math.isqrt(size // (3 if colors else 1))
        if math.prod((*colors, side, side)) == size and side >= _SMALLEST_SIDE:
            return (*colors, side, side)
    return (size,)


def _drawable(shape: tuple[int, ...]) -> bool:
    return len(shape) in (1, 2) or (len(shape) == 3 and 3 in (shape[0], shape[2]))
