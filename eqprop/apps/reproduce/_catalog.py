"""The experiments that come with the package, and their stored results."""

import difflib
import json
from pathlib import Path
from typing import Any

from ._experiment import Experiment, read_experiment


_HERE = Path(__file__).parent
_EXPERIMENTS, _RESULTS = _HERE / "experiments", _HERE / "results"


def list_experiments() -> list[str]:
    """The names of the experiments that come with the package, sorted."""
    files = _EXPERIMENTS.rglob("*.toml")
    return sorted(
        file.relative_to(_EXPERIMENTS).with_suffix("").as_posix() for file in files
    )


def find_experiment(name: str) -> Experiment:
    """Reads an experiment: one that comes with the package, or a file of one's own.

    **Arguments:**

    - `name`: one of [`list_experiments`][], or the path of a `.toml` file.

    **Raises:**

    - `ValueError`: there is none of that name, or the file isn't an experiment.
    - `OSError`: the file can't be read.
    """
    if name.endswith(".toml"):
        return read_experiment(Path(name), Path(name).stem)
    names = list_experiments()
    if name not in names:
        # Most leave out the paper first.
        close = [known for known in names if known.endswith(f"/{name}")]
        close += difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"There is no experiment {name!r}.{hint} `eqprop reproduce --list` shows "
            "all. For one of your own give its file: `eqprop reproduce FILE.toml`."
        )
    return read_experiment(_EXPERIMENTS / f"{name}.toml", name)


def stored_result(name: str) -> dict[str, Any] | None:
    """The result stored for an experiment of the package, if there is one."""
    file = result_file(name)
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def result_file(name: str) -> Path:
    """Where the result of an experiment of the package is stored."""
    return _RESULTS / f"{name}.json"
