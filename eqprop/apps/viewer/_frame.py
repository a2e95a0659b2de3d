"""The one format in which pictures reach the page: over a socket, a notebook's
channel, or out of a recording."""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np


_KINDS = {"float32": np.float32, "int8": np.int8}


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
    """A frame: the header's length (4 bytes, little-endian), the header as JSON, padded
    with blanks to a multiple of 4, and the arrays one after the other, each padded so.

    The header tells under `arrays` each one's name, type (`float32` or `int8`), shape
    and offset behind the header. Numbers that aren't finite become null.
    """
    listed, chunks, offset = [], [], 0
    for name, array in arrays.items():
        kind = "int8" if array.dtype == np.int8 else "float32"
        data = np.ascontiguousarray(array, _KINDS[kind]).tobytes()
        listed.append(
            {"name": name, "type": kind, "shape": list(array.shape), "offset": offset}
        )
        data += bytes(-len(data) % 4)
        chunks.append(data)
        offset += len(data)
    text = json.dumps(finite({**header, "arrays": listed}), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *chunks])


def decode(frame: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a frame."""
    (length,) = struct.unpack_from("<I", frame)
    header = json.loads(frame[4 : 4 + length])
    arrays = {}
    for entry in header.pop("arrays"):
        count = int(np.prod(entry["shape"], dtype=int))
        array = np.frombuffer(
            frame, _KINDS[entry["type"]], count, 4 + length + entry["offset"]
        )
        arrays[entry["name"]] = array.reshape(entry["shape"])
    return header, arrays


def quantized(array: np.ndarray) -> tuple[np.ndarray, float]:
    """An array as integers from −127 to 127, and its largest size."""
    values = np.nan_to_num(np.asarray(array, np.float32))
    largest = float(np.max(np.abs(values), initial=0.0))
    scale = 127 / largest if largest > 0 else 0.0
    return np.rint(values * scale).astype(np.int8), largest


def finite(value: Any) -> Any:
    """A JSON value whose numbers are finite, or null."""
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, Mapping):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
