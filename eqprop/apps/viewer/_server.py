"""The page over HTTP and one WebSocket, for this machine alone."""

import asyncio
import secrets
from collections import deque
from contextlib import suppress
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from ._player import Player
from ._subject import Subject


_HOST = "127.0.0.1"
# Pages open at the same time. Each has a network of its own, and a thread.
_PAGES = 4
_FOLDER = Path(__file__).parent / "page"
_FILES = {
    "index.html": "text/html; charset=utf-8",
    "viewer.css": "text/css; charset=utf-8",
    "viewer.js": "text/javascript; charset=utf-8",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
        "data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Server:
    """Serves one subject; every page that opens gets a network of its own.

    Only requests that carry the token and name this server as their host are answered;
    a WebSocket must come from this server's own page.

    **Arguments:**

    - `subject`: what is watched.
    - `port`: the port that it is served at.
    """

    def __init__(self, subject: Subject, port: int):
        self._subject = subject
        self._token = secrets.token_urlsafe(24)
        self._hosts = {f"{name}:{port}" for name in (_HOST, "localhost")}
        self._players: set[Player] = set()
        self.url = f"http://{_HOST}:{port}/{self._token}/"
        self.app = Starlette(
            routes=[
                Route("/{token}/{name:path}", self._file),
                WebSocketRoute("/{token}/socket", self._socket),
            ]
        )

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"] or "index.html"
        if not self._admits(request) or name not in _FILES:
            return Response("Not found.", 404, _HEADERS, "text/plain")
        content = (_FOLDER / name).read_bytes()
        return Response(content, 200, _HEADERS, _FILES[name])

    async def _socket(self, socket: WebSocket) -> None:
        origin = socket.headers.get("origin", "")
        own = origin.removeprefix("http://")
        if not self._admits(socket) or own == origin or own not in self._hosts:
            await socket.close(1008)  # before it is accepted: answered with 403
            return
        # A page that is gone holds its place until its thread has ended.
        self._players = {player for player in self._players if player.playing}
        if len(self._players) >= _PAGES:
            await socket.accept()
            await socket.close(1013, f"{_PAGES} pages are open already; close one.")
            return
        outbox = _Outbox()
        player = Player(self._subject, outbox.put)
        self._players.add(player)
        player.start()
        await socket.accept()
        sender = asyncio.create_task(_send(socket, outbox))
        try:
            await _receive(socket, player)
        finally:
            player.stop()
            sender.cancel()
            with suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sender

    def stop(self) -> None:
        """Ends all threads, each after the step that it is at."""
        for player in self._players:
            player.stop()
        for player in self._players:
            player.join()

    def _admits(self, request: Request | WebSocket) -> bool:
        token = request.path_params["token"]
        same = secrets.compare_digest(token.encode(), self._token.encode())
        return same and request.headers.get("host", "") in self._hosts


class _Outbox:
    """Frames from a player's thread to the event loop: answers in order, of pictures
    only the latest."""

    def __init__(self):
        self._loop = asyncio.get_running_loop()
        self._answers: deque[bytes] = deque()
        self._picture: bytes | None = None
        self._filled = asyncio.Event()

    def put(self, frame: bytes, replaces: bool) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._place, frame, replaces)

    def _place(self, frame: bytes, replaces: bool) -> None:
        if replaces:
            self._picture = frame
        else:
            self._answers.append(frame)
        self._filled.set()

    async def get(self) -> bytes:
        while not self._answers and self._picture is None:
            self._filled.clear()
            await self._filled.wait()
        if self._answers:
            return self._answers.popleft()
        frame, self._picture = self._picture, None
        assert frame is not None
        return frame


async def _send(socket: WebSocket, outbox: _Outbox) -> None:
    while True:
        await socket.send_bytes(await outbox.get())


async def _receive(socket: WebSocket, player: Player) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        player.submit(message.get("bytes") or b"" if text is None else text)
