"""The viewer in a notebook: the same page as an anywidget."""

import json
import threading
from pathlib import Path
from typing import Any

import anywidget

from ...energies import Model
from ._player import Player
from ._subject import of_arrays


_FOLDER = Path(__file__).parent / "page"


class ViewerWidget(anywidget.AnyWidget):
    """A network one can watch relax, in Jupyter, Colab or marimo.

    Make it the last line of a cell. It watches, and may change, its own copy of the
    weights: `model` stays as it is.

    **Arguments:**

    - `model`: the network, with any energy.
    - `data`: examples to show it: `ep.data.digits()`, a part of it, or a pair `(x, y)`.
    - `title`: what the page calls it.

    **Raises:**

    - `ValueError`: the examples don't fit the model, or no solver suits it.
    """

    _esm = _FOLDER / "viewer.js"
    _css = _FOLDER / "viewer.css"

    def __init__(self, model: Model, data: Any, *, title: str = "network"):
        super().__init__()
        self._subject = of_arrays(model, data, title)
        self._player: Player | None = None
        self._lock = threading.Lock()
        self._waiting: bytes | None = None
        self._shown = True
        self.on_msg(self._receive)

    def close(self) -> None:
        """Ends the network's thread, and the widget."""
        if self._player is not None:
            self._player.stop()
        super().close()

    def _receive(self, widget: Any, message: Any, buffers: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else None
        if kind == "open":
            # A page that opens again, as after a reload, starts anew.
            if self._player is not None:
                self._player.stop()
            self._player, self._shown = Player(self._subject, self._publish), True
            self._player.start()
        elif kind == "shown":
            self._send_waiting()
        elif self._player is not None:
            self._player.submit(json.dumps(message))

    def _publish(self, frame: bytes, replaces: bool) -> None:
        if not replaces:
            self.send({}, buffers=[frame])
            return
        with self._lock:
            self._waiting = frame
            ready = self._shown
        if ready:
            self._send_waiting()

    def _send_waiting(self) -> None:
        """The latest picture, once the page has shown the one before."""
        with self._lock:
            frame, self._waiting = self._waiting, None
            self._shown = frame is None
        if frame is not None:
            self.send({}, buffers=[frame])
