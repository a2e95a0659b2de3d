"""Checkpoints: a folder of tensors that is either whole and verified or refused."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from ._files import plain, sync_folder, TEMPORARY, write_synced
from ._tensors import fill_tensors, named_tensors, read_tensors, write_tensors


FORMAT_VERSION = 1
_MANIFEST = "manifest.json"


def save_checkpoint(
    folder: Path, parts: dict[str, PyTree], info: dict[str, Any]
) -> None:
    """Save PyTrees as a new checkpoint folder.

    Each part becomes `<part>.safetensors`, its arrays keyed by their paths, and
    `manifest.json` holds `format_version`, `info`, the sha256 and size of each file,
    and its own sha256. All is written into a temporary folder beside `folder`, which
    is renamed once the disk has it: a kill leaves a whole checkpoint or none.

    **Arguments:**

    - `folder`: where to save. Must not exist.
    - `parts`: PyTrees by name, such as `model`, `optimizer`, `states`.
    - `info`: what else to remember (step, epoch, seed, metrics), plain JSON. Numbers
        that are not finite come back as `None`.

    **Raises:**

    - `ValueError`: `folder` exists, or `parts` or `info` can't be stored.
    - `OSError`: the disk is full, the folder can't be written, … What had been
        written is removed.
    """
    for name in parts:
        if not name.isidentifier():
            raise ValueError(
                f"`parts` has the name {name!r}, which can't name a file. Use a word "
                "such as `model`."
            )
    info = plain(info, "info")
    tensors = {name: named_tensors(tree) for name, tree in parts.items()}
    if folder.exists():
        raise ValueError(
            f"The checkpoint {folder} exists already, and checkpoints are never "
            "overwritten. Save under another name, or remove it first."
        )
    temporary = folder.with_name(TEMPORARY + folder.name)
    try:
        if temporary.exists():
            shutil.rmtree(temporary)
        temporary.mkdir(parents=True)
        files = {}
        for name, arrays in tensors.items():
            file = f"{name}.safetensors"
            digest, size = write_tensors(temporary / file, arrays)
            files[file] = {"sha256": digest, "bytes": size}
        content = {"format_version": FORMAT_VERSION, "info": info, "files": files}
        write_synced(temporary / _MANIFEST, _seal(content))
        sync_folder(temporary)
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OSError(
            error.errno,
            f"Could not save the checkpoint {folder}: {error.strerror}. Nothing was "
            f"overwritten: the checkpoints already in {folder.parent} are intact. "
            "Free some space or make the folder writable, then try again.",
        ) from error


def load_checkpoint(
    folder: Path, templates: dict[str, PyTree]
) -> tuple[dict[str, PyTree], dict[str, Any]]:
    """Load parts of a checkpoint, each verified against its checksum.

    **Arguments:**

    - `folder`: the checkpoint's folder.
    - `templates`: by name, a PyTree for each part wanted, with arrays of the shapes
        and types that were saved. Other parts are not read.

    **Returns:**

    The parts by name, and the `info` saved with them.

    **Raises:**

    - `ValueError`: a file is missing, truncated or corrupt, the format is another
        version's, or the tensors don't fit a template.
    """
    manifest = read_manifest(folder)
    parts = {}
    for name, template in templates.items():
        path = folder / f"{name}.safetensors"
        if path.name not in manifest["files"]:
            saved = ", ".join(Path(file).stem for file in manifest["files"])
            raise ValueError(
                f"The checkpoint {folder} has no part `{name}`; it was saved with: "
                f"{saved or 'no part'}. Ask for these, or take a run that saved it."
            )
        _verify(path, manifest["files"][path.name])
        what = f"Part `{name}` of the checkpoint {folder}"
        parts[name] = fill_tensors(template, read_tensors(path), what=what)
    return parts, manifest["info"]


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and verify a checkpoint's manifest.

    **Arguments:**

    - `folder`: the checkpoint's folder.

    **Returns:**

    `format_version`, `info`, and `files`: the `sha256` and `bytes` of each by name.

    **Raises:**

    - `ValueError`: it is missing, truncated, corrupt or of another version.
    """
    path = folder / _MANIFEST
    if not path.is_file():
        raise _damaged(path, "is missing")
    raw = path.read_bytes()
    try:
        content = json.loads(raw)
    except ValueError as error:
        raise _damaged(path, f"is truncated or corrupt ({error})") from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if isinstance(version, int) and version != FORMAT_VERSION:
        raise ValueError(
            f"{path} has format version {version}, and this eqprop reads version "
            f"{FORMAT_VERSION}. Use the eqprop it was saved with: `pip install "
            "--upgrade eqprop` if that is newer."
        )
    # Encoding what was read must give the file back, byte for byte: so nothing in it
    # can have changed unnoticed, not even the step or the seed.
    if version is None or content.pop("sha256", None) is None or _seal(content) != raw:
        raise _damaged(path, "is corrupt: its checksum does not match its content")
    return content


def _seal(content: dict[str, Any]) -> bytes:
    digest = hashlib.sha256(_encode(content)).hexdigest()
    return _encode({**content, "sha256": digest})


def _encode(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode() + b"\n"


def _verify(path: Path, record: dict[str, Any]) -> None:
    if not path.is_file():
        raise _damaged(path, "is missing")
    size = path.stat().st_size
    if size != record["bytes"]:
        state = "truncated" if size < record["bytes"] else "corrupt"
        raise _damaged(path, f"is {state}: {size} bytes instead of {record['bytes']}")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != record["sha256"]:
        raise _damaged(
            path, f"is corrupt: its sha256 is {digest} instead of {record['sha256']}"
        )


def _damaged(path: Path, problem: str) -> ValueError:
    return ValueError(
        f"{path} {problem}. This checkpoint can't be trusted: restore the file from a "
        "copy, or use the run's other checkpoint (`best` or `last`)."
    )
