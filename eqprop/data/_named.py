"""The published data sets by name, wherever they lie on this machine."""

import os
from pathlib import Path

from ._folder import has_idx_files, idx_folder
from ._places import environment_folder, user_cache
from ._sources import SOURCES
from ._splits import Splits


def mnist(
    folder: str | os.PathLike[str] | None = None, *, validation: int = 10_000
) -> Splits:
    """The 70,000 handwritten digits of MNIST, 28 × 28 pixels (LeCun et al. 1998).

    Nothing is downloaded: the files are looked for in `folder`, or without it in
    `$EQPROP_DATA` and then in the user's cache, there both in the place itself and in
    a folder `mnist` in it. `eqprop data fetch mnist` puts them into the cache. Files
    that were gzipped again are read all the same.

    **Arguments:**

    - `folder`: where to look.
    - `validation`: how many of the 60,000 training examples, the last ones, are held
        out; 0 trains on all.

    **Returns:**

    The splits: 50,000, 10,000 and 10,000 examples of 784 pixels by default.

    **Raises:**

    - `FileNotFoundError`: the files aren't there.
    - `ValueError`: as [`eqprop.data.idx_folder`][].

    ??? cite "LeCun et al. 1998"
        Gradient-based learning applied to document recognition, Proceedings of the
        IEEE 86:2278.
    """
    return _read("mnist", folder, validation)


def fashion_mnist(
    folder: str | os.PathLike[str] | None = None, *, validation: int = 10_000
) -> Splits:
    """The 70,000 articles of clothing of Fashion-MNIST (Xiao et al. 2017).

    Found and read as [`eqprop.data.mnist`][], under the name `fashion_mnist`.

    **Arguments:**

    - `folder`, `validation`: as [`eqprop.data.mnist`][].

    **Returns:**

    The splits, in the shape of MNIST.

    **Raises:**

    - As [`eqprop.data.mnist`][].

    ??? cite "Xiao et al. 2017"
        arXiv:1708.07747.
    """
    return _read("fashion_mnist", folder, validation)


def kmnist(
    folder: str | os.PathLike[str] | None = None, *, validation: int = 10_000
) -> Splits:
    """The 70,000 cursive Japanese characters of KMNIST (Clanuwat et al. 2018).

    Found and read as [`eqprop.data.mnist`][], under the name `kmnist`.

    **Arguments:**

    - `folder`, `validation`: as [`eqprop.data.mnist`][].

    **Returns:**

    The splits, in the shape of MNIST.

    **Raises:**

    - As [`eqprop.data.mnist`][].

    ??? cite "Clanuwat et al. 2018"
        arXiv:1812.01718.
    """
    return _read("kmnist", folder, validation)


def _read(name: str, folder: str | os.PathLike[str] | None, validation: int) -> Splits:
    place = locate(name, folder)
    return idx_folder(place, validation=validation, classes=10, name=name)


def locate(name: str, folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds the files of a named data set.

    **Arguments:**

    - `name`: `"mnist"`, `"fashion_mnist"` or `"kmnist"`.
    - `folder`: where to look; by default `$EQPROP_DATA`, then the user's cache.

    **Raises:**

    - `FileNotFoundError`: nowhere; lists the places that were searched.
    """
    # A folder that was named is the only one searched: finding the data elsewhere
    # would hide a mistyped path.
    if folder is not None:
        given = Path(folder).expanduser()
        places = [given / name, given]
    else:
        places = _usual_places(name)
    for place in places:
        if has_idx_files(place):
            return place
    looked = "\n".join(f"  {place}" for place in places)
    raise FileNotFoundError(
        f"The files of {name} aren't on this machine. Looked in\n{looked}\n"
        f"Get them with `eqprop data fetch {name}`, or say where they are with "
        "`--data-dir` (`folder` in Python) or $EQPROP_DATA."
    )


def _usual_places(name: str) -> list[Path]:
    places = []
    shared = environment_folder()
    if shared is not None:
        places.append(shared / name)
        # These data sets all name their files alike: …/mnist would pass for kmnist.
        if shared.resolve().name not in set(SOURCES) - {name}:
            places.append(shared)
    cache = user_cache()
    return places if cache is None else [*places, cache / name]
