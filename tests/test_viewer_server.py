"""The viewer's server answers its own page alone, and survives whatever it is sent."""

import contextlib
import http.client
import json
import queue
import re
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from eqprop.apps.viewer import decode, Subject
from eqprop.apps.viewer._commands import _COMMANDS, LARGEST_MESSAGE, parse, perform
from eqprop.apps.viewer._player import Player
from eqprop.apps.viewer._session import Session
from helpers_training import chain, examples
from viewer_process import EQPROP, serving


@pytest.fixture(scope="module")
def url():
    with serving() as url:
        yield url


def get(url: str, path: str | None = None, **headers: str):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)
    connection.request("GET", parts.path if path is None else path, headers=headers)
    with contextlib.closing(connection):
        response = connection.getresponse()
        return response, response.read()


def socket_url(url: str) -> str:
    return url.replace("http:", "ws:") + "socket"


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"http://{parts.netloc}"


def opened(url: str) -> ClientConnection:
    return connect(socket_url(url), origin=origin(url), max_size=None)


def next_of_kind(connection: ClientConnection, kind: str) -> dict:
    for _ in range(500):
        header, _ = decode(connection.recv(timeout=60))
        if header["kind"] == kind:
            return header
    raise AssertionError(f"no frame of kind {kind}")


def works(connection: ClientConnection) -> None:
    """The network still answers: an example is shown and settles."""
    connection.send(json.dumps({"type": "pick", "index": 7}))
    for _ in range(500):
        header = next_of_kind(connection, "frame")
        if header["index"] == 7 and header["settled"]:
            return
    raise AssertionError("example 7 never settled")


def test_the_page_comes_with_headers_that_shut_everything_else_out(url: str):
    response, body = get(url)
    assert response.status == 200
    assert b"viewer.js" in body
    policy = str(response.getheader("Content-Security-Policy"))
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert response.getheader("Referrer-Policy") == "no-referrer"


@pytest.mark.parametrize("name", ["viewer.js", "viewer.css"])
def test_its_parts_come_with_their_types(url: str, name: str):
    response, body = get(url, urlsplit(url).path + name)
    assert response.status == 200
    kind = "javascript" if name.endswith("js") else "css"
    assert kind in str(response.getheader("Content-Type"))
    assert len(body) > 1000


@pytest.mark.parametrize(
    "path",
    ["/", "/wrong/", "/wrong/viewer.js", "{token}/../../_server.py", "{token}/x",
     "{token}/..%2f_server.py", "{token}/%00", "//etc/passwd"],
)  # fmt: skip
def test_other_paths_are_not_found(url: str, path: str):
    token = urlsplit(url).path.rstrip("/")
    response, body = get(url, path.replace("{token}", token))
    assert response.status == 404
    assert body in (b"Not found.", b"Not Found")


def test_another_host_name_is_not_answered(url: str):
    # A page elsewhere whose name is made to point here (DNS rebinding).
    response, _ = get(url, Host="evil.example")
    assert response.status == 404


def test_tokens_are_long_and_differ(url: str):
    token = urlsplit(url).path.strip("/")
    assert re.fullmatch(r"[\w-]{32,}", token)
    with serving() as other:
        assert urlsplit(other).path.strip("/") != token


@pytest.mark.parametrize(
    "foreign",
    ["http://evil.example", "https://127.0.0.1:1", "null", "http://127.0.0.1:1", None],
)
def test_a_foreign_origin_is_refused(url: str, foreign: str | None):
    with pytest.raises(InvalidStatus) as refused:
        connect(socket_url(url), origin=foreign)  # pyright: ignore
    assert refused.value.response.status_code == 403


def test_a_wrong_token_is_refused(url: str):
    wrong = re.sub(r"/[\w-]{32,}/", "/" + "x" * 32 + "/", socket_url(url))
    with pytest.raises(InvalidStatus) as refused:
        connect(wrong, origin=origin(url))
    assert refused.value.response.status_code == 403


GARBAGE = [
    "",
    "no json",
    "[]",
    "3",
    '{"type": 3}',
    '{"type": "launch"}',
    '{"type": "pick"}',
    '{"type": "pick", "index": -1}',
    '{"type": "pick", "index": 1e400}',
    '{"type": "pick", "index": true}',
    '{"type": "pick", "index": 0.5}',
    '{"type": "draw", "pixels": [1, 2]}',
    json.dumps({"type": "draw", "pixels": [[1]] * 64}),
    json.dumps({"type": "draw", "pixels": ["x"] * 64}),
    '{"type": "draw", "pixels": [' + "NaN," * 63 + "0]}",
    '{"type": "solver", "name": "__class__", "number": 1}',
    '{"type": "solver", "name": ["Euler"], "number": 1}',
    '{"type": "solver", "name": "Euler", "number": NaN}',
    '{"type": "nudging", "name": "OneSided", "beta": 0}',
    '{"type": "apply", "times": 1000000}',
    '{"type": "speed", "steps": -1}',
    "[" * 100_000,
    b"\x00\xff\xfe",
    b"",
]


def test_garbage_is_answered_and_survived(url: str):
    with opened(url) as connection:
        assert next_of_kind(connection, "hello")["examples"] == 360
        for message in GARBAGE:
            connection.send(message)
            assert next_of_kind(connection, "error")["message"], message
        works(connection)


def test_an_oversized_message_ends_its_connection_alone(url: str):
    with opened(url) as other:
        with opened(url) as connection, pytest.raises(ConnectionClosed):
            connection.send("x" * (LARGEST_MESSAGE + 1))
            for _ in range(500):
                connection.recv(timeout=60)
        works(other)


def test_only_so_many_pages_at_a_time(url: str):
    with contextlib.ExitStack() as pages:
        for _ in range(4):
            pages.enter_context(opened(url))
        with opened(url) as fifth:
            with pytest.raises(ConnectionClosed, match="4 pages are open"):
                fifth.recv(timeout=60)
    for _ in range(300):  # its thread ends after the step that it is at
        with opened(url) as connection, contextlib.suppress(ConnectionClosed):
            works(connection)
            return
        time.sleep(0.1)
    raise AssertionError("no page can be opened again")


def test_each_page_has_weights_of_its_own(url: str):
    with opened(url) as one, opened(url) as other:
        original = next_of_kind(one, "frame")["weights"]
        one.send(json.dumps({"type": "apply", "times": 1}))
        while next_of_kind(one, "frame")["weights"] == original:
            pass
        works(other)
        other.send(json.dumps({"type": "pick", "index": 1}))
        assert next_of_kind(other, "frame")["weights"] == original


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc")
def test_it_listens_on_the_loopback_address_alone(url: str):
    port = urlsplit(url).port
    listening = [
        line.split()[1]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
    ]
    assert listening == [f"0100007F:{port:04X}"]


def test_a_taken_port_is_told(url: str):
    run = subprocess.run(
        [EQPROP, "view", "--no-browser", "--port", str(urlsplit(url).port)],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "can't be used" in run.stderr
    assert "--port" in run.stderr


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(
    ["index", "pixels", "class", "name", "number", "beta", "rate", "times", "parameter"]
)


@pytest.fixture(scope="module")
def watched() -> Session:
    data = examples(4, inputs=5)
    return Session(Subject(chain(), data.x, data.y))


def test_a_flood_of_messages_neither_piles_up_nor_delays_the_end():
    data = examples(4, inputs=5)
    player = Player(Subject(chain(), data.x, data.y), lambda frame, replaces: None)
    for _ in range(5000):
        player.submit('{"type": "nonsense"}')
    assert player._messages.qsize() < 1000
    player.start()
    player.stop()
    player.join()
    assert player._messages.qsize() > 200, "messages were done before it ended"


def test_a_player_that_is_late_never_waits_for_a_message():
    data = examples(4, inputs=5)
    player = Player(Subject(chain(), data.x, data.y), lambda frame, replaces: None)

    def follow():
        for _ in range(50_000):
            player.submit("{}")
            player._next(None)
            with contextlib.suppress(queue.Empty):
                player._next(time.monotonic())

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


@given(kind=st.sampled_from(sorted(_COMMANDS)), fields=st.dictionaries(FIELDS, JSON))
def test_any_message_is_done_or_refused(watched: Session, kind: str, fields: dict):
    # Many updates in a row take long, and are no different from one.
    if isinstance(fields.get("times"), int):
        fields["times"] = min(fields["times"], 2)
    try:
        perform(watched, parse(json.dumps({"type": kind, **fields})))
    except ValueError as error:
        assert str(error)
    watched.pick(0)
    watched.step()
    assert np.isfinite(watched.relaxing.residual)
