"""A tutorial run as a reader runs it: JAX as it comes, no settings of the tests."""

import contextlib
import io
import re
import runpy
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jaxtyping
import matplotlib
import matplotlib.pyplot as plt

from scripts import REPOSITORY


FOLDER = REPOSITORY / "docs" / "tutorials"

# What the scripts find, and may change.
_DEFAULTS = {
    "jax_enable_x64": False,
    "jax_numpy_dtype_promotion": "standard",
    "jax_numpy_rank_promotion": "allow",
}


class Read(NamedTuple):
    """What a tutorial left behind: its names, and what it printed."""

    names: dict[str, Any]
    printed: str

    def number(self, pattern: str) -> float:
        """The number that the pattern's group finds in what was printed."""
        found = re.search(pattern, self.printed)
        assert found is not None, f"nothing like {pattern!r} in:\n{self.printed}"
        return float(found[1])


@contextlib.contextmanager
def _settings(wanted: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(jax.config, name) for name in wanted}
    try:
        for name, value in wanted.items():
            jax.config.update(name, value)
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


@contextlib.contextmanager
def _unchecked() -> Iterator[None]:
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def read(name: str) -> Read:
    """Runs a tutorial, whose own assertions are part of the test, and checks that its
    figures are labeled."""
    matplotlib.use("Agg")
    plt.close("all")
    printed = io.StringIO()
    # Annotations are enforced in all other tests; here that doubles the time.
    with _settings(_DEFAULTS), _unchecked(), contextlib.redirect_stdout(printed):
        names = runpy.run_path(str(FOLDER / f"{name}.py"))
    try:
        assert unlabeled() == []
    finally:
        plt.close("all")
    return Read(names, printed.getvalue())


def unlabeled() -> list[str]:
    """The open figures' panels that have a scale, but don't say of what."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    assert figures
    return [
        f"figure {figure.number}, panel {k}"
        for figure in figures
        for k, axes in enumerate(figure.axes)
        if len(axes.get_xticks())
        and not (axes.get_xlabel() and (axes.get_ylabel() or axes.get_title()))
        and not axes.get_shared_y_axes().get_siblings(axes)[1:]
        and not any(
            isinstance(c, matplotlib.container.BarContainer) for c in axes.containers
        )
    ]
