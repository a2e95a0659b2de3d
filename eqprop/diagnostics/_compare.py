import dataclasses

import numpy as np
from jaxtyping import Array

from ..energies import Model
from ._parameters import parameters_by_name


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How like two gradients are.

    **Attributes:**

    - `cosine`: $⟨g, r⟩/(‖g‖‖r‖)$, 1 for the same direction; NaN if one is zero and the
        other is not.
    - `error`: $‖g - r‖/‖r‖$.
    """

    cosine: float
    error: float


def compare(
    gradient: Model, reference: Model, where: dict[str, Array] | None = None
) -> dict[str, Likeness]:
    """Compares a gradient with a reference, parameter by parameter.

    **Arguments:**

    - `gradient`, `reference`: pytrees like one model.
    - `where`: for each parameter which entries of the flattened array to compare, if
        not all: those that [`eqprop.diagnostics.finite_difference`][] measured.

    **Returns:**

    A [`eqprop.diagnostics.Likeness`][] for each parameter by name, and one for all of
    them together under `"all"`.
    """
    found, wanted = parameters_by_name(gradient), parameters_by_name(reference)
    if found.keys() != wanted.keys():
        raise ValueError(
            f"`gradient` has the parameters {list(found)}, but `reference` has "
            f"{list(wanted)}. Estimate both from the same model."
        )
    rows, all_g, all_r = {}, [], []
    for name, leaf in found.items():
        g, r = _flat(leaf), _flat(wanted[name])
        if where is not None:
            g, r = g[np.asarray(where[name])], r[np.asarray(where[name])]
        rows[name] = likeness(g, r)
        all_g.append(g)
        all_r.append(r)
    rows["all"] = likeness(np.concatenate(all_g), np.concatenate(all_r))
    return rows


def likeness(g: np.ndarray, r: np.ndarray) -> Likeness:
    """The likeness of two vectors."""
    norm_g, norm_r = np.linalg.norm(g), np.linalg.norm(r)
    if norm_g == 0 and norm_r == 0:
        return Likeness(1.0, 0.0)
    if norm_g == 0 or norm_r == 0:
        return Likeness(np.nan, 1.0 if norm_g == 0 else np.inf)
    # Divided one by one: the product of two small norms could vanish.
    cosine = float((g / norm_g) @ (r / norm_r))
    return Likeness(cosine, float(np.linalg.norm(g - r) / norm_r))


def _flat(leaf: Array) -> np.ndarray:
    return np.asarray(leaf, np.float64).ravel()
