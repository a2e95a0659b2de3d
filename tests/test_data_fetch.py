"""Downloads come whole and checked from any mirror, or leave nothing behind."""

import contextlib
import functools
import hashlib
import http.server
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import eqprop.data as data
from eqprop.data import _fetch
from eqprop.data._sources import Source, SOURCES


FILES = {
    "train-images-idx3-ubyte.gz": b"images" * 50_000,
    "train-labels-idx1-ubyte.gz": b"labels" * 100,
    "t10k-images-idx3-ubyte.gz": b"test images" * 1000,
    "t10k-labels-idx1-ubyte.gz": b"test labels",
}
SHA256 = {file: hashlib.sha256(content).hexdigest() for file, content in FILES.items()}
IMAGES = "train-images-idx3-ubyte.gz"


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; `Mirror.half` and `Mirror.stall` make it fail half-way."""

    def do_GET(self):
        mirror = self.server
        assert isinstance(mirror, _Server)
        mirror.asked.append(self.path.rsplit("/", 1)[-1])
        if not (mirror.half or mirror.stall):
            return super().do_GET()
        content = FILES[self.path.rsplit("/", 1)[-1]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if mirror.stall:
            mirror.released.wait(60)

    def log_message(self, format, *args):
        pass


class _Server(http.server.ThreadingHTTPServer):
    asked: list[str]
    half = False
    stall = False
    released: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


@contextlib.contextmanager
def _serving(folder: Path, *, half: bool = False, stall: bool = False):
    handler = functools.partial(_Handler, directory=str(folder))
    with _Server(("127.0.0.1", 0), handler) as server:
        server.asked, server.half, server.stall = [], half, stall
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing but this machine is reached, and "mnist" is the small files above."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("EQPROP_DATA", raising=False)
    small = Source(("http://127.0.0.1:9/",), SHA256)
    monkeypatch.setattr(_fetch, "SOURCES", {"mnist": small, "fashion_mnist": small})


@pytest.fixture
def good(tmp_path):
    folder = tmp_path / "good"
    folder.mkdir()
    for file, content in FILES.items():
        (folder / file).write_bytes(content)
    with _serving(folder) as server:
        yield server


@pytest.fixture
def damaged(tmp_path):
    folder = tmp_path / "damaged"
    folder.mkdir()
    for file, content in FILES.items():
        (folder / file).write_bytes(content[:-1] + b"?")
    with _serving(folder) as server:
        yield server


@pytest.fixture
def refused():
    """An address of this machine where nobody listens."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        url = server.url
    return url


def _assert_whole(folder: Path) -> None:
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_a_good_mirror_fills_the_folder(tmp_path, good):
    target = tmp_path / "deep" / "mnist"
    assert data.fetch("mnist", target, mirrors=[good.url]) == target
    _assert_whole(target)


def test_the_address_needs_no_slash(tmp_path, good):
    _assert_whole(data.fetch("mnist", tmp_path / "a", mirrors=[good.url.rstrip("/")]))


def test_files_that_are_there_are_verified_and_kept(tmp_path, good):
    target = data.fetch("mnist", tmp_path / "mnist", mirrors=[good.url])
    good.asked.clear()
    (target / IMAGES).write_bytes(b"damaged since")
    data.fetch("mnist", target, mirrors=[good.url])
    assert good.asked == [IMAGES]
    _assert_whole(target)


def test_whole_files_need_no_network(tmp_path, good, refused):
    target = data.fetch("mnist", tmp_path / "mnist", mirrors=[good.url])
    assert data.fetch("mnist", target, mirrors=[refused]) == target


def test_the_next_mirror_stands_in(tmp_path, good, damaged, refused):
    mirrors = [refused, damaged.url, good.url]
    target = data.fetch("mnist", tmp_path / "mnist", mirrors=mirrors)
    _assert_whole(target)
    # The one that served is asked first from then on.
    assert damaged.asked == [IMAGES]
    assert good.asked == list(FILES)


def test_a_missing_file_is_taken_from_the_next_mirror(tmp_path, good):
    (tmp_path / "empty").mkdir()
    with _serving(tmp_path / "empty") as empty:
        _assert_whole(
            data.fetch("mnist", tmp_path / "m", mirrors=[empty.url, good.url])
        )
        with pytest.raises(ConnectionError, match="answered 404 File not found"):
            data.fetch("mnist", tmp_path / "n", mirrors=[empty.url])


def test_a_wrong_checksum_is_refused(tmp_path, damaged):
    came = hashlib.sha256(FILES[IMAGES][:-1] + b"?").hexdigest()
    message = f"(?s){damaged.url}{IMAGES}: the file's SHA-256 is {came}, not "
    with pytest.raises(ValueError, match=message + SHA256[IMAGES]):
        data.fetch("mnist", tmp_path / "mnist", mirrors=[damaged.url])
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_file_is_not_replaced_by_a_bad_one(tmp_path, damaged, refused):
    target = tmp_path / "mnist"
    target.mkdir()
    (target / IMAGES).write_bytes(b"gzipped by hand")
    with pytest.raises(ValueError, match="SHA-256"):
        data.fetch("mnist", target, mirrors=[damaged.url, refused])
    assert [path.read_bytes() for path in target.iterdir()] == [b"gzipped by hand"]


def test_offline_names_every_mirror(tmp_path, refused):
    mirrors = [refused, f"{refused}other/"]
    first, second = f"{refused}{IMAGES}", f"{refused}other/{IMAGES}"
    message = f"(?s){first}: .*refused.*{second}: .*refused.*network"
    with pytest.raises(ConnectionError, match=message):
        data.fetch("mnist", tmp_path / "mnist", mirrors=mirrors)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_a_connection_lost_half_way_leaves_no_file(tmp_path, good):
    with _serving(tmp_path, half=True) as dying:
        with pytest.raises(ConnectionError, match="could not be fetched"):
            data.fetch("mnist", tmp_path / "mnist", mirrors=[dying.url])
        assert list((tmp_path / "mnist").iterdir()) == []
        _assert_whole(
            data.fetch("mnist", tmp_path / "m", mirrors=[dying.url, good.url])
        )


KILLED = """
import sys
from eqprop.data import _fetch
from eqprop.data._sources import Source
_fetch.SOURCES = {"mnist": Source((sys.argv[1],), {sys.argv[2]: sys.argv[3]})}
_fetch.fetch("mnist", sys.argv[4])
"""


def test_killed_half_way_leaves_no_half_file(tmp_path, good):
    target = tmp_path / "mnist"
    with _serving(tmp_path, stall=True) as stalling:
        arguments = [stalling.url, IMAGES, SHA256[IMAGES], str(target)]
        child = subprocess.Popen([sys.executable, "-c", KILLED, *arguments])
        deadline = time.monotonic() + 60
        while not any(path.stat().st_size for path in target.glob(".*.part")):
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        child.kill()
        child.wait()
    assert not (target / IMAGES).exists()
    data.fetch("mnist", target, mirrors=[good.url])
    assert {path.name for path in target.glob("[!.]*")} == set(FILES)
    assert (target / IMAGES).read_bytes() == FILES[IMAGES]


def test_a_full_disk_is_not_blamed_on_the_mirror(tmp_path, monkeypatch, good):
    import errno

    import pooch

    def full(self, url, output_file, pooch):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(OSError, match=f"No space left on device.*{IMAGES}") as caught:
        data.fetch("mnist", tmp_path / "mnist", mirrors=[good.url])
    assert caught.value.errno == errno.ENOSPC
    assert list((tmp_path / "mnist").iterdir()) == []


def test_default_folders(tmp_path, monkeypatch, good):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mirrors = [good.url]
    cached = data.fetch("mnist", mirrors=mirrors)
    if sys.platform == "linux":
        assert cached == tmp_path / "cache" / "eqprop" / "mnist"
    monkeypatch.setenv("EQPROP_DATA", str(tmp_path / "shared"))
    shared = data.fetch("mnist", mirrors=mirrors)
    assert shared == tmp_path / "shared" / "mnist"
    _assert_whole(shared)


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'mnits'.*Did you mean 'mnist'"):
        data.fetch("mnits", tmp_path)
    with pytest.raises(ValueError, match=r"needs no download"):
        data.fetch("digits", tmp_path)
    with pytest.raises(ValueError, match=r"'cifar10'.*mnist, fashion_mnist can be"):
        data.fetch("cifar10", tmp_path)


@pytest.mark.parametrize("mirrors", [[], "https://example.org/"])
def test_mirrors_are_a_list(tmp_path, mirrors):
    with pytest.raises(ValueError, match="`mirrors` is .*list of at least one"):
        data.fetch("mnist", tmp_path, mirrors=mirrors)


def test_without_the_extra_the_fix_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ValueError, match=r"pip install 'eqprop\[data\]'"):
        data.fetch("mnist", tmp_path)


def test_every_source_has_four_files_and_a_second_mirror():
    for source in SOURCES.values():
        assert list(source.sha256) == list(FILES)
        assert len(source.mirrors) >= 2
        for checksum in source.sha256.values():
            assert len(bytes.fromhex(checksum)) == 32
    checksums = [c for source in SOURCES.values() for c in source.sha256.values()]
    assert len(set(checksums)) == len(checksums)
