"""What a page may ask for: messages, checked before anything is done."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...diagnostics import parameters_by_name
from ._choices import SOLVERS
from ._session import Session


# A drawing of 256 × 256 pixels fits; nothing that is longer is a message of the page.
LARGEST_MESSAGE = 1 << 18

Message = Mapping[str, Any]


def parse(text: str | bytes) -> Message:
    """The message that a text is.

    **Raises:**

    - `ValueError`: it is none.
    """
    if len(text) > LARGEST_MESSAGE:
        raise ValueError(f"A message of {len(text)} characters is too long.")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError("A message must be JSON.") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ValueError("A message must be a JSON object with a `type`.")
    return message


def perform(session: Session, message: Message) -> None:
    """Does what a message asks for.

    **Raises:**

    - `ValueError`: it can't be done; says why.
    """
    command = _COMMANDS.get(message["type"])
    if command is None:
        known = ", ".join(_COMMANDS)
        raise ValueError(f"`{message['type'][:40]}` is no command. There are: {known}.")
    command(session, message)


def number(message: Message, field: str, low: float | int, high: float | int) -> float:
    """A field that must be a number from `low` to `high`."""
    value = message.get(field)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not low <= value <= high
    ):
        raise ValueError(
            f"`{field}` of `{message['type']}` must be a number from {low:g} to "
            f"{high:g}."
        )
    return float(value)


def _integer(message: Message, field: str, low: int, high: int) -> int:
    value = number(message, field, low, high)
    if value != int(value):
        raise ValueError(f"`{field}` of `{message['type']}` must be an integer.")
    return int(value)


def _one_of(message: Message, field: str, names: Sequence[str]) -> str:
    value = message.get(field)
    if not isinstance(value, str) or value not in names:
        raise ValueError(
            f"`{field}` of `{message['type']}` must be one of {', '.join(names)}."
        )
    return value


def _pick(session: Session, message: Message) -> None:
    session.pick(_integer(message, "index", 0, len(session.subject) - 1))


def _draw(session: Session, message: Message) -> None:
    picture, pixels = session.subject.picture, message.get("pixels")
    if picture is None:
        raise ValueError("The inputs of this network can't be drawn. Pick an example.")
    count = picture[0] * picture[1]
    if not isinstance(pixels, list) or len(pixels) != count:
        raise ValueError(f"`pixels` of `draw` must be a list of {count} numbers.")
    try:
        values = np.asarray(pixels, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError("`pixels` of `draw` must be numbers.") from error
    if values.shape != (count,) or not np.all((values >= 0) & (values <= 255)):
        raise ValueError("`pixels` of `draw` must be numbers from 0 to 255.")
    session.draw(values / 255)


def _aim(session: Session, message: Message) -> None:
    if session.subject.classes is None:
        raise ValueError("The targets of this network are no classes.")
    session.aim(_integer(message, "class", 0, session.subject.classes - 1))


def _solver(session: Session, message: Message) -> None:
    name = _one_of(message, "name", list(session.solvers))
    choice = SOLVERS[name]
    session.use_solver(name, number(message, "number", choice.low, choice.high))


def _nudging(session: Session, message: Message) -> None:
    name = _one_of(message, "name", session.nudgings)
    beta = number(message, "beta", -2, 2)
    if beta == 0:
        raise ValueError("`beta` of `nudging` is 0, which nudges nothing.")
    session.use_nudging(name, beta)


def _rate(session: Session, message: Message) -> None:
    session.rate = number(message, "rate", 0, 10)


def _watch(session: Session, message: Message) -> None:
    names = list(parameters_by_name(session.model))
    session.watched = _one_of(message, "parameter", names)


def _apply(session: Session, message: Message) -> None:
    session.apply(_integer(message, "times", 1, 100))


_COMMANDS: dict[str, Callable[[Session, Message], None]] = {
    "pick": _pick,
    "draw": _draw,
    "aim": _aim,
    "solver": _solver,
    "nudging": _nudging,
    "rate": _rate,
    "watch": _watch,
    "apply": _apply,
    "undo": lambda session, message: session.undo(),
    "reset": lambda session, message: session.reset(),
    "free": lambda session, message: session.free(),
    "nudge": lambda session, message: session.nudge(),
    "step": lambda session, message: session.step(),
}
