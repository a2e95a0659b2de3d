"""Downloads of the published data sets: from any mirror, never a file half written."""

import contextlib
import difflib
import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._places import environment_folder, user_cache
from ._sources import Source, SOURCES


# Seconds to connect and between two pieces, after which the next mirror is tried.
_TIMEOUT = (10, 30)


def fetch(
    name: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    mirrors: Sequence[str] | None = None,
) -> Path:
    """Downloads a published data set and checks it, so that it can be read offline.

    A file that is already there with the right SHA-256 is kept; any other is replaced,
    in one step, once its successor has arrived whole and been checked. Needs the extra
    `data` (`pip install 'eqprop[data]'`).

    **Arguments:**

    - `name`: `"mnist"`, `"fashion_mnist"` or `"kmnist"`.
    - `folder`: where the four files go; by default the folder `name` in `$EQPROP_DATA`
        if that is set, or else in the user's cache.
    - `mirrors`: addresses of folders that hold the four files, tried in turn; by
        default those of the publisher. The checksums stay the publisher's.

    **Returns:**

    The folder of the files.

    **Raises:**

    - `ValueError`: `name` is unknown, `mirrors` is empty, a file came with another
        checksum, or the extra `data` isn't installed.
    - `ConnectionError`: no mirror could be reached.
    - `OSError`: the folder can't be written.
    """
    source = _source(name)
    if mirrors is not None:
        source = source._replace(mirrors=_checked(mirrors))
    try:
        import pooch
    except ImportError as error:
        raise ValueError(
            "`fetch` needs pooch and platformdirs, which aren't installed. Run "
            "`pip install 'eqprop[data]'`, or put the files into $EQPROP_DATA yourself."
        ) from error
    target = _target(name) if folder is None else Path(folder).expanduser()
    target.mkdir(parents=True, exist_ok=True)
    order = list(source.mirrors)
    for file, sha256 in source.sha256.items():
        path = target / file
        if path.is_file() and pooch.file_hash(str(path), alg="sha256") == sha256:
            continue
        served = _download(path, sha256, order)
        # A mirror that is down would cost its timeout again for each file.
        order.sort(key=lambda mirror: mirror != served)
    return target


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    if name == "digits":
        raise ValueError(
            "`name` is 'digits', which comes with eqprop and needs no download. Use "
            "`eqprop.data.digits()`."
        )
    close = difflib.get_close_matches(name, SOURCES, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(
        f"`name` is {name!r}, but only {', '.join(SOURCES)} can be fetched.{hint} Any "
        "other data in the IDX format is read by `eqprop.data.idx_folder(folder)`."
    )


def _checked(mirrors: Sequence[str]) -> tuple[str, ...]:
    if isinstance(mirrors, str) or not mirrors:
        raise ValueError(
            f"`mirrors` is {mirrors!r}, but it is a list of at least one address. "
            "Write `mirrors=['https://…/']`, or leave it out."
        )
    return tuple(mirrors)


def _target(name: str) -> Path:
    parent = environment_folder() or user_cache()
    if parent is None:
        raise ValueError(
            "`folder` is None and platformdirs, which knows the user's cache, isn't "
            "installed. Pass `folder`, or run `pip install 'eqprop[data]'`."
        )
    return parent / name


def _download(path: Path, sha256: str, mirrors: Sequence[str]) -> str:
    """Puts a checked file at `path` and returns the mirror it came from."""
    import pooch
    import requests

    download = pooch.HTTPDownloader(timeout=_TIMEOUT, chunk_size=1 << 16)
    failures, only_network = [], True
    with _part(path) as part:
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{path.name}"
            try:
                download(url, str(part), None)
            except requests.RequestException as error:
                failures.append(f"  {url}: {_reason(error)}")
                continue
            except OSError as error:
                # A full disk, not the mirror: the error itself names no file.
                raise OSError(error.errno, error.strerror, str(path)) from error
            came = pooch.file_hash(str(part), alg="sha256")
            if came == sha256:
                _put(part, path)
                return mirror
            only_network = False
            failures.append(f"  {url}: the file's SHA-256 is {came}, not {sha256}")
    tried = "\n".join(failures)
    message = f"{path.name} could not be fetched. Tried\n{tried}\n"
    if only_network:
        raise ConnectionError(
            f"{message}Check the network and try again, or copy the file to "
            f"{path.parent} by hand."
        )
    raise ValueError(
        f"{message}A file with another checksum is damaged or another data set, and "
        "was not kept. Try again, or pass other `mirrors`."
    )


@contextlib.contextmanager
def _part(path: Path) -> Iterator[Path]:
    """A temporary file beside `path`, gone at the end whatever happens."""
    # Not `tempfile`: its files are private to their owner, and a data folder is shared.
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    part.touch(exist_ok=False)
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _put(part: Path, path: Path) -> None:
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)


def _reason(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answered {response.status_code} {response.reason}"
    # The innermost exception says it in plain words ("Connection refused").
    cause: BaseException | None = error
    while cause is not None:
        error, cause = cause, cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
