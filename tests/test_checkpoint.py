"""Checkpoints: whole and exactly what was saved, or refused."""

import errno
import json
import os
import re
import resource
import signal
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from eqprop.training._checkpoint import (
    load_checkpoint,
    read_manifest,
    save_checkpoint,
)
from eqprop.training._files import write_atomically
from storage_helpers import (
    assert_same,
    count_calls,
    failing_at,
    Killed,
    net,
    zeros_like,
)


@pytest.fixture
def saved(tmp_path) -> Path:
    folder = tmp_path / "epoch-1"
    save_checkpoint(folder, {"model": net(), "states": jnp.arange(6.0)}, {"step": 7})
    return folder


def test_leaves_that_are_no_arrays_stay_the_templates(saved):
    template = zeros_like(net())
    template["layers"][0].__dict__["gain"] = 0.25
    parts, _ = load_checkpoint(saved, {"model": template})
    assert [layer.gain for layer in parts["model"]["layers"]] == [0.25, 0.5]


def test_what_was_loaded_outlives_the_file(saved):
    parts, _ = load_checkpoint(saved, {"states": np.zeros(6)})
    path = saved / "states.safetensors"
    path.write_bytes(b"\xff" * path.stat().st_size)
    np.testing.assert_array_equal(parts["states"], np.arange(6.0))
    parts["states"][0] = 3.0


def test_arrays_that_hold_no_numbers_are_refused(tmp_path):
    for array in (np.array(["a"]), np.array([None])):
        with pytest.raises(ValueError, match=r"`names` is an array of type"):
            save_checkpoint(tmp_path / "c", {"model": {"names": array}}, {})
    assert list(tmp_path.iterdir()) == []


def test_another_architecture_is_refused_by_name(saved):
    template = net(5, depth=3)
    template["layers"] = template["layers"][:1] + template["layers"][2:]
    template["readout"] = jnp.zeros((2, 2), jnp.float32)
    del template["key"]
    with pytest.raises(ValueError, match="other tensors than expected") as caught:
        load_checkpoint(saved, {"model": template})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"Part `model` of the checkpoint {saved}")
    assert lines[1:-1] == [
        "  - missing: readout, expected float32[2, 2]",
        "  - extra: key:threefry2x32, uint32[2]",
        "  - different: layers.0.weight, expected float64[5, 3], found float64[4, 3]",
        "  - different: layers.1.weight, expected float64[5, 3], found float64[4, 3]",
    ]
    assert "another architecture" in lines[-1]


def test_another_number_type_is_refused_with_its_own_advice(saved):
    with pytest.raises(ValueError, match="expected float32") as caught:
        load_checkpoint(saved, {"states": jnp.zeros(6, jnp.float32)})
    assert "JAX_ENABLE_X64=1" in str(caught.value)


def test_info_comes_back_as_it_was(tmp_path):
    info = {
        "step": 12,
        "error": 0.1 + 0.2,
        "seed": 2**63,
        "key": [1, 2],
        "a": {"b": ""},
    }
    save_checkpoint(tmp_path / "c", {}, info)
    assert load_checkpoint(tmp_path / "c", {}) == ({}, info)
    assert read_manifest(tmp_path / "c") == {
        "format_version": 1,
        "info": info,
        "files": {},
    }


def test_info_takes_array_scalars_and_has_no_word_for_nan(tmp_path):
    info = {"cost": jnp.float32(0.5), "n": np.int64(3), "nan": np.nan, "t": (1, np.inf)}
    save_checkpoint(tmp_path / "c", {}, info)
    found = read_manifest(tmp_path / "c")["info"]
    assert found == {"cost": 0.5, "n": 3, "nan": None, "t": [1, None]}


@pytest.mark.parametrize("bad", [{"a": object()}, {"a": {1: 2}}, {"a": [{3}]}])
def test_info_that_is_no_json_is_refused_before_anything_is_written(tmp_path, bad):
    with pytest.raises(ValueError, match=r"`info\['a'\].*must be plain JSON"):
        save_checkpoint(tmp_path / "c", {"model": net()}, bad)
    assert list(tmp_path.iterdir()) == []


def test_part_names_must_name_files(tmp_path):
    with pytest.raises(ValueError, match=r"`parts` has the name '\.\./model'"):
        save_checkpoint(tmp_path / "c", {"../model": net()}, {})


def test_an_existing_checkpoint_is_never_overwritten(saved):
    before = {path.name: path.read_bytes() for path in saved.iterdir()}
    with pytest.raises(ValueError, match="exists already"):
        save_checkpoint(saved, {"model": net(7)}, {})
    assert {path.name: path.read_bytes() for path in saved.iterdir()} == before


def test_equal_content_makes_equal_files(tmp_path):
    # With several types outside the format, whose names the metadata holds.
    tree = {str(i): np.full(3, i, np.complex128) for i in range(9)}
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, {"model": tree}, {"step": 1})
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_only_the_parts_asked_for_are_read(saved):
    (saved / "states.safetensors").unlink()
    parts, info = load_checkpoint(saved, {"model": zeros_like(net())})
    assert_same(parts["model"], net())
    assert info == {"step": 7}


def test_a_part_that_was_not_saved_is_named(saved):
    with pytest.raises(ValueError, match=r"no part `optimizer`.*: model, states\."):
        load_checkpoint(saved, {"optimizer": None})


TEMPLATES = {"model": zeros_like(net()), "states": jnp.zeros(6)}
FILES = ["manifest.json", "model.safetensors", "states.safetensors"]


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(ValueError, match=rf"{file} is missing.*restore"):
        load_checkpoint(saved, TEMPLATES)


@pytest.mark.parametrize("file", FILES)
def test_a_file_cut_anywhere_is_named(saved, file):
    path = saved / file
    content = path.read_bytes()
    for length in range(0, len(content), 5):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=f"{file} is truncated"):
            load_checkpoint(saved, TEMPLATES)
    path.write_bytes(content + b"\0")
    with pytest.raises(ValueError, match=f"{file} is .*corrupt"):
        load_checkpoint(saved, TEMPLATES)


@pytest.fixture(scope="module")
def flippable(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("flips") / "c"
    save_checkpoint(folder, {"model": net(), "states": jnp.arange(6.0)}, {"step": 7})
    return folder


@given(st.sampled_from(FILES), st.integers(0), st.integers(1, 255))
@settings(max_examples=150)
def test_no_changed_byte_goes_unnoticed(flippable, file, offset, mask):
    path = flippable / file
    content = path.read_bytes()
    changed = bytearray(content)
    changed[offset % len(content)] ^= mask
    path.write_bytes(changed)
    try:
        with pytest.raises(ValueError, match=file):
            load_checkpoint(flippable, TEMPLATES)
    finally:
        path.write_bytes(content)


# 0x07 and 0x2A turn one white space into another: the same JSON in other bytes.
@pytest.mark.parametrize("mask", [0x01, 0x07, 0x20, 0x2A, 0x80])
def test_no_changed_byte_of_the_manifest_goes_unnoticed(saved, mask):
    path = saved / "manifest.json"
    content = path.read_bytes()
    for offset in range(len(content)):
        changed = bytearray(content)
        changed[offset] ^= mask
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=r"manifest\.json"):
            read_manifest(saved)


def test_another_format_version_is_told_from_damage(saved):
    path = saved / "manifest.json"
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps({**content, "format_version": 2}))
    with pytest.raises(ValueError, match="format version 2.*pip install"):
        read_manifest(saved)
    path.write_text(json.dumps([content]))
    with pytest.raises(ValueError, match="corrupt"):
        read_manifest(saved)


def test_the_disk_has_everything_before_the_rename(tmp_path):
    with failing_at(0, Killed()) as log:
        save_checkpoint(tmp_path / "c", {"model": net(), "states": None}, {})
    tensors_manifest_folder = ["fsync", "fsync", "fsync", "open", "fsync"]
    assert log == ["mkdir", *tensors_manifest_folder, "replace", "open", "fsync"]
    with failing_at(0, Killed()) as log:
        write_atomically(tmp_path / "file", b"new")
    assert log == ["fsync", "replace", "open", "fsync"]


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_or_none(tmp_path):
    def save(folder):
        save_checkpoint(folder, {"model": net()}, {"step": 1})

    calls = count_calls(lambda: save(tmp_path / "0" / "c"))
    assert calls > 8  # folders, two files, their folder, the rename, its folder
    for k in range(1, calls + 1):
        folder = tmp_path / str(k) / "c"
        with pytest.raises(Killed), failing_at(k, Killed()):
            save(folder)
        if not folder.exists():
            save(folder)  # which the remains of the kill don't hinder
        parts, _ = load_checkpoint(folder, {"model": zeros_like(net())})
        assert_same(parts["model"], net())
        assert [path.name for path in folder.parent.iterdir()] == ["c"]


def test_a_full_disk_leaves_the_old_checkpoints_and_no_debris(tmp_path):
    def save(folder):
        save_checkpoint(folder, {"model": net()}, {"step": 2})

    calls = count_calls(lambda: save(tmp_path / "new"))
    for k in range(1, calls + 1):
        parent = tmp_path / str(k)
        save_checkpoint(parent / "old", {"model": net(2)}, {"step": 1})
        message = re.escape(f"{parent / 'new'}: No space left on device. Nothing was")
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with pytest.raises(OSError, match=message) as caught, failing_at(k, full):
            save(parent / "new")
        assert caught.value.errno == errno.ENOSPC
        parts, _ = load_checkpoint(parent / "old", {"model": zeros_like(net(2))})
        assert_same(parts["model"], net(2))
        assert not list(parent.glob(".*"))


def test_a_write_that_the_system_cuts_short_is_reported(tmp_path):
    big = {"model": np.arange(100_000.0)}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The default action of the signal would end the process.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match=r"Could not save.*File too large"):
            save_checkpoint(tmp_path / "c", big, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []
