"""`eqprop cite`: what to cite for a run."""

from pathlib import Path

from ._output import print_json
from ._progress import warn


# What is new of a run comes before what it is trained with and on.
_ORDER = ("method", "energy", "cost", "optimizer", "training", "data")


def cite(run: Path, /, *, json: bool = False, debug: bool = False) -> int:
    """Prints BibTeX of what a run used: eqprop, the estimator with its nudging and
    solvers, the energy with its units and initial weights, the cost, the optimizer,
    and the data.

    Parameters
    ----------
    run
        The folder that `eqprop train` printed as its run.
    json
        Print one JSON object on the standard output, with the keys of the entries.
    debug
        Show the traceback of an error.
    """
    from ...training import RunDirectory
    from ...training._citation import entries_of, named_in

    table = RunDirectory.open(run).read_config()
    missing = [name for name in ("energy", "method", "data") if name not in table]
    if missing:
        warn(
            f"note: config.toml of {run} doesn't name the run's {', '.join(missing)}. "
            "In Python, `print(ep.citation(model, method))` cites those too."
        )
    parts = [table[name] for name in _ORDER if name in table]
    entries = entries_of(thing for part in parts for thing in named_in(part))
    text = "\n\n".join(entries.values()) + "\n"
    if json:
        print_json({"keys": list(entries), "bibtex": text})
    else:
        print(text, end="")
    return 0
