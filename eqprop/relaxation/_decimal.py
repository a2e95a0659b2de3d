"""Numbers held in arrays, as a person would write them."""

from typing import Any

import numpy as np


def shortest(number: Any) -> float | int | bool:
    """The shortest decimal that is this number again in its own dtype."""
    number = np.asarray(number)
    if number.dtype.kind in "iub":
        return number.item()
    for digits in range(1, 18):
        value = float(f"{float(number):.{digits}g}")
        if np.asarray(value).astype(number.dtype) == number:
            return value
    return float(number)
