from typing import Any, NamedTuple


class Measured(NamedTuple):
    """What a measurement came to.

    **Attributes:**

    - `values`: the numbers that checks can name.
    - `panels`: its figure as plain JSON, a table for each panel: `title`, `x` and `y`
        (the axes' labels), `log` (which axes are logarithmic, of `"x"` and `"y"`), and
        `lines`: each a `label`, its points `x` and `y`, and perhaps `points`: true for
        markers without a line.
    """

    values: dict[str, float]
    panels: list[dict[str, Any]]
