"""Makes `eqprop/data/digits.npz` from scikit-learn's copy of the UCI digits.

Run `python tools/make_digits.py [OUTPUT]`. The same versions of scikit-learn, NumPy and
zlib write the same bytes.
"""

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


TARGET = Path(__file__).parents[1] / "eqprop" / "data" / "digits.npz"
TEST, VALIDATION = 360, 144


def split(labels: np.ndarray) -> dict[str, np.ndarray]:
    """The positions of each part, stratified by class and in ascending order."""
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=TEST, stratify=labels, random_state=0
    )
    train, validation = train_test_split(
        rest, test_size=VALIDATION, stratify=labels[rest], random_state=0
    )
    parts = {"train": train, "validation": validation, "test": test}
    return {name: np.sort(part).astype(np.uint16) for name, part in parts.items()}


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what `np.load` reads, without the time and the system of the writing."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            archive.writestr(entry, content.getvalue())


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    pixels, labels = load_digits(return_X_y=True)
    arrays = {"pixels": pixels.astype(np.uint8), "labels": labels.astype(np.uint8)}
    assert (arrays["pixels"] == pixels).all()
    assert (arrays["labels"] == labels).all()
    write_npz(target, {**arrays, **split(labels)})


if __name__ == "__main__":
    main()
