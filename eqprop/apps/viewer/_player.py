"""Plays a session: steps it at a chosen speed, does what messages ask for, and hands on
pictures of it. All JAX work of one page happens in its player's thread."""

import queue
import threading
import time
from collections.abc import Callable

from ._commands import number, parse, perform
from ._frame import encode
from ._portrait import introduction, portrait
from ._session import Session
from ._subject import Subject


# Pictures a second while something moves. Faster steps share a picture.
_RATE = 60.0
# Messages that may wait. A page never sends so many; a flood must not fill the memory.
_WAITING = 256


class Player:
    """A thread that plays a session.

    **Arguments:**

    - `subject`: what is watched.
    - `publish`: called from the thread with every frame, and whether a newer one
        replaces it: pictures are replaced, answers are not.
    """

    def __init__(self, subject: Subject, publish: Callable[[bytes, bool], None]):
        self._subject = subject
        self._publish = publish
        # Not a SimpleQueue: in CPython 3.11 its `get` may wait forever where a timeout
        # runs out while it wakes.
        self._messages: queue.Queue[str | bytes | None] = queue.Queue()
        self._running = True
        self._speed = 20.0
        self._owed = 0.0
        self._answered = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)

    def start(self) -> None:
        """Starts playing; introduces the session first."""
        self._thread.start()

    def submit(self, text: str | bytes) -> None:
        """Hands over a message; it is left out where too many wait already."""
        if self._messages.qsize() < _WAITING:
            self._messages.put(text)

    def stop(self) -> None:
        """Ends the thread, after the step under way; messages that wait are left."""
        self._ended.set()
        self._messages.put(None)  # wakes it

    def join(self) -> None:
        """Waits for the thread's end."""
        self._thread.join()

    @property
    def playing(self) -> bool:
        """Whether the thread has not ended yet."""
        return self._thread.is_alive()

    def _play(self) -> None:
        try:
            self._follow(Session(self._subject))
        except Exception as error:
            # The page must not wait for a picture that never comes.
            self._complain(f"The viewer has failed; reload the page. {error}")
            raise

    def _follow(self, session: Session) -> None:
        self._publish(introduction(session), False)
        self._publish(portrait(session, self._answered), True)
        last = time.monotonic()
        while not self._ended.is_set():
            moving = self._running and not session.settled
            try:
                text = self._next(last + 1 / _RATE if moving else None)
            except queue.Empty:
                pass
            else:
                if text is None:
                    return
                self._perform(session, text)
                self._publish(portrait(session, self._answered), True)
                continue
            now = time.monotonic()
            self._owed += min(now - last, 0.1) * self._speed
            last = now
            steps, self._owed = int(self._owed), self._owed % 1
            for _ in range(steps):
                if session.settled or not self._messages.empty():
                    break
                session.step()
            if steps:
                self._publish(portrait(session, self._answered), True)

    def _next(self, until: float | None) -> str | bytes | None:
        """The next message. Raises `queue.Empty` when it is time for a picture."""
        if until is None:
            return self._messages.get()
        return self._messages.get(timeout=max(1e-6, until - time.monotonic()))

    def _perform(self, session: Session, text: str | bytes) -> None:
        session.notice = ""
        try:
            message = parse(text)
            # The page tells by it which pictures are older than what it has asked for.
            self._answered = int(number({"serial": 0, **message}, "serial", 0, 2**53))
            kind = message["type"]
            if kind == "run":
                self._running = True
            elif kind == "pause":
                self._running = False
            elif kind == "speed":
                self._speed = number(message, "steps", 1, 1000)
            else:
                self._running = self._running and kind != "step"
                perform(session, message)
        except (ValueError, ArithmeticError) as error:
            # Of one message: the network and the next message are none the worse.
            self._complain(str(error))

    def _complain(self, text: str) -> None:
        self._publish(encode({"kind": "error", "message": text}, {}), False)
