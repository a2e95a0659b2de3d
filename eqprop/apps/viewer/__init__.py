"""A network one can watch relax: in the browser, in a notebook, in a file."""

from ._export import export as export
from ._frame import decode as decode, encode as encode
from ._subject import bundled as bundled, of_run as of_run, Subject as Subject
from ._view import require_server as require_server, View as View, view as view
