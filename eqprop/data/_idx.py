"""The IDX file format, in which MNIST and its relatives are published."""

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped


_DTYPES = {
    0x08: np.dtype(">u1"),
    0x09: np.dtype(">i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_GZIP_MAGIC = b"\x1f\x8b"
# Deflate spends at least one bit on 129 bytes, so it never does better than 1032 : 1.
_GZIP_BEST_RATIO = 1032
_CHUNK = 1 << 20
_FIX = "Copy or download it again, e.g. `eqprop data fetch mnist`."


def read_idx(path: str | os.PathLike[str]) -> Shaped[np.ndarray, "*shape"]:
    """Reads one array from an IDX file, gzipped or not.

    The format is: two zero bytes, one byte for the type (0x08 uint8, 0x09 int8, 0x0B
    int16, 0x0C int32, 0x0D float32, 0x0E float64), one byte for the number of axes,
    the length of each axis as a big-endian uint32, then the values, big-endian, the
    last axis fastest. Whether a file is gzipped is told by its first bytes, not by its
    name. No more is read or allocated than the file really holds, whatever its header
    announces.

    **Arguments:**

    - `path`: the file.

    **Returns:**

    The array, in the machine's byte order.

    **Raises:**

    - `FileNotFoundError`: there is no such file.
    - `ValueError`: the file isn't IDX, or is truncated, too long or corrupt.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. {_FIX}")
    if not path.is_file():
        raise ValueError(f"{path} isn't a file, so it can't be read as IDX. {_FIX}")
    with path.open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        zipped = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        if not zipped:
            return _parse(raw, path, size, zipped=False)
        try:
            with gzip.GzipFile(fileobj=raw) as stream:
                return _parse(stream, path, size, zipped=True)
        except EOFError as error:
            raise ValueError(
                f"{path} is truncated: its gzip stream of {size} bytes breaks off "
                f"before its end. {_FIX}"
            ) from error
        except (zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is corrupt: its gzip stream can't be unpacked ({error}). "
                f"{_FIX}"
            ) from error


def _parse(
    stream: io.BufferedIOBase, path: Path, size: int, *, zipped: bool
) -> np.ndarray:
    dtype, shape = _header(stream, path)
    head = 4 + 4 * len(shape)
    expected = head + math.prod(shape) * dtype.itemsize
    announced = f"a header announcing {dtype.name} values of the shape {shape}"
    if zipped and expected > size * _GZIP_BEST_RATIO:
        raise ValueError(
            f"{path} is truncated or corrupt: it has {announced}, {expected} bytes in "
            f"all, more than its {size} compressed bytes can hold. {_FIX}"
        )
    if not zipped and size != expected:
        fault = "truncated" if size < expected else "too long"
        raise ValueError(
            f"{path} is {fault}: it has {announced}, {expected} bytes in all, but the "
            f"file has {size} bytes. {_FIX}"
        )
    values = _read(stream, expected - head)
    if head + len(values) < expected:
        raise ValueError(
            f"{path} is truncated: it has {announced}, {expected} bytes in all, but "
            f"holds {head + len(values)} bytes. {_FIX}"
        )
    # Reading past the last value also makes gzip compare its checksum.
    if stream.read(1):
        raise ValueError(
            f"{path} is too long: it has {announced}, {expected} bytes in all, but "
            f"goes on after them. {_FIX}"
        )
    try:
        array = np.frombuffer(values, dtype).reshape(shape)
    except ValueError as error:
        raise ValueError(
            f"{path} has {announced}, which no array can have ({error}). {_FIX}"
        ) from error
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(stream: io.BufferedIOBase, path: Path) -> tuple[np.dtype, tuple[int, ...]]:
    magic = _read(stream, 4)
    if len(magic) < 4:
        raise ValueError(
            f"{path} is truncated: an IDX header starts with 4 bytes, but the file "
            f"holds {len(magic)} bytes. {_FIX}"
        )
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
        raise ValueError(
            f"{path} isn't an IDX file: it starts with {magic.hex(' ')}, but IDX "
            f"starts with 00 00 and one of "
            f"{', '.join(f'{code:02x}' for code in _DTYPES)}. {_FIX}"
        )
    lengths = _read(stream, 4 * magic[3])
    if len(lengths) < 4 * magic[3]:
        raise ValueError(
            f"{path} is truncated: its header has {magic[3]} axes, {4 + 4 * magic[3]} "
            f"bytes, but the file holds {4 + len(lengths)} bytes. {_FIX}"
        )
    return _DTYPES[magic[2]], tuple(np.frombuffer(lengths, ">u4").tolist())


def _read(stream: io.BufferedIOBase, count: int) -> bytearray:
    # In chunks: one `read(count)` would allocate all that a false header announces.
    values = bytearray()
    while len(values) < count:
        chunk = stream.read(min(_CHUNK, count - len(values)))
        if not chunk:
            break
        values += chunk
    return values
