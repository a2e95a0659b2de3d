"""IDX files are read exactly, and every damaged one is refused by name."""

import gzip
import math
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as npst

import eqprop.data as data


# The specification's table, with `struct`'s letters: no NumPy in the writer.
CODES = {
    "uint8": (0x08, "B"),
    "int8": (0x09, "b"),
    "int16": (0x0B, "h"),
    "int32": (0x0C, "i"),
    "float32": (0x0D, "f"),
    "float64": (0x0E, "d"),
}


def idx_bytes(array: np.ndarray) -> bytes:
    code, letter = CODES[array.dtype.name]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + struct.pack(f">{array.size}{letter}", *array.ravel().tolist())


@st.composite
def arrays(draw):
    dtype = draw(st.sampled_from(sorted(CODES)))
    shape = draw(npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4))
    return draw(npst.arrays(dtype, shape))


@given(arrays(), st.booleans())
@settings(max_examples=150)
def test_round_trip_over_all_types_and_ranks(tmp_path_factory, array, zipped):
    # The name tells nothing: gzipped files without `.gz` are common.
    path = tmp_path_factory.getbasetemp() / "round-trip"
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content) if zipped else content)
    back = data.read_idx(path)
    assert back.dtype == array.dtype
    assert back.dtype.isnative
    np.testing.assert_array_equal(back, array)


ARRAY = np.arange(1, 61, dtype=np.int16).reshape(3, 4, 5)
GOOD = idx_bytes(ARRAY)
assert len(GOOD) == 4 + 3 * 4 + 60 * 2


def _refused(tmp_path, content: bytes, message: str) -> None:
    path = tmp_path / "broken-idx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"(?s)broken-idx.*{message}.*again"):
        data.read_idx(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", r"truncated: an IDX header starts with 4 bytes.*holds 0 bytes"),
        (GOOD[:3], r"truncated.*holds 3 bytes"),
        (GOOD[:9], r"header has 3 axes, 16 bytes, but the file holds 9 bytes"),
        (GOOD[:16], r"truncated.*136 bytes in all, but the file has 16 bytes"),
        (GOOD[:-1], r"truncated.*136 bytes in all, but the file has 135 bytes"),
        (GOOD + b"\0", r"too long.*136 bytes in all, but the file has 137 bytes"),
        (b"\0\0\x0a" + GOOD[3:], r"isn't an IDX file: it starts with 00 00 0a 03"),
        (b"\1" + GOOD[1:], r"isn't an IDX file: it starts with 01 00 0b 03"),
        (b"<!DOCTYPE html>", r"isn't an IDX file: it starts with 3c 21 44 4f"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_files_are_refused(tmp_path, content, message):
    _refused(tmp_path, content, message)


@pytest.mark.parametrize(
    "content, message",
    [
        (gzip.compress(b""), r"truncated: an IDX header.*holds 0 bytes"),
        (gzip.compress(GOOD[:9]), r"16 bytes, but the file holds 9 bytes"),
        (gzip.compress(GOOD[:-1]), r"truncated.*136 bytes in all, but holds 135 bytes"),
        (gzip.compress(GOOD + b"\0"), r"too long.*136 bytes in all, but goes on"),
        (gzip.compress(b"\1" + GOOD), r"isn't an IDX file"),
        (gzip.compress(GOOD)[:-1], r"truncated: its gzip stream of \d+ bytes breaks"),
        (gzip.compress(GOOD)[:40], r"truncated: its gzip stream of 40 bytes breaks"),
        (b"\x1f\x8b" + bytes(40), r"corrupt: its gzip stream can't be unpacked"),
        (gzip.compress(GOOD) + b"tail", r"corrupt: its gzip stream"),
    ],
    # The bytes hold the time of their packing: no name for a test.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_gzip_is_refused(tmp_path, content, message):
    _refused(tmp_path, content, message)


@pytest.mark.parametrize("position", [-8, -1, 30])
def test_a_flipped_bit_under_gzip_is_noticed(tmp_path, position):
    content = bytearray(gzip.compress(GOOD))
    content[position] ^= 0x10
    path = tmp_path / "flipped"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="flipped is (corrupt|truncated)"):
        data.read_idx(path)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("side", [2**16, 2**32 - 1])
def test_an_announced_giant_allocates_nothing(tmp_path, zipped, side):
    head = struct.pack(">BBBB3I", 0, 0, 0x0E, 3, side, side, side)
    content = head + bytes(100)
    path = tmp_path / "giant"
    path.write_bytes(gzip.compress(content) if zipped else content)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"giant is truncated.*{16 + 8 * side**3}"):
        data.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_bomb_is_unpacked_only_as_far_as_announced(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(GOOD + bytes(50_000_000)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb is too long.*136 bytes in all"):
        data.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22


def test_shapes_numpy_cannot_have_are_refused(tmp_path):
    side = 2**32 - 1
    _refused(
        tmp_path,
        struct.pack(">BBBB4I", 0, 0, 8, 4, side, side, side, 0),
        "which no array can have",
    )
    axes = struct.pack(">BBBB100I", 0, 0, 8, 100, *[1] * 100) + b"\7"
    _refused(tmp_path, axes, "which no array can have")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no file .*nowhere.*fetch"):
        data.read_idx(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="isn't a file"):
        data.read_idx(tmp_path)


def test_gzip_ratio_bound_is_never_exceeded(tmp_path):
    # The most compressible content of all must not be taken for a false header.
    zeros = np.zeros((4000, 1000), np.uint8)
    path = tmp_path / "zeros"
    path.write_bytes(gzip.compress(idx_bytes(zeros), 9))
    assert math.prod(zeros.shape) / path.stat().st_size > 900
    np.testing.assert_array_equal(data.read_idx(path), zeros)
