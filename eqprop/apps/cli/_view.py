"""`eqprop view`: watch a network relax."""

from pathlib import Path
from typing import Literal

from ._compilation import keep_compiled
from ._output import print_json, print_rows
from ._progress import warn
from ._train import with_folder


def view_run(
    run: Path | None = None,
    /,
    *,
    checkpoint: Literal["last", "best"] = "last",
    data_dir: Path | None = None,
    example: int | None = None,
    export: Path | None = None,
    port: int = 0,
    no_browser: bool = False,
    json: bool = False,
    debug: bool = False,
) -> int:
    """Shows a trained network relax, in the browser.

    Draw a digit or pick an example, watch every layer settle, nudge the outputs and
    watch the nudge travel back, apply the update and take it back. Only this machine
    can open the page, by an address that carries a random token. Ctrl-C ends it.

    Parameters
    ----------
    run
        The folder that `eqprop train` printed as its run. Without one, a network that
        comes with eqprop, trained on the bundled digits.
    checkpoint
        The last, or the one of least validation error.
    data_dir
        The folder that the data set is in, if it isn't where it was.
    example
        The example to start with, counted from 0. By default one that the network gets
        wrong.
    export
        Write a page that replays a recording, and serve nothing. The file needs no
        server and no network.
    port
        The port to serve at; 0 takes a free one.
    no_browser
        Print the address and open no browser.
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    import dataclasses

    from ..viewer import bundled, export as write, of_run, require_server, View

    if not 0 <= port <= 65535:
        raise ValueError(f"`--port` is {port}, but must be from 0 to 65535.")
    if export is not None and not export.absolute().parent.is_dir():
        raise ValueError(
            f"There is no folder {export.absolute().parent} for the page of `--export`."
        )
    if export is None:
        require_server()
    keep_compiled()
    if run is None:
        if checkpoint != "last":
            raise ValueError(
                "`--checkpoint` chooses of a run's two, but the bundled network has "
                "one. Name a run: `eqprop view RUN --checkpoint best`."
            )
        subject = bundled()
    else:
        subject = of_run(
            run, checkpoint=checkpoint, adapt=lambda table: with_folder(table, data_dir)
        )
    if example is not None:
        if not 0 <= example < len(subject):
            raise ValueError(
                f"`--example` is {example}, but there are {len(subject)} examples, "
                f"numbered from 0 to {len(subject) - 1}."
            )
        subject = dataclasses.replace(subject, first=example)
    if export is not None:
        pictures = write(subject, export)
        if json:
            print_json({"export": str(export), "pictures": pictures})
        else:
            print_rows([("written", f"{export}, {pictures} pictures")])
        return 0
    warn("compiling …")
    try:
        with View(subject, port) as shown:
            if json:
                print_json({"url": shown.url})
            else:
                print_rows([("viewer", shown.url), ("end", "Ctrl-C")])
            if not no_browser:
                shown.open()
            shown.wait()
    except KeyboardInterrupt:
        pass  # is how a viewer ends
    return 0
