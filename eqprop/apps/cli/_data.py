"""`eqprop data`: which data sets are here, and how they get here."""

from pathlib import Path
from typing import Any

from ._output import print_json, print_rows
from ._progress import warn


def list_data(
    *, data_dir: Path | None = None, json: bool = False, debug: bool = False
) -> int:
    """Lists the data sets and where they are on this machine.

    Parameters
    ----------
    data_dir
        The folder to look in; by default $EQPROP_DATA and the user's cache.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    places = locations(data_dir)
    if json:
        print_json(places)
        return 0
    print_rows(
        (name, place or f"not here; get it with `eqprop data fetch {name}`")
        for name, place in places.items()
    )
    return 0


def fetch_data(
    name: str,
    /,
    *,
    data_dir: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Downloads a data set and checks it.

    Parameters
    ----------
    name
        mnist, fashion_mnist or kmnist.
    data_dir
        The folder that gets a folder NAME; by default $EQPROP_DATA or the user's cache.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    from ...data import fetch

    warn(f"Fetching {name} …")
    folder = fetch(name, None if data_dir is None else data_dir / name)
    if json:
        print_json({"name": name, "folder": str(folder)})
    else:
        print(folder)
    return 0


def locations(data_dir: Path | None = None) -> dict[str, Any]:
    """Where each data set is, or None."""
    from ...data import locate
    from ...data._sources import SOURCES

    found: dict[str, Any] = {"digits": "comes with eqprop"}
    for name in SOURCES:
        try:
            found[name] = str(locate(name, data_dir))
        except FileNotFoundError:
            found[name] = None
    return found
