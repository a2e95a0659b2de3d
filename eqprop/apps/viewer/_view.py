import atexit
import socket
import threading
import time
import webbrowser
from types import TracebackType
from typing import Any

from ...energies import Model
from ._commands import LARGEST_MESSAGE
from ._portrait import portrait
from ._session import Session
from ._subject import of_arrays, Subject


class View:
    """A viewer that is being served.

    **Attributes:**

    - `url`: where the page is, with the token that opens it.

    It ends with `close`, or as a context manager.

    **Arguments:**

    - `subject`: what is watched.
    - `port`: where it is served, on the loopback address; 0 takes a free port.

    **Raises:**

    - `ImportError`: what serves pages isn't installed.
    - `OSError`: the port is taken.
    """

    def __init__(self, subject: Subject, port: int = 0):
        require_server()
        import uvicorn

        from ._server import Server

        self._socket = _listen(port)
        warm_up(subject)
        self._server = Server(subject, self._socket.getsockname()[1])
        self.url = self._server.url
        config = uvicorn.Config(
            self._server.app,
            log_level="error",
            access_log=False,
            ws="websockets-sansio",
            ws_max_size=LARGEST_MESSAGE,
            timeout_graceful_shutdown=2,
            server_header=False,
        )
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._uvicorn.run, args=([self._socket],), daemon=True
        )
        self._thread.start()
        # A thread of JAX that is cut off at the process's end aborts it.
        atexit.register(self.close)
        while not self._uvicorn.started and self._thread.is_alive():
            time.sleep(0.01)

    def open(self) -> None:
        """Opens the page in the user's browser."""
        webbrowser.open(self.url)

    def wait(self) -> None:
        """Serves until the process is interrupted."""
        while self._thread.is_alive():
            self._thread.join(0.5)

    def close(self) -> None:
        """Ends the server."""
        self._uvicorn.should_exit = True
        self._thread.join()
        self._server.stop()
        atexit.unregister(self.close)

    def __enter__(self) -> "View":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


# The one address that is served: this machine's own, which no other can reach.
_HOST = "127.0.0.1"


def view(
    model: Model, data: Any, *, title: str = "network", port: int = 0, open: bool = True
) -> View:
    """Shows a network relax, in the browser: also one of your own energy.

    The page is served to this machine alone; its address carries a random token. Every
    page that opens it watches, and may change, its own copy of the weights: `model`
    stays as it is.

    **Arguments:**

    - `model`: the network.
    - `data`: examples to show it: `ep.data.digits()`, a part of it, or a pair `(x, y)`.
    - `title`: what the page calls it.
    - `port`: where to serve; 0 takes a free port.
    - `open`: whether to open the page in a browser.

    **Returns:**

    A `View` with the page's `url`; `close()` ends it, as does the end of the process.

    **Raises:**

    - `ValueError`: the examples don't fit the model, or no solver suits it.
    - `OSError`: the port is taken.
    """
    shown = View(of_arrays(model, data, title), port)
    if open:
        shown.open()
    return shown


def require_server() -> None:
    """Raises, before anything is compiled, unless pages can be served.

    **Raises:**

    - `ImportError`: what serves pages isn't installed.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "The viewer needs starlette, uvicorn and websockets: "
            '`pip install "eqprop[view]"`.'
        ) from error


def warm_up(subject: Subject) -> None:
    """Compiles what the first page needs, before it is there."""
    session = Session(subject)
    for name, choice in session.solvers.items():
        session.use_solver(name, choice.start)
        session.step()
    first = subject.solver and type(subject.solver).__name__
    name = first if first in session.solvers else next(iter(session.solvers))
    session.use_solver(name, session.solvers[name].start)
    session.nudge()
    session.step()
    portrait(session)


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
    except OSError as error:
        listener.close()
        raise OSError(
            error.errno,
            f"Port {port} can't be used: {error.strerror}. Choose another `--port`, "
            "or 0 for a free one",
        ) from error
    return listener
