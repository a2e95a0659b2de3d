"""The examples are run, as a reader would."""

import struct
import subprocess
import sys
from pathlib import Path

from pages import readers_environment


EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_the_two_phases_are_drawn(tmp_path: Path):
    picture = tmp_path / "two_phases.png"
    run = subprocess.run(
        [sys.executable, EXAMPLES / "two_phases.py", picture],
        capture_output=True,
        text=True,
        env=readers_environment() | {"MPLBACKEND": "Agg"},
    )
    assert run.returncode == 0, run.stderr
    header = picture.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    # Twelve by three inches at 110 dots per inch.
    assert struct.unpack(">II", header[16:]) == (1320, 330)
