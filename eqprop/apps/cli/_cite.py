"""`eqprop cite`: what to cite for a run."""

from pathlib import Path

from ._output import print_json


def cite(run: Path, /, *, json: bool = False, debug: bool = False) -> int:
    """Prints BibTeX of the methods that a run used: eqprop, the energy, the estimator
    with its nudging and solvers, the optimizer, and the data.

    Parameters
    ----------
    run
        The folder that `eqprop train` printed as its run.
    json
        Print one JSON object on the standard output, with the keys of the entries.
    debug
        Show the traceback of an error.
    """
    from ... import data
    from ...training import build, RunDirectory
    from ...training._citation import bibliography, citation

    table = RunDirectory.open(run).read_config()
    if "energy" not in table:
        raise ValueError(
            f"The run {run} was not trained from a recipe, so its config.toml doesn't "
            "say what it used. In Python: `print(ep.citation(model, method))`."
        )
    recipe = build(table)
    named = getattr(data, recipe.table["data"]["type"])
    text = citation(recipe.method, recipe.model(), recipe.optimizer, named)
    if json:
        keys = [key for key, entry in bibliography().items() if entry in text]
        print_json({"keys": keys, "bibtex": text})
    else:
        print(text, end="")
    return 0
