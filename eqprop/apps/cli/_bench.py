"""`eqprop bench`: how fast is it here, beside the same written by hand?"""

import difflib
import json as json_module
from collections.abc import Sequence
from pathlib import Path

from ._output import print_json
from ._progress import warn


SECTIONS = ("steps", "sweeps", "scaling", "memory")
# More of other programs' work than this, in cores, spoils the figures.
_QUIET = 0.1


def bench(
    *sections: str,
    quick: bool = False,
    data_dir: Path | None = None,
    plot: Path | None = None,
    out: Path | None = None,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Measures the library's speed on this machine.

    The sections, by default all:
      steps    training steps beside the same written by hand in JAX and in
               PyTorch (where that is installed), and beside the floor that
               the machine's matrix products set
      sweeps   how many steps each solver needs to settle
      scaling  time against batch, width and sweeps
      memory   of compiled programs

    Let nothing else run meanwhile.

    Parameters
    ----------
    sections
        Which to measure.
    quick
        Tiny networks only, in seconds: to see that all is in order.
    data_dir
        The folder that MNIST is in, for the networks that `sweeps` trains; without it
        they learn the digits that come with eqprop.
    plot
        A file for the figure, .png or .svg.
    out
        A folder for bench.json, which holds every number; made if it isn't there.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    chosen = _chosen(sections)
    from ..plots import plot_bench, require_figure_file

    if plot is not None:
        require_figure_file(plot)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    from ..bench import measure, report_lines

    found = measure(chosen, quick=quick, data_dir=data_dir, note=warn)
    load = found["other_load"]
    if load is not None and load > _QUIET:
        warn(
            f"note: other programs kept {load:.1f} cores busy meanwhile. Measure again "
            "when the machine is quiet."
        )
    if out is not None:
        text = json_module.dumps(found, indent=1, ensure_ascii=False)
        (out / "bench.json").write_text(f"{text}\n", "utf-8")
    if plot is not None:
        plot_bench(found).savefig(plot)
    if json:
        print_json(found)
    else:
        for line in report_lines(found):
            print(line)
    return 0


def _chosen(sections: Sequence[str]) -> list[str]:
    for section in sections:
        if section not in SECTIONS:
            close = difflib.get_close_matches(section, SECTIONS, n=1, cutoff=0.5)
            hint = f" Did you mean `{close[0]}`?" if close else ""
            raise ValueError(
                f"`{section}` is no section of the benchmark.{hint} There are "
                f"{', '.join(SECTIONS)}."
            )
    # In their own order, and each once.
    return [name for name in SECTIONS if name in sections or not sections]
