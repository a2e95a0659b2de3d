"""Tensors keyed by their path in a PyTree, and their safetensors files."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from safetensors import safe_open, SafetensorError


# What the format and its NumPy reader both know. Every other type (complex, 8- and
# 4-bit floats, …) is stored as bytes, its name in the metadata.
_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
}


def named_tensors(tree: PyTree) -> dict[str, np.ndarray]:
    """Name every array of a PyTree by its path.

    A path reads `energy.edges.0.interaction.weight`. A typed random key is its key
    data, and its path ends in the generator's name, `key:threefry2x32`, so that it
    can't be taken for another generator's. Leaves that are no arrays are left out.

    **Arguments:**

    - `tree`: any PyTree.

    **Returns:**

    The arrays on the host, by path, in the tree's order.

    **Raises:**

    - `ValueError`: an array isn't numeric, or two have one path (a dictionary's key
        holds a dot).
    """
    return {name: _host(name, leaf) for name, leaf in _named_leaves(tree).items()}


def fill_tensors(
    template: PyTree, tensors: dict[str, np.ndarray], *, what: str
) -> PyTree:
    """Put stored tensors into a template of the same structure.

    **Arguments:**

    - `template`: a PyTree that has an array of the right shape and type wherever one
        was stored. Its other leaves are kept.
    - `tensors`: the tensors by path, as `named_tensors` made them.
    - `what`: what is filled, for the error.

    **Returns:**

    The template with its arrays replaced.

    **Raises:**

    - `ValueError`: the tensors don't fit. Every missing, extra and different one is
        named, with both shapes and types.
    """
    _check_fit(_named_leaves(template), tensors, what)

    def fill(path: Any, leaf: Any) -> Any:
        if not eqx.is_array(leaf):
            return leaf
        return _like(leaf, tensors[_name(path, leaf)])

    return jax.tree_util.tree_map_with_path(fill, template)


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> tuple[str, int]:
    """Write a safetensors file and wait until the disk has it.

    The file is an 8-byte length, a JSON header and the bytes of the tensors, the
    widest type first so that all lie aligned. It is written here rather than by the
    library to hash it on the way out, without a second copy in memory.

    **Arguments:**

    - `path`: the file, written over if it exists.
    - `tensors`: arrays in the machine's byte order, C-contiguous, as `named_tensors`
        makes them.

    **Returns:**

    The file's sha256 and its number of bytes.

    **Raises:**

    - `OSError`: the disk is full, the folder can't be written, …
    """
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {}
    other_types = {}
    end = 0
    for name in order:
        array = tensors[name]
        start, end = end, end + array.nbytes
        code, shape = _CODES.get(array.dtype.name), array.shape
        if code is None:
            other_types[name] = array.dtype.name
            code, shape = "U8", (*shape, array.dtype.itemsize)
        header[name] = {"dtype": code, "shape": shape, "data_offsets": [start, end]}
    if other_types:
        header["__metadata__"] = {"dtypes": json.dumps(other_types)}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)

    digest = hashlib.sha256()
    with open(path, "wb") as file:
        for chunk in (len(head).to_bytes(8, "little"), head):
            digest.update(chunk)
            file.write(chunk)
        for name in order:
            raw = tensors[name].reshape(-1).view(np.uint8).data
            digest.update(raw)
            file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest(), 8 + len(head) + end


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Read a safetensors file.

    **Arguments:**

    - `path`: the file.

    **Returns:**

    The tensors by name.

    **Raises:**

    - `FileNotFoundError`: there is no such file.
    - `ValueError`: the file is truncated, corrupt or no safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no tensor file {path}.")
    try:
        with safe_open(path, "np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
        for name, dtype in json.loads(metadata.get("dtypes", "{}")).items():
            flat = tensors[name].reshape(-1).view(np.dtype(dtype))
            tensors[name] = flat.reshape(tensors[name].shape[:-1])
    # The library raises AttributeError for a type that NumPy lacks, and metadata of
    # another program can be anything.
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} can't be read as a safetensors file: it is truncated, corrupt or "
            f"of another kind ({error}). Take another copy of it."
        ) from error
    return tensors


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _name(path: Any, leaf: Any) -> str:
    # A tree that is one array has the empty path.
    name = jax.tree_util.keystr(path, simple=True, separator=".") or "value"
    return f"{name}:{jax.random.key_impl(leaf)}" if _is_key(leaf) else name


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not eqx.is_array(leaf):
            continue
        name = _name(path, leaf)
        if name in leaves or name == "__metadata__":
            raise ValueError(
                f"Two tensors would be stored as {name!r}, or the format keeps that "
                "name for itself. Rename the dictionary key that leads there, or take "
                "the dot out of it."
            )
        leaves[name] = jax.random.key_data(leaf) if _is_key(leaf) else leaf
    return leaves


def _host(name: str, leaf: Any) -> np.ndarray:
    array = np.asarray(leaf)
    if array.dtype != np.bool_ and not jnp.issubdtype(array.dtype, np.number):
        raise ValueError(
            f"`{name}` is an array of type {array.dtype}, and only numbers can be "
            "stored. Make it a static field, or take it out of the tree."
        )
    return np.asarray(array, array.dtype.newbyteorder("="), order="C")


def _like(leaf: Any, array: np.ndarray) -> Any:
    # Always a copy: the array read may be the file itself, mapped into memory.
    if isinstance(leaf, np.ndarray):
        return array.astype(leaf.dtype)
    if isinstance(leaf, np.generic):
        return array.copy()[()]
    if _is_key(leaf):
        data = jnp.array(array)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jnp.array(array)


def _check_fit(
    expected: dict[str, Any], found: dict[str, np.ndarray], what: str
) -> None:
    lines = [
        f"missing: {name}, expected {_type(array)}"
        for name, array in expected.items()
        if name not in found
    ]
    lines += [
        f"extra: {name}, {_type(array)}"
        for name, array in found.items()
        if name not in expected
    ]
    both = [name for name in expected if name in found]
    lines += [
        f"different: {name}, expected {_type(expected[name])}, "
        f"found {_type(found[name])}"
        for name in both
        if _type(expected[name]) != _type(found[name])
    ]
    if not lines:
        return
    listed = "\n".join(f"  - {line}" for line in lines)
    fix = (
        "It was saved from another architecture: build it from the configuration it "
        "was saved with."
    )
    same = len(both) == len(expected) == len(found)
    if same and all(expected[name].shape == found[name].shape for name in both):
        fix = (
            "Only number types differ: use those it was saved with (for 64 bits, set "
            "JAX_ENABLE_X64=1)."
        )
    raise ValueError(f"{what} holds other tensors than expected:\n{listed}\n{fix}")


def _type(array: Any) -> str:
    return f"{array.dtype.name}{list(array.shape)}"
