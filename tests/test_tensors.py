"""Tensors keep their names, types and bits."""

import hashlib
import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings, strategies as st
from jaxtyping import Array

from eqprop.training._checkpoint import load_checkpoint, save_checkpoint
from eqprop.training._tensors import (
    fill_tensors,
    named_tensors,
    read_tensors,
    write_tensors,
)
from storage_helpers import assert_same, Layer, net, raw, zeros_like


TYPES = (
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 "
    "float64 complex64 complex128 float8_e4m3fn float8_e5m2 int4"
).split()
SHAPES = [(), (0, 3), (5,), (3, 1, 2)]


class Reordered(eqx.Module):
    bias: Array
    weight: Array
    size: int = eqx.field(static=True, default=3)
    gain: float = 0.5


def random_array(rng: np.random.Generator, dtype: str, shape: tuple) -> np.ndarray:
    """Random bits: NaNs, infinities and subnormals included."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype == "int4":
        return rng.integers(-8, 8, shape).astype(kind)
    return np.frombuffer(rng.bytes(count * kind.itemsize), kind).reshape(shape)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_type_comes_back_bit_for_bit(tmp_path, dtype, shape):
    array = random_array(np.random.default_rng(0), dtype, shape)
    tree = {"numpy": array, "jax": jnp.asarray(array)}
    # Zeros of the same type rather than 0 * array, which NumPy has not for all types.
    zero = np.zeros(shape, array.dtype)
    template = {"numpy": zero, "jax": jnp.asarray(zero)}
    save_checkpoint(tmp_path / "c", {"model": tree}, {})
    parts, _ = load_checkpoint(tmp_path / "c", {"model": template})
    assert_same(parts["model"], tree)


@given(st.data())
@settings(max_examples=40)
def test_any_tensors_survive_the_file(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    names = data.draw(st.lists(st.text(min_size=1, max_size=8), unique=True))
    tensors = {}
    for name in names:
        shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=3)))
        tensors[name] = random_array(rng, data.draw(st.sampled_from(TYPES)), shape)
    digest, size = write_tensors(path, tensors)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert size == path.stat().st_size
    found = read_tensors(path)
    assert set(found) == set(tensors)
    assert all(raw(found[name]) == raw(tensors[name]) for name in tensors)


def test_the_library_reads_what_we_write_and_we_what_it_writes(tmp_path):
    rng = np.random.default_rng(0)
    types = [t for t in TYPES[:13] if t != "bfloat16"]
    tensors = {f"a.{t}": random_array(rng, t, (2, 3)) for t in types}
    write_tensors(tmp_path / "ours", tensors)
    safetensors.numpy.save_file(tensors, tmp_path / "theirs")
    theirs = safetensors.numpy.load_file(tmp_path / "ours")
    ours = read_tensors(tmp_path / "theirs")
    assert {n: raw(a) for n, a in theirs.items()} == {
        n: raw(a) for n, a in tensors.items()
    }
    assert {n: raw(a) for n, a in ours.items()} == {
        n: raw(a) for n, a in tensors.items()
    }


def test_tensors_lie_aligned_in_the_file(tmp_path):
    # A reader maps the file, and an unaligned float64 is slow or refused.
    tensors = {"a" * n: np.ones(1, t) for n, t in enumerate(("b", "d", "e", "D"), 1)}
    for name in (*tensors, "x", "xx", "xxx"):
        tensors[name] = tensors.get(name, np.ones(1, bool))
        write_tensors(tmp_path / "file", tensors)
        content = (tmp_path / "file").read_bytes()
        data = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:data])
        for name, array in tensors.items():
            start, end = header[name]["data_offsets"]
            assert (data + start) % min(array.itemsize, 8) == 0
            assert content[data + start : data + end] == array.tobytes()


def test_layout_of_a_numpy_array_does_not_matter(tmp_path):
    base = np.arange(12.0).reshape(3, 4)
    tree = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "big_endian": base.astype(">f8"),
        "scalar": np.float32(0.1),
    }
    save_checkpoint(tmp_path / "c", {"model": tree}, {})
    template = {name: np.zeros_like(array)[()] for name, array in tree.items()}
    parts, _ = load_checkpoint(tmp_path / "c", {"model": template})
    for name, array in tree.items():
        np.testing.assert_array_equal(parts["model"][name], array)
        assert parts["model"][name].dtype == array.dtype


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
def test_random_keys_draw_the_same_numbers_after_a_round_trip(tmp_path, impl):
    keys = {"one": jax.random.key(3, impl=impl)}
    keys["many"] = jax.random.split(keys["one"], 4)
    save_checkpoint(tmp_path / "c", {"keys": keys}, {})
    parts, _ = load_checkpoint(tmp_path / "c", {"keys": zeros_like(keys)})
    assert_same(parts["keys"], keys)
    draws = [jax.random.normal(tree["one"], (5,)) for tree in (keys, parts["keys"])]
    np.testing.assert_array_equal(*draws)


def test_a_key_is_not_taken_for_another_generators():
    tensors = named_tensors({"key": jax.random.key(0, impl="rbg")})
    template = {"key": jax.random.key(0, impl="unsafe_rbg")}
    with pytest.raises(ValueError, match=r"missing: key:unsafe_rbg"):
        fill_tensors(template, tensors, what="x")


def test_names_are_the_paths_of_the_tree():
    names = list(named_tensors(net()))
    assert names == [
        "key:threefry2x32",
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
    ]
    assert list(named_tensors(jnp.zeros(2))) == ["value"]
    assert named_tensors(None) == {}


def test_same_shaped_leaves_are_never_swapped():
    model = Layer(jnp.ones(3), jnp.zeros(3))
    template = Reordered(jnp.full(3, 5.0), jnp.full(3, 6.0))
    filled = fill_tensors(template, named_tensors(model), what="x")
    np.testing.assert_array_equal(filled.weight, np.ones(3))
    np.testing.assert_array_equal(filled.bias, np.zeros(3))


def test_paths_that_read_the_same_are_refused():
    tree = {"a": {"b": jnp.zeros(2)}, "a.b": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"Two tensors would be stored as 'a.b'"):
        named_tensors(tree)
    with pytest.raises(ValueError, match="__metadata__"):
        named_tensors({"__metadata__": jnp.zeros(2)})


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 8, b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_named(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors can't be read"):
        read_tensors(path)
    with pytest.raises(FileNotFoundError, match=r"nope"):
        read_tensors(tmp_path / "nope")
