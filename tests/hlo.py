"""What a compiled program computes: its matrix products, read off the HLO text."""

import math
import re
from typing import NamedTuple


class Products(NamedTuple):
    """Matrix products in all, loops unrolled, and their floating-point operations."""

    count: int
    flops: int

    def times(self, n: int) -> "Products":
        return Products(n * self.count, n * self.flops)

    def plus(self, other: "Products") -> "Products":
        return Products(self.count + other.count, self.flops + other.flops)


_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_RESULT = re.compile(r"^(?:ROOT )?%?([\w.\-]+) = (?:\(|\w+\[([\d,]*)\])")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)"
)
_TRIPS = re.compile(r'known_trip_count":\{"n":"(\d+)"')


def products(text: str) -> Products:
    """The products of a compiled program, from `compiled.as_text()`.

    A loop counts as often as XLA knows that it runs: loops with a known trip count
    only.
    """
    computations, entry = _parse(text)

    def of(name: str) -> Products:
        total = Products(0, 0)
        shapes = {
            found[1]: found[2]
            for line in computations[name]
            if (found := _RESULT.match(line)) and found[2] is not None
        }
        for line in computations[name]:
            if re.search(r"\] *(?:\{[\d,]*\})? dot\(|\} dot\(", line):
                total = total.plus(_dot(line, shapes))
            inner = [of(called) for called in _CALLED.findall(line)]
            if " while(" in line:
                trips = _TRIPS.search(line)
                if trips is None and any(p.count for p in inner):
                    raise ValueError(f"a loop of unknown length: {line[:200]}")
                inner = [p.times(int(trips[1])) for p in inner] if trips else []
            for p in inner:
                total = total.plus(p)
        return total

    return of(entry)


def _parse(text: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    entry, current = "", ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            current = header[2]
            computations[current] = []
            entry = current if header[1] else entry
        elif line.startswith("}"):
            current = ""
        elif current:
            computations[current].append(line.strip())
    return computations, entry


def _dot(line: str, shapes: dict[str, str]) -> Products:
    result = _RESULT.match(line)
    operands = re.search(r" dot\(([^)]*)\)", line)
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)
    if not (result and operands and contracted):
        raise ValueError(f"no product that can be counted: {line[:200]}")
    left = operands[1].split(",")[0].strip().lstrip("%")
    dims = _dims(shapes[left])
    inner = math.prod(dims[int(k)] for k in contracted[1].split(",") if k)
    return Products(1, 2 * math.prod(_dims(result[2])) * inner)


def _dims(shape: str) -> list[int]:
    return [int(n) for n in shape.split(",") if n]
