"""Which parts of a state does each drive depend on? Read off the traced function, so
that a user's own energy gets its blocks and colors without declaring anything."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend.core import Literal


def dependencies(
    fn: Callable[..., Sequence[jax.Array]], args: Sequence[jax.ShapeDtypeStruct]
) -> list[frozenset[int]]:
    """For each output of `fn(*args)`, which of its arguments it may depend on.

    Conservative: an output that depends on an argument is never missed, while one
    whose dependence cancels may be listed.
    """
    closed = jax.make_jaxpr(fn)(*args)
    return _propagate(closed.jaxpr, [frozenset({k}) for k in range(len(args))])


def _propagate(jaxpr, inputs: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    reach = dict(zip(jaxpr.invars, inputs, strict=True))

    def read(var) -> frozenset[int]:
        nothing: frozenset[int] = frozenset()
        return nothing if isinstance(var, Literal) else reach.get(var, nothing)

    for eqn in jaxpr.eqns:
        sources = [read(var) for var in eqn.invars]
        inner = eqn.params.get("jaxpr")
        if eqn.primitive.name in ("jit", "pjit") and inner is not None:
            targets = _propagate(inner.jaxpr, sources)
        else:
            targets = [frozenset().union(*sources)] * len(eqn.outvars)
        reach.update(zip(eqn.outvars, targets, strict=True))
    return [read(var) for var in jaxpr.outvars]


def color(neighbors: Sequence[frozenset[int]]) -> tuple[tuple[int, ...], ...]:
    """Groups of nodes without an edge inside a group: greedy coloring in order.

    A chain gets two colors, with its first node in the first.
    """
    colors: dict[int, int] = {}
    for node in _breadth_first(neighbors):
        near = {
            other
            for other in colors
            if other in neighbors[node] or node in neighbors[other]
        }
        taken = {colors[other] for other in near}
        colors[node] = next(c for c in range(len(neighbors)) if c not in taken)
    count = max(colors.values(), default=-1) + 1
    return tuple(
        tuple(sorted(node for node in colors if colors[node] == c))
        for c in range(count)
    )


def _breadth_first(neighbors: Sequence[frozenset[int]]) -> list[int]:
    # In this order greedy coloring finds two colors wherever two suffice.
    order: list[int] = []
    for root in range(len(neighbors)):
        queue = [root] if root not in order else []
        while queue:
            node = queue.pop(0)
            if node in order:
                continue
            order.append(node)
            queue += [
                k
                for k in range(len(neighbors))
                if k in neighbors[node] or node in neighbors[k]
            ]
    return order


def picked_leaves(where: Callable[[Any], Any], treedef: Any) -> tuple[int, ...] | None:
    """Which leaves of a tree `where` picks; `None` if it computes something of them."""
    marks = [_Leaf(k) for k in range(treedef.num_leaves)]
    try:
        picked = jax.tree.leaves(where(jax.tree.unflatten(treedef, marks)))
    except Exception:
        return None
    if not all(isinstance(mark, _Leaf) for mark in picked):
        return None
    return tuple(mark.index for mark in picked)


class _Leaf:
    """Stands for one leaf of a state, to find out which one a function picks."""

    def __init__(self, index: int):
        self.index = index
