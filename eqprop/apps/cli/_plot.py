"""`eqprop plot`: figures of runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TYPE_CHECKING

from ._compilation import keep_compiled
from ._output import print_json, print_rows
from ._progress import warn


if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._trained import Trained


# In the order in which they are drawn; the last two take the longest.
_KINDS = ("curves", "phases", "weights", "activity", "gradients", "bias")
_USUAL = _KINDS[:4]


def plot(
    *runs: Path,
    kind: str | None = None,
    out: Path | None = None,
    format: Literal["png", "svg", "pdf"] = "png",
    checkpoint: Literal["last", "best"] = "last",
    examples: int = 100,
    shape: str | None = None,
    data_dir: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Draws what runs were and what they learned.

    The kinds of figures:
      curves     error, cost, residuals, energy, saturation and weight changes for
                 each epoch; of several runs a comparison, those that differ in
                 their seed alone as a mean and the band from the least to the
                 largest
      phases     energy, cost and residual on the way to equilibrium, in the free
                 phase and in those after it
      weights    what the units look for in the input
      activity   histograms of the units' states at equilibrium
      gradients  each parameter's gradient beside the exact one
      bias       the same against β

    Parameters
    ----------
    runs
        The folders that `eqprop train` printed as its runs.
    kind
        Which to draw, with commas between; by default the first four, of several runs
        the curves.
    out
        A folder for the figures, made if it isn't there; or, for one kind, a file. By
        default the folder `plots` of the first run.
    format
        The format of figures in a folder.
    checkpoint
        The last, or the one of least validation error.
    examples
        How many examples of the test data settle for phases and activity.
    shape
        Of weights: the shape of an input as an image, such as 28x28 or 3x32x32, or
        such as 64, which is none. By default a flat input of n² entries is n × n.
    data_dir
        The folder that the data set is in, if it isn't where it was.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    if not runs:
        raise ValueError(
            "`eqprop plot` needs a run: the folder that `eqprop train` printed."
        )
    if examples < 1:
        raise ValueError(f"`--examples` is {examples}, but must be at least 1.")
    kinds = _chosen(kind, len(runs))
    sizes = _sizes(shape)
    files = _files(runs, out, format, kinds)
    keep_compiled()
    makers = _makers(runs, checkpoint, examples, sizes, data_dir)
    # What can't be drawn of a run of one's own energy is left out, unless asked for.
    if kind is None and len(runs) == 1 and not _has_recipe(runs[0]):
        warn(
            f"note: config.toml of {runs[0]} holds no recipe, so only its curves are "
            "drawn. In Python, `ep.load(run, like=model)` brings the model back for "
            "`ep.plots`."
        )
        files = {"curves": files["curves"]}
    for name, file in files.items():
        warn(f"drawing {name} …")
        makers[name]().savefig(file)
    if json:
        print_json({"figures": {name: str(file) for name, file in files.items()}})
    else:
        print_rows([(name, str(file)) for name, file in files.items()])
    return 0


def _chosen(kind: str | None, runs: int) -> list[str]:
    if kind is None:
        return ["curves"] if runs > 1 else list(_USUAL)
    asked = [name.strip() for name in kind.split(",")]
    for name in asked:
        if name not in _KINDS:
            from ...training._registry import did_you_mean

            raise ValueError(
                f"`--kind` names `{name}`, which is no kind of figure."
                f"{did_you_mean(name, _KINDS)} There are: {', '.join(_KINDS)}."
            )
        if name != "curves" and runs > 1:
            raise ValueError(
                f"`--kind {name}` draws one run, but {runs} were given. Draw them one "
                "by one, or compare them with `--kind curves`."
            )
    return [name for name in _KINDS if name in asked]


def _sizes(shape: str | None) -> tuple[int, ...] | None:
    if shape is None:
        return None
    parts = shape.lower().replace("×", "x").split("x")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(
            f"`--shape` is {shape!r}, but must be whole numbers with x between, as in "
            "28x28 or 3x32x32."
        )
    return tuple(int(part) for part in parts)


def _files(
    runs: Sequence[Path], out: Path | None, format: str, kinds: Sequence[str]
) -> dict[str, Path]:
    """Where each figure goes. Makes the folder; refuses what can't be written."""
    from ...training import RunDirectory
    from ..plots import require_figure_file

    for run in runs:
        RunDirectory.open(run)

    if out is not None and out.suffix and not out.is_dir():
        if len(kinds) > 1:
            raise ValueError(
                f"`--out` is the file {out}, but {len(kinds)} figures are asked for: "
                f"{', '.join(kinds)}. Pass a folder, or one `--kind`."
            )
        require_figure_file(out)
        return {kinds[0]: out}
    folder = runs[0] / "plots" if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    names = {"curves": "curves" if len(runs) == 1 else "comparison"}
    files = {kind: folder / f"{names.get(kind, kind)}.{format}" for kind in kinds}
    for file in files.values():
        require_figure_file(file)
    return files


def _has_recipe(run: Path) -> bool:
    from ...training import RunDirectory

    return "energy" in RunDirectory.open(run).read_config()


def _makers(
    runs: Sequence[Path],
    checkpoint: str,
    examples: int,
    shape: tuple[int, ...] | None,
    data_dir: Path | None,
) -> "dict[str, Callable[[], Figure]]":
    """What makes each kind of figure."""
    from functools import cache

    from .. import plots

    @cache
    def trained() -> "Trained":
        from ._trained import open_trained

        return open_trained(runs[0], checkpoint, examples, data_dir)

    return {
        "curves": lambda: (
            plots.plot_training(runs[0])
            if len(runs) == 1
            else plots.plot_comparison(runs)
        ),
        "phases": lambda: plots.plot_phases(trained().phases()),
        "weights": lambda: plots.plot_weights(
            trained().model, trained().x[0], shape=shape
        ),
        "activity": lambda: plots.plot_activity(*trained().settled()),
        "gradients": lambda: plots.plot_likeness(trained().bias),
        "bias": lambda: plots.plot_bias(trained().swept()),
    }
