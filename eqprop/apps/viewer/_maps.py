"""Weight updates as pictures."""

import numpy as np


_TILES = 24
_LARGEST_SIDE = 128


def update_map(
    change: np.ndarray, picture: tuple[int, int] | None
) -> tuple[np.ndarray, str]:
    """A change of weights as a stack of pictures, and what they show.

    **Arguments:**

    - `change`: one parameter's change, of any shape.
    - `picture`: rows and columns of the input, if the parameter's rows are its pixels.

    **Returns:**

    Pictures `[n, rows, columns]`: of weights from a picture, those into each of the 24
    units that change most; of other matrices one picture, in which blocks of entries
    are shown by their largest where it would be too big; of a vector one row.
    """
    change = np.asarray(change, np.float32)
    matrix = change.ndim >= 2
    if matrix and picture is not None and len(change) == picture[0] * picture[1]:
        fields = change.reshape(len(change), -1).T
        # A stable order: equal sizes keep the units' own.
        chosen = np.argsort(-np.sum(fields**2, axis=1), kind="stable")[:_TILES]
        tiles = fields[np.sort(chosen)].reshape(-1, *picture)
        return tiles, f"into the {len(tiles)} units that change most"
    flat = change.reshape(len(change) if matrix else 1, -1)
    shrunk = _shrunk(_shrunk(flat).T).T
    shown = "a row for each unit before, a column for each after"
    if not matrix:
        shown = "a column for each unit"
    if shrunk.shape != flat.shape:
        rows, columns = flat.shape
        shown += f" ({rows} × {columns}, the largest of each block)"
    return shrunk[None], shown


def _shrunk(matrix: np.ndarray) -> np.ndarray:
    """At most 128 rows: of each group of rows, column by column, the largest entry."""
    rows = matrix.shape[0]
    if rows <= _LARGEST_SIDE:
        return matrix
    edges = np.linspace(0, rows, _LARGEST_SIDE + 1).astype(int)[:-1]
    high = np.maximum.reduceat(matrix, edges, axis=0)
    low = np.minimum.reduceat(matrix, edges, axis=0)
    return np.where(high >= -low, high, low)
