"""A recording of a network as one file: a page that needs no server."""

import base64
import gzip
import struct
from pathlib import Path

from ._portrait import introduction, portrait
from ._session import Session
from ._subject import Subject


_FOLDER = Path(__file__).parent / "page"
# How long an equilibrium is shown, in pictures.
_HELD = 5
# No more of one phase: a slow solver is cut short.
_MOST = 150

_PAGE = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
    <title>eqprop</title>
    <link rel="icon" href="data:,">
    <style>
{style}</style>
  </head>
  <body class="eqprop-page">
    <main id="eqprop-viewer"></main>
    <script id="recording" type="text/plain">{recording}</script>
    <script type="module">
{script}</script>
  </body>
</html>
"""


def export(subject: Subject, file: Path, *, example: int | None = None) -> int:
    """Records how one example settles, is nudged, and is learned, as a page.

    The recording: the free phase from rest, the nudged phase, and both again after ten
    updates. The page replays it by itself, from a file, offline.

    **Arguments:**

    - `subject`: what is recorded, with its own solver and nudging.
    - `file`: the page to write.
    - `example`: which example; by default the one that the viewer starts with.

    **Returns:**

    The number of pictures.

    **Raises:**

    - `OSError`: the file can't be written.
    """
    frames = record(subject, example)
    packed = b"".join(struct.pack("<I", len(frame)) + frame for frame in frames)
    # Without a time stamp the same recording gives the same file.
    data = base64.b64encode(gzip.compress(packed, mtime=0)).decode()
    style = (_FOLDER / "viewer.css").read_text("utf-8")
    script = (_FOLDER / "viewer.js").read_text("utf-8")
    file.write_text(_PAGE.format(style=style, recording=data, script=script), "utf-8")
    return len(frames) - 1


def record(subject: Subject, example: int | None = None) -> list[bytes]:
    """The introduction, and a frame for every step of the recording."""
    session = Session(subject)
    if example is not None:
        session.pick(example)
    frames = [introduction(session), *_phase(session)]
    session.nudge()
    frames += _phase(session)
    session.apply(10)
    notice = session.notice
    session.reset()
    session.notice = notice
    frames += _phase(session)
    session.nudge()
    return frames + _phase(session)


def _phase(session: Session) -> list[bytes]:
    frames = [portrait(session)]
    while not session.settled and len(frames) < _MOST:
        session.step()
        frames.append(portrait(session))
    return frames + _HELD * [frames[-1]]
