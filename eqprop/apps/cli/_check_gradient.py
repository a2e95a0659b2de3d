"""`eqprop check-gradient`: are a network's gradients right?"""

from pathlib import Path
from typing import Literal, TYPE_CHECKING

from ..._presets import list_presets
from ._compilation import keep_compiled
from ._configure import configure
from ._output import print_json, print_rows
from ._progress import warn
from ._train import with_folder


if TYPE_CHECKING:
    from ...energies import Model
    from ...training._recipe import Recipe


def check_gradient(
    target: str,
    /,
    *,
    estimators: str | None = None,
    betas: str = "0.001,0.01,0.1,0.2",
    reference: Literal["implicit", "bptt", "finite-difference"] = "implicit",
    examples: int = 16,
    min_cos: float = 0.9,
    checkpoint: Literal["last", "best"] = "last",
    data_dir: Path | None = None,
    plot: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Compares estimators of the gradient with an exact one, in float64.

    Every equilibrium is settled to round-off, so that what is left is the bias of the
    method. The line "as trained" is the recipe's own method, with its own steps and β.
    The first examples of the training data are used.

    Parameters
    ----------
    target
        The folder of a run, or the name of a preset (with its initial weights).
    estimators
        Names with commas between: OneSided, Centered, Holomorphic, Coupled, Clamped,
        RecurrentBackprop, BackpropThroughTime. By default those that suit the network.
    betas
        Values of β, with commas between.
    reference
        The exact gradient: by implicit differentiation, by backpropagation through
        time, or by finite differences of some entries.
    examples
        How many examples.
    min_cos
        The check fails (exit 1) if a gradient's cosine to the reference is lower. Its
        length is not judged. Phases that don't settle, and free states that are no
        minima, fail it too.
    checkpoint
        Of a run: the last, or the one of least validation error.
    data_dir
        The folder that the data set is in.
    plot
        A file for the figure, .png or .svg, of bias against β. The second phase beside
        backpropagation through time goes into another: check.png and
        check-updates.png.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    import jax

    from ...learning import tune
    from ...training._evaluate import first_examples
    from ..plots import require_figure_file
    from ._gradient_report import examine

    keep_compiled()
    values = _numbers(betas)
    if plot is not None:
        require_figure_file(plot)
    if examples < 1:
        raise ValueError(f"`--examples` is {examples}, but must be at least 1.")
    recipe, model = _opened(target, checkpoint, data_dir)
    train = recipe.data().train
    x, y = train.x[:examples], train.y[:examples]
    # As in training, where ω is estimated on examples like these.
    few = first_examples(model, train)
    method = tune(recipe.method, few, y=train.y[: few.batch])
    with jax.enable_x64(True):
        report = examine(model, method, x, y, estimators, values, reference)
        problems = report.check.problems(min_cos)
        figures = [] if plot is None else [str(f) for f in report.save_plot(plot)]
    if json:
        more = {"target": target, "min_cos": min_cos, "figures": figures}
        print_json(report.table() | more | {"problems": problems})
    else:
        print_rows([("checked", f"{target}, {len(x)} examples"), *report.rows()])
        print()
        for line in report.lines():
            print(line)
        print()
        if figures:
            print_rows([("written", ", ".join(figures))])
        print(
            f"verdict: {'failed' if problems else 'passed'} (asked: every cosine at "
            f"least {min_cos:g}, every phase settled, every free state a minimum)"
        )
    for problem in problems:
        warn(f"check failed: {problem}.")
    return 1 if problems else 0


def _numbers(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < beta < float("inf") for beta in found):
        raise ValueError(
            f"`--betas` is {text!r}, but must be positive numbers with commas between, "
            "as in 0.01,0.1,0.5."
        )
    return sorted(found)


def _opened(
    target: str, checkpoint: str, data_dir: Path | None
) -> "tuple[Recipe, Model]":
    from ...training import RunDirectory
    from ...training._load import load
    from ...training._recipe import build

    if not Path(target).is_dir():
        if target not in list_presets():
            raise ValueError(
                f"`{target}` is neither the folder of a run nor a preset. Presets: "
                f"{', '.join(list_presets())}."
            )
        recipe = build(with_folder(configure(target, None, {}), data_dir))
        return recipe, recipe.model()
    run = Path(target)
    python = "Check it from Python, by `ep.diagnostics.check_gradient`."
    recipe = build(with_folder(RunDirectory.open(run).read_recipe(python), data_dir))
    return recipe, load(run, checkpoint=checkpoint)
