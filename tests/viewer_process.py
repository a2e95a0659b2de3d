"""`eqprop view` as its users start it: a process of its own, asked over its port."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright


EQPROP = Path(sys.executable).with_name("eqprop")
_PROCESSES: dict[str, int] = {}


@contextlib.contextmanager
def serving(*arguments: str) -> Iterator[str]:
    """The page's address, while the viewer serves it."""
    command = [EQPROP, "view", *arguments, "--no-browser", "--json"]
    # In float32, as for users, whatever the tests of this process use.
    environment = os.environ | {"JAX_ENABLE_X64": "0"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        try:
            url = json.loads(process.stdout.readline())["url"]
            _PROCESSES[url] = process.pid
            yield url
            assert process.poll() is None, "the server has ended by itself"
        finally:
            process.send_signal(signal.SIGINT)
            try:
                assert process.wait(60) == 0
            finally:
                process.kill()  # where it did not end, `Popen` would wait forever


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium, the system's; a skip where there is none but in CI."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium here: `make test` installs Debian's")
        pytest.skip("no Chromium here")
    with sync_playwright() as playwright:
        # Its sandbox can't be set up by root, as in a container.
        browser = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def process_of(url: str) -> int:
    """The number of the process that serves a page."""
    return _PROCESSES[url]


class Watch:
    """What a page must never do: log an error, or ask another host for anything."""

    def __init__(self, page: Any, own: str):
        self.faults: list[str] = []
        self._own = own
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", lambda request: self._request(request.url))
        page.on("websocket", lambda socket: self._request(socket.url))

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text}")

    def _request(self, url: str) -> None:
        own = self._own.split("://")[1]
        if url.split(":")[0] not in ("data", "blob") and own not in url:
            self.faults.append(f"request: {url}")
