import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from .._program import flattened
from ._lanes import with_lanes
from ._products import matrix_first, multiplies_known, turned_product
from ._rules import RULES, run_by_columns


# To multiply a few rows by a matrix, XLA repacks the matrix for every product on a CPU;
# to multiply it by a few columns, it takes it as it lies. With fewer columns than fill
# a vector, with enough of them to repay the packing, or with a matrix that stays in
# the cache, rows are as fast (`benchmarks/columns.py` measures it).
_COLUMNS = range(8, 64)
_LARGE_MATRIX = 1 << 19


class Columns:
    """A traced step of one example, to be taken by many as columns.

    What depends on the parameters alone, or on what doesn't move, is computed once.

    **Arguments:**

    - `step`: `step(known, still, moving) -> moving`, pytrees of arrays, for a batch of
        one example.
    - `known`: what all examples share: parameters, numbers.
    - `still`: what belongs to an example and stays, by [`as_lanes`][].
    - `moving`: what a step changes, by [`as_lanes`][].
    """

    def __init__(
        self,
        step: Callable[..., PyTree],
        known: PyTree[Array],
        still: PyTree[Array],
        moving: PyTree[Array],
    ):
        one = jax.tree.map(lambda a: a[..., 0, 0], (still, moving))
        closed = jax.make_jaxpr(step)(known, *one)
        sizes = [len(jax.tree.leaves(part)) for part in (known, still, moving)]
        lines, names, self._outputs = flattened(closed)
        self._known, self._still, self._moving = _cut(names, sizes)
        self._shared, self._before, self._during = [], [], []
        known, moves = set(self._known), set(self._moving)
        for line in lines:
            if any(name in moves for name in line.inputs):
                self._during.append(line)
                moves.update(line.targets)
            elif all(name in known for name in line.inputs):
                self._shared.append(line)
                known.update(line.targets)
            else:
                self._before.append(line)
        self._large = any(
            name in known and math.prod(shape) >= _LARGE_MATRIX
            for line in self._during
            if line.primitive.name == "dot_general"
            for name, shape in zip(line.sources, line.shapes, strict=True)
        )

    def suitable(self) -> bool:
        """Whether all operations of the step can be taken by columns, and one of them
        multiplies by a large matrix."""
        taken = (*self._before, *self._during)
        return self._large and all(line.primitive.name in RULES for line in taken)

    def prepared(
        self, known: PyTree[Array], still: PyTree[Array]
    ) -> Callable[[PyTree[Array]], PyTree[Array]]:
        """The step of all examples, from `moving` to `moving`, for these values of
        `known` and `still`."""
        known = dict(zip(self._known, jax.tree.leaves(known), strict=True))
        lanes = dict(zip(self._still, jax.tree.leaves(still), strict=True))
        for line in self._shared:
            known |= line.run_plainly(known)
        for line in self._before:
            lanes |= run_by_columns(line, known, lanes)
        turned = {
            id(line): matrix_first(line, known)
            for line in self._during
            if multiplies_known(line, known)
        }

        def step(moving):
            leaves, treedef = jax.tree.flatten(moving)
            values = lanes | dict(zip(self._moving, leaves, strict=True))
            for line in self._during:
                if id(line) in turned:
                    values |= turned_product(line, turned[id(line)], values)
                else:
                    values |= run_by_columns(line, known, values)
            out = [
                _output(name, known, values, like)
                for name, like in zip(self._outputs, leaves, strict=True)
            ]
            return jax.tree.unflatten(treedef, out)

        return step


def pays(phases: int, examples: int, parameters: PyTree[Any]) -> bool:
    """Whether columns can be faster for so many, with these parameters: what can be
    told before a step is traced."""
    return (
        phases * examples in _COLUMNS
        and any(
            leaf.size >= _LARGE_MATRIX
            for leaf in jax.tree.leaves(parameters)
            if eqx.is_array(leaf)
        )
        and jax.default_backend() == "cpu"
    )


def _cut(items: Sequence[Any], sizes: Sequence[int]) -> list[list[Any]]:
    rest = iter(items)
    return [list(itertools.islice(rest, size)) for size in sizes]


def _output(
    name: Any, known: dict[int, Array], lanes: dict[int, Array], like: Array
) -> Array:
    if isinstance(name, int) and name in lanes:
        return jnp.broadcast_to(lanes[name], like.shape)
    value = known[name] if isinstance(name, int) else name.value
    return jnp.broadcast_to(with_lanes(value, jnp.ndim(value)), like.shape)
