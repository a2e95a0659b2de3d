"""Products of a matrix that all examples share with what each has for itself: the
matrix on the left, as it lies in memory."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array

from .._program import Line
from ._lanes import LANES


def multiplies_known(line: Line, known: dict[int, Array]) -> bool:
    """Whether it is a product of a matrix that all examples share, with a vector."""
    if line.primitive.name != "dot_general":
        return False
    (contracted, _), (batched, _) = line.params["dimension_numbers"]
    sides = [not isinstance(s, int) or s in known for s in line.sources]
    return sum(sides) == 1 and len(contracted) > 0 and len(batched) == 0


def matrix_first(line: Line, known: dict[int, Array]) -> Array:
    """The known operand of a product as a matrix whose columns are summed over."""
    side = _known_side(line, known)
    source = line.sources[side]
    value = known[source] if isinstance(source, int) else jnp.asarray(source.value)
    summed = line.params["dimension_numbers"][0][side]
    free = [k for k in range(value.ndim) if k not in summed]
    order = (*free, *summed)
    count = math.prod(value.shape[k] for k in summed)
    if order == tuple(range(value.ndim)):
        return value.reshape(-1, count)
    # Turned once, before the loop: left to itself XLA would do so in every product.
    return jax.lax.optimization_barrier(value.transpose(order).reshape(-1, count))


def _known_side(line: Line, known: dict[int, Array]) -> int:
    first = line.sources[0]
    return 0 if not isinstance(first, int) or first in known else 1


def turned_product(
    line: Line, matrix: Array, lanes: dict[int, Array]
) -> dict[int, Array]:
    """The product of [`matrix_first`][]'s matrix with all columns at once."""
    side = 0 if line.sources[0] in lanes else 1
    value = lanes[line.sources[side]]
    numbers = line.params["dimension_numbers"][0]
    summed, others = numbers[side], numbers[1 - side]
    shape = line.shapes[side]
    free = [k for k in range(len(shape)) if k not in summed]
    order = (*summed, *free, len(shape), len(shape) + 1)
    columns = value.transpose(order).reshape(matrix.shape[1], -1)
    out = jax.lax.dot_general(
        matrix,
        columns,
        (((1,), (0,)), ((), ())),
        precision=line.params["precision"],
        preferred_element_type=line.params["preferred_element_type"],
    )
    given = line.shapes[1 - side]
    theirs = [given[k] for k in range(len(given)) if k not in others]
    mine = [shape[k] for k in free]
    out = out.reshape(*theirs, *mine, *value.shape[-LANES:])
    if side == 0:
        # The order of the operands is that of the result's axes.
        own = len(theirs) + len(mine)
        swap = (*range(len(theirs), own), *range(len(theirs)), own, own + 1)
        out = out.transpose(swap)
    return {line.targets[0]: out}
