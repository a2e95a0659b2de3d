"""What a command compiled, the next one reads."""

import os
import subprocess
import sysconfig
from pathlib import Path


PROGRAM = Path(sysconfig.get_path("scripts")) / "eqprop"


def train(cache: Path, out: Path, **variables: str) -> bytes:
    """One epoch in a process of its own; the bytes of the model."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    words = ["train", "digits", "--epochs", "1", "--energy.sizes", "[64, 16, 10]"]
    subprocess.run(
        [PROGRAM, *words, "--out", str(out)],
        env=kept | {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"} | variables,
        check=True,
        capture_output=True,
    )
    [model] = (out / "checkpoints").glob("*/model.safetensors")
    return model.read_bytes()


def compiled(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*-cache")}


def test_a_second_run_compiles_nothing_and_learns_the_same(tmp_path):
    first = train(tmp_path / "cache", tmp_path / "first")
    folder = tmp_path / "cache" / "eqprop" / "compiled"
    kept = compiled(folder)
    assert any("train_batches" in name for name in kept)
    second = train(tmp_path / "cache", tmp_path / "second")
    assert compiled(folder) == kept
    assert second == first


def test_another_folder_can_be_named(tmp_path):
    other = tmp_path / "other"
    named = {
        "JAX_COMPILATION_CACHE_DIR": str(other),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    train(tmp_path / "cache", tmp_path / "run", **named)
    assert any("train_batches" in name for name in compiled(other))
    assert not (tmp_path / "cache").exists()
