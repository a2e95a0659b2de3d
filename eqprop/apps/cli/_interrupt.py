"""Ctrl-C: the first asks to stop, the second aborts."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_on_interrupt(note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Yields a function that says whether Ctrl-C was pressed.

    **Arguments:**

    - `note`: told, once, that it was.
    """
    pressed = threading.Event()

    def handle(number: int, frame: object) -> None:
        # The system's own handling: it ends the process even inside compiled code,
        # where Python's handlers wait.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        pressed.set()
        note("Stopping; a checkpoint is being saved. Ctrl-C again aborts at once.")

    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
