from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from .._landscape import Landscape
from .._scalars import state_size


def largest_change(a: PyTree[Array], b: PyTree[Array]) -> Float[Array, " batch"]:
    """The largest |a − b| of every example."""
    return state_size(jax.tree.map(jnp.subtract, a, b))


def replaced(
    leaves: Sequence[Array], where: Sequence[int], parts: Sequence[Array]
) -> list[Array]:
    """The leaves with some replaced."""
    new = list(leaves)
    for k, part in zip(where, parts, strict=True):
        new[k] = part
    return new


def seen_anew(
    landscape: Landscape,
    state: PyTree[Array],
    drive: PyTree[Array],
    block: Sequence[int],
) -> PyTree[Array]:
    """The drives of a state, from some that are known; those of a block looked at."""
    drives, treedef = jax.tree.flatten(drive)
    return treedef.unflatten(replaced(drives, block, landscape.drive(state, block)))


def require_real(owner: str, landscape: Landscape) -> None:
    """Refuses complex states."""
    if landscape.complex:
        raise ValueError(
            f"`{owner}` takes steps that lower the energy, but complex energies have "
            "no order. Use `ep.Euler(step_size=0.5)`, `ep.FixedPoint(damping=0.5)` or "
            "`ep.BlockCoordinate()`."
        )


def require_bounded_curvature(owner: str, landscape: Landscape) -> None:
    """Refuses units whose G″ is unbounded: explicit steps cycle near their walls."""
    require_continuous(owner, landscape)
    for unit in landscape.leaf_units():
        if unit.curvature[1] == float("inf"):
            raise ValueError(
                f"`{owner}` needs units whose potential has bounded curvature, but "
                f"`units` holds `{unit}`, whose force is infinite at its boundary: "
                "explicit steps would cycle there. Use `ep.FixedPoint(damping=0.5)`, "
                "which is the integrator for such units."
            )


def require_potential(owner: str, landscape: Landscape) -> None:
    """Refuses units without self-potential, which have no activation."""
    for unit in landscape.leaf_units():
        if unit.curvature[0] <= 0:
            raise ValueError(
                f"`{owner}` needs units with a potential, but `units` holds `{unit}`. "
                "Pass `units=ep.HardSigmoid()` (or another unit) and drop the matching "
                "½s² from your energy, or use `ep.Euler` or `ep.AdaptiveEuler`."
            )


def require_continuous(owner: str, landscape: Landscape) -> None:
    """Refuses binary units, which can't move in small steps."""
    for unit in landscape.leaf_units():
        if unit.binary:
            raise ValueError(
                f"`{owner}` moves states in small steps, but `units` holds `{unit}`, "
                "whose states are 0 and 1 alone. Sample them by "
                "`ep.Gibbs(temperature=0.1)`, or go to a minimum, layer by layer, with "
                "`ep.BlockCoordinate()`."
            )


def require_affine(owner: str, landscape: Landscape) -> None:
    """Refuses interactions that are not affine in every layer, and nudged outputs that
    are not one leaf."""
    for k, neighbors in enumerate(landscape.couplings()):
        if k in neighbors and k not in landscape.held:
            raise ValueError(
                f"`{owner}` needs an interaction that is affine in every layer, "
                f"but in layer {k} of the state it is not: a lateral coupling, or a "
                "curved activation of the layer itself. Its minimum is not "
                "`activate(drive)`, and sweeping by it can cycle. Use "
                "`ep.Nesterov()`, or `ep.FixedPoint(damping=0.5)` where the coupling "
                "is weak."
            )
    if landscape.beta is None or landscape.affine_nudge:
        return
    if landscape.output_leaf() is None:
        raise ValueError(
            f"`{owner}` needs a nudged output that is one leaf of the state, "
            "but `output` computes something of it. Return a leaf as it is, as in "
            "`output=lambda state: state[1]`, or use `ep.FixedPoint(damping=0.5)`."
        )
