"""Trees to store, and disks that fail at a chosen moment."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array


class Layer(eqx.Module):
    weight: Array
    bias: Array
    size: int = eqx.field(static=True, default=3)
    gain: float = 0.5


def net(width: int = 4, *, depth: int = 2) -> dict:
    rng = np.random.default_rng(width)
    layers = tuple(
        Layer(jnp.asarray(rng.normal(size=(width, 3))), jnp.asarray(rng.normal(size=3)))
        for _ in range(depth)
    )
    return {"layers": layers, "key": jax.random.key(width)}


def zeros_like(tree):
    """A template: the same structure with other numbers."""

    def zero(leaf):
        if not eqx.is_array(leaf):
            return leaf
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.split(
                jax.random.key(99, impl=str(jax.random.key_impl(leaf))), leaf.shape
            )
        return type(leaf)(0) if isinstance(leaf, np.generic) else leaf * 0

    return jax.tree.map(zero, tree)


def raw(array) -> tuple:
    """Type, shape and bits, so that NaN payloads and signed zeros count."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(array)
        return (str(jax.random.key_impl(array)), *raw(data))
    return (array.dtype.name, array.shape, np.asarray(array).tobytes())


def assert_same(one, two) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(two)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        if eqx.is_array(a):
            assert type(a) is type(b)
            assert raw(a) == raw(b)
        else:
            assert a == b


class Killed(BaseException):
    """Passes every `except OSError`, as SIGKILL runs no handler at all."""


CHANGES = [
    (os, "mkdir"),
    (os, "open"),
    (os, "fsync"),
    (os, "replace"),
    (os, "unlink"),
    (shutil, "rmtree"),
]


def count_calls(action: Callable[[], object]) -> int:
    """How many calls that change the disk an action makes."""
    with failing_at(0, Killed()) as log:
        action()
    return len(log)


@contextlib.contextmanager
def failing_at(k: int, error: BaseException) -> Iterator[list[str]]:
    """Make the k-th call that changes the disk raise instead; log them all."""
    log: list[str] = []

    def wrap(name, original):
        def call(*args, **kwargs):
            log.append(name)
            if len(log) == k:
                if name == "fsync" and isinstance(error, Killed):
                    tear(args[0])
                raise error
            return original(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for module, name in CHANGES:
            patch.setattr(module, name, wrap(name, getattr(module, name)))
        yield log


def tear(descriptor: int) -> None:
    """What was not synced may be on the disk only in part."""
    with contextlib.suppress(OSError):  # a folder
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
