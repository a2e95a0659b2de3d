"""The program `eqprop`: its commands, and what becomes of errors."""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from ... import __version__
from ._bench import bench
from ._check_gradient import check_gradient
from ._cite import cite
from ._data import fetch_data, list_data
from ._doctor import doctor
from ._eval import evaluate_run
from ._flags import split_flags
from ._plot import plot
from ._reproduce import reproduce
from ._train import train, train_help
from ._view import view_run


app = App(
    name="eqprop",
    version=__version__,
    help="Equilibrium Propagation: learning in energy-based nets by relaxing twice.",
    help_format="plaintext",  # Markdown would double the time that --help takes.
    default_parameter=Parameter(negative=()),
)
app.command(train, help=train_help())
app.command(evaluate_run, name="eval")
app.command(check_gradient)
app.command(view_run, name="view")
app.command(bench)
app.command(reproduce)
app.command(plot)
app.command(cite)
_data = App(name="data", help="Lists and downloads data sets.")
_data.command(list_data, name="list")
_data.command(fetch_data, name="fetch")
app.command(_data)
app.command(doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    **Arguments:**

    - `argv`: its arguments; by default those of the process.

    **Returns:**

    The exit code: 0 if all went well, 1 if a check failed, 2 for wrong usage or input,
    130 after Ctrl-C.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        with _plain_warnings():
            return _run(argv)
    except CycloptsError as error:
        return _refuse(error, argv, hint=" Run `eqprop --help` to see what there is.")
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The reader of a pipe went away; the interpreter's last flush would fail.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return _refuse(error, argv)
    except (TypeError, ImportError) as error:
        # An extra that isn't installed is the user's to install.
        if not _raised_on_purpose(error):
            raise
        return _refuse(error, argv)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


def _run(argv: Sequence[str]) -> int:
    tokens, flags = split_flags(argv)
    command, bound, unparsed = app.parse_args(
        tokens, exit_on_error=False, print_error=False
    )
    if "flags" in unparsed:
        return command(*bound.args, **bound.kwargs, flags=flags)
    if flags:
        section = next(iter(flags))
        raise ValueError(
            f"`--{section}.…` is a field of a recipe, which only `eqprop train` takes. "
            "A run keeps its recipe."
        )
    return command(*bound.args, **bound.kwargs) or 0


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings as a line of their own, without the place in the code."""

    def show(message, *_: Any, **__: Any) -> None:
        print(f"warning: {message}", file=sys.stderr, flush=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _refuse(error: Exception, argv: Sequence[str], hint: str = "") -> int:
    if "--debug" in argv:
        traceback.print_exception(error)
    print(f"error: {_message(error)}{hint}", file=sys.stderr)
    return 2


def _message(error: Exception) -> str:
    if isinstance(error, UnusedCliTokensError):
        # Its own text shows a list and doesn't say what is wrong.
        words = [f"`{token}`" for token in error.unused_tokens or ()]
        one = len(words) == 1
        return f"{', '.join(words)} {'is' if one else 'are'} not expected here."
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename is not None else ""
        return f"{error.strerror}{where}"
    return str(error)


def _raised_on_purpose(error: Exception) -> bool:
    """Whether a statement of this package raised it, and not a bug in one."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    package = Path(__file__).resolve().parents[2]
    inside = Path(last.filename).resolve().is_relative_to(package)
    return inside and (last.line or "").startswith("raise")
