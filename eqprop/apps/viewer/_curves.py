from collections import deque

import numpy as np


class Curves:
    """Energy, cost and residual, step by step; the oldest steps are forgotten.

    **Arguments:**

    - `length`: how many steps are kept.
    """

    def __init__(self, length: int = 600):
        self._points: deque[tuple[float, float, float]] = deque(maxlen=length)
        self._count = 0
        self._starts: list[tuple[int, str]] = []

    def start(self, phase: str) -> None:
        """A phase starts with the next point."""
        if not self._starts or self._starts[-1][1] != phase:
            self._starts.append((self._count, phase))
        # Of phases that began before the oldest point only the last is still shown.
        oldest = self._count - len(self._points)
        while len(self._starts) > 1 and self._starts[1][0] <= oldest:
            del self._starts[0]

    def add(self, energy: float, cost: float, residual: float) -> None:
        """One more step."""
        self._points.append((energy, cost, residual))
        self._count += 1

    @property
    def spans(self) -> list[tuple[int, str]]:
        """Where phases start, counted from the oldest point kept, and their names."""
        oldest = self._count - len(self._points)
        spans = [(max(0, start - oldest), phase) for start, phase in self._starts]
        # Of phases that lie before the oldest point only the last goes on after it.
        visible = [k for k, (start, _) in enumerate(spans) if start == 0]
        return spans[visible[-1] if visible else 0 :]

    def points(self) -> np.ndarray:
        """The steps kept, `[3, n]`: rows of energy, cost and residual."""
        return np.asarray(self._points, np.float32).T.reshape(3, -1)
