import difflib
from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Scalar

from ._unit import AbstractUnit
from .interactions import AbstractInteraction


INPUT = "input"


class Layer(eqx.Module):
    """A named group of units of one kind.

    **Arguments:**

    - `name`: by which edges refer to it; `"input"` is reserved for the clamped x.
    - `unit`: what its neurons are.
    - `shape`: shape of its state for one example.
    """

    name: str = eqx.field(static=True)
    unit: AbstractUnit
    shape: tuple[int, ...] = eqx.field(static=True)

    def __check_init__(self):
        if self.name == INPUT:
            raise ValueError(
                '`name="input"` is reserved for the clamped input x. '
                "Call the layer something else."
            )
        if not isinstance(self.shape, tuple) or any(
            not isinstance(n, int) or n < 1 for n in self.shape
        ):
            raise ValueError(
                f"`shape={self.shape}` of layer {self.name!r} must be a tuple of "
                "positive integers, such as `(5,)`."
            )


class Edge(eqx.Module):
    """An interaction together with the layers that it couples.

    **Arguments:**

    - `layers`: names of the coupled layers, in the order in which the interaction
        takes them; `"input"` is the clamped x. A parameter belongs to the last of
        them that isn't the input (this is what per-layer learning rates go by).
    - `interaction`: the term of the energy.
    """

    layers: tuple[str, ...] = eqx.field(static=True, converter=tuple)
    interaction: AbstractInteraction


def check_graph(layers: Sequence[Layer], edges: Sequence[Edge], output: str) -> None:
    """Raises a `ValueError` unless the edges fit the layers."""
    names = [layer.name for layer in layers]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`layers` holds two layers named {twice[0]!r}.")
    if output not in names:
        raise ValueError(f"`output={output!r}` is no layer.{_hint(output, names)}")
    shapes = {layer.name: layer.shape for layer in layers}
    for k, edge in enumerate(edges):
        where = f"`edges[{k}]` ({type(edge.interaction).__name__})"
        for name in edge.layers:
            if name != INPUT and name not in shapes:
                raise ValueError(
                    f"{where} names no layer: {name!r}.{_hint(name, [INPUT, *names])}"
                )
        if INPUT not in edge.layers:
            problem = edge.interaction.check(*(shapes[name] for name in edge.layers))
            if problem is not None:
                raise ValueError(f"{where} between {edge.layers} {problem}.")


def _hint(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    listed = ", ".join(names)
    return (f" Did you mean {close[0]!r}?" if close else "") + f" Layers: {listed}."


def check_input(edges: Sequence[Edge], layers: Sequence[Layer], x: Array) -> None:
    """Raises a `ValueError` unless one example `x` fits the edges that read it."""
    shapes = {layer.name: layer.shape for layer in layers} | {INPUT: x.shape}
    for edge in edges:
        if INPUT in edge.layers:
            problem = edge.interaction.check(*(shapes[name] for name in edge.layers))
            if problem is not None:
                raise ValueError(
                    f"`x` has shape {x.shape} for one example, which does not fit this "
                    f"network: the {type(edge.interaction).__name__} interaction "
                    f"between {edge.layers} {problem}. `x` must be "
                    "[batch, *input shape]."
                )


def values_by_name(
    layers: Sequence[Layer], state: Sequence[Array], x: Array
) -> dict[str, Array]:
    """The state of every layer of one example, and the input, by name."""
    return {layer.name: s for layer, s in zip(layers, state, strict=True)} | {INPUT: x}


def edge_energy(edges: Sequence[Edge], values: dict[str, Array], x: Array) -> Scalar:
    """The sum of the edges' terms for one example."""
    total = jnp.zeros((), x.dtype)
    for edge in edges:
        total = total + edge.interaction(*(values[name] for name in edge.layers))
    return total


def resting_state(layers: Sequence[Layer], x: Array) -> tuple[Array, ...]:
    """Every layer at the feasible point nearest to zero."""
    return tuple(
        layer.unit.project(jnp.zeros(layer.shape, x.dtype)) for layer in layers
    )
