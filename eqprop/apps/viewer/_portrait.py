"""What the page shows of a session: its frames, and what it is told at first."""

from typing import Any

import jax
import numpy as np

from ...diagnostics import parameters_by_name
from ...energies import Hopfield, Network, without_predictor
from ._frame import encode, quantized
from ._maps import update_map
from ._programs import update
from ._session import Session


# Of a layer's units: from here on its saturation is worth a warning.
_SATURATED = 0.95


def introduction(session: Session) -> bytes:
    """What there is to see and to choose from."""
    subject = session.subject
    names = subject.layer_names()
    leaves = jax.tree.leaves(session.relaxing.state)
    units = session.relaxing.landscape.leaf_units()
    output = session.relaxing.landscape.output_leaf()
    header = {
        "kind": "hello",
        "title": subject.title,
        "examples": len(subject),
        "classes": subject.classes,
        "picture": subject.picture,
        "input": [list(leaf.shape[1:]) for leaf in jax.tree.leaves(session.x)],
        "layers": [
            {
                "name": name,
                "shape": list(leaf.shape[1:]),
                "unit": type(unit).__name__,
                "output": k == output,
            }
            for k, (name, leaf, unit) in enumerate(
                zip(names, leaves, units, strict=True)
            )
        ],
        "solvers": {
            name: {
                "label": choice.label,
                "low": choice.low,
                "high": choice.high,
                "start": choice.start,
            }
            for name, choice in session.solvers.items()
        },
        "nudgings": session.nudgings,
        "parameters": list(parameters_by_name(session.model)),
        "certify": float(session.relaxing.solver.certify),
    }
    return encode(header, {})


def portrait(session: Session, answered: int = 0) -> bytes:
    """A picture of a session as it is now.

    **Arguments:**

    - `answered`: the number of the last message that it is an answer to.
    """
    relaxing = session.relaxing
    reading = relaxing.reading
    header: dict[str, Any] = {
        "kind": "frame",
        "answered": answered,
        "phase": session.phase,
        "step": relaxing.steps,
        "settled": session.settled,
        "converged": relaxing.converged,
        "energy": float(reading.energy),
        "cost": float(reading.cost),
        "residual": relaxing.residual,
        "saturated": [float(share) for share in reading.saturated],
        "index": session.index,
        "solver": [session.solver_name, session.number],
        "nudging": [session.nudging_name, session.beta],
        "rate": session.rate,
        "watched": session.watched,
        "updates": session.updates,
        "weights": session.weights,
        "spans": session.curves.spans,
        "notice": session.notice,
        "warnings": _warnings(session),
    }
    arrays = {
        "curves": session.curves.points(),
        "target": np.asarray(session.y[0], np.float32),
        "output": _real(relaxing.landscape.output(relaxing.state)),
        **_named("input", session.x),
        **_named("state", relaxing.state),
    }
    if session.free_state is not None:
        differences = zip(
            jax.tree.leaves(relaxing.state),
            jax.tree.leaves(session.free_state),
            strict=True,
        )
        for k, (nudged, free) in enumerate(differences):
            arrays[f"difference/{k}"] = _real(nudged) - _real(free)
        _add_update(session, header, arrays)
    return encode(header, arrays)


def _add_update(session: Session, header: dict, arrays: dict[str, np.ndarray]) -> None:
    phases = [*session.settled_phases, *session.relaxing.now()]
    gradient, cosines = update(phases, session.exact)
    header["cosines"] = {name: float(value) for name, value in cosines.items()}
    name = session.watched
    change = -session.rate * np.asarray(parameters_by_name(gradient)[name])
    energy = without_predictor(session.model.energy)
    named_layers = isinstance(energy, Network | Hopfield)
    from_input = not named_layers or name.split("-")[0] == "input"
    picture = session.subject.picture if from_input else None
    tiles, header["map"] = update_map(change, picture)
    arrays["update"], header["map_scale"] = quantized(tiles)


def _warnings(session: Session) -> list[str]:
    """What keeps this network from learning, or its gradient from being right."""
    found = []
    relaxing = session.relaxing
    failure = relaxing.failure()
    if failure:
        found.append(f"No equilibrium. {failure}")
    if session.free_state is not None and session.exact is None:
        found.append("The exact gradient is not known: its linear system is singular.")
    # At rest all hard units sit on a wall, which says nothing.
    if session.settled:
        shares = zip(
            session.subject.layer_names(), relaxing.reading.saturated, strict=True
        )
        found += [
            f"{100 * share:.0f} % of the units of {name} are saturated: they pass no "
            "error back."
            for name, share in shares
            if share >= _SATURATED
        ]
    return found


def _named(name: str, tree: Any) -> dict[str, np.ndarray]:
    return {f"{name}/{k}": _real(leaf) for k, leaf in enumerate(jax.tree.leaves(tree))}


def _real(leaf: Any) -> np.ndarray:
    return np.real(np.asarray(leaf[0])).astype(np.float32)
