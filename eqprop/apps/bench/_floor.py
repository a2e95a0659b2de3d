"""The floor: how long a step's indispensable matrix products and memory traffic take
on this machine when nothing else is done."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ._cases import Case
from ._products import count_flops, Product, products_of
from ._torch import load_torch


# Seconds in every round, by the name of the run.
Times = Mapping[str, Sequence[float]]


class Floor:
    """Measures the floor of one case.

    **Arguments:**

    - `case`: the step.
    - `seconds`: how long one measurement of each product takes, about.
    """

    def __init__(self, case: Case, seconds: float):
        self.case = case
        self.products = products_of(case)
        self.repeats = {p: _repeats(p.flops, seconds) for p in self.products}
        # 4 bytes read and 4 written for each parameter, at some 10 GB/s.
        self.update_repeats = max(3, math.ceil(seconds * 1e10 / 8 / case.parameters))
        self.kinds = ["xla", "numpy"]
        if jax.default_backend() != "cpu":
            self.kinds = ["xla"]
        elif load_torch() is not None:
            self.kinds.append("torch")

    def runs(self) -> dict[str, Callable[[], Any]]:
        """What is to be timed beside the implementations, by name."""
        return self._loops("xla") | {
            "update": update_loop(self.case.parameters, self.update_repeats)
        }

    def blas_runs(self) -> dict[str, Callable[[], Any]]:
        """The products by other libraries, for information."""
        found: dict[str, Callable[[], Any]] = {}
        for kind in self.kinds[1:]:
            found |= self._loops(kind)
        return found

    def seconds(self, times: Times) -> list[float]:
        """The floor of one step in every round: its products by XLA, and the parameters
        read and written."""
        rounds = len(times["update"])
        return [
            sum(
                count * times[f"xla {product}"][k] / self.repeats[product]
                for product, count in self.products.items()
            )
            + times["update"][k] / self.update_repeats
            for k in range(rounds)
        ]

    def table(self, times: Times) -> dict[str, Any]:
        """The floor in parts, as JSON has it, from the times of all runs."""
        update = statistics.median(times["update"]) / self.update_repeats
        flops = count_flops(self.products)
        products, best = (
            self._products(times, ["xla"]),
            self._products(times, self.kinds),
        )
        return {
            "products_ms": 1e3 * products,
            "update_ms": 1e3 * update,
            "update_gigabytes_per_second": 8e-9 * self.case.parameters / update,
            "gflops": 1e-9 * flops / products,
            "best_blas_ms": 1e3 * (best + update),
            "best_blas_gflops": 1e-9 * flops / best,
            "products": [self._row(times, product) for product in self.products],
        }

    def _loops(self, kind: str) -> dict[str, Callable[[], Any]]:
        make = {"xla": xla_loop, "numpy": numpy_loop, "torch": torch_loop}[kind]
        return {
            f"{kind} {product}": make(product, repeats)
            for product, repeats in self.repeats.items()
        }

    def _products(self, times: Times, kinds: list[str]) -> float:
        """Seconds of all products of one step, each by the fastest of `kinds`."""
        return sum(
            count
            * min(statistics.median(times[f"{kind} {product}"]) for kind in kinds)
            / self.repeats[product]
            for product, count in self.products.items()
        )

    def _row(self, times: Times, product: Product) -> dict[str, Any]:
        work = 1e-9 * product.flops * self.repeats[product]
        rates = {
            kind: work / statistics.median(times[f"{kind} {product}"])
            for kind in self.kinds
        }
        return {
            "rows": product.rows,
            "inner": product.inner,
            "columns": product.columns,
            "layout": product.layout,
            "count": self.products[product],
            "gflops": rates,
        }


def xla_loop(product: Product, repeats: int) -> Callable[[], Any]:
    """One matrix product again and again in a compiled loop."""

    def body(_, carry):
        a, b, c = carry
        # One number of the last result goes into the next factor, so that no product
        # can leave the loop; all of the last result is returned, so that none shrinks.
        a = jax.lax.dynamic_update_slice(a, 1e-3 * c[:1, :1], (0, 0))
        return a, b, _multiply(product, a, b)

    def run(a, b, c):
        return jax.lax.fori_loop(0, repeats, body, (a, b, c))[2]

    a, b = (jnp.asarray(m) for m in _factors(product))
    c = jnp.zeros((product.rows, product.columns), a.dtype)
    compiled = jax.jit(run).lower(a, b, c).compile()
    return lambda: compiled(a, b, c)


def numpy_loop(product: Product, repeats: int) -> Callable[[], Any]:
    """The same by NumPy's BLAS."""
    a, b = _factors(product)
    a = a.T if product.layout == "tn" else a
    b = b.T if product.layout == "nt" else b
    out = np.empty((product.rows, product.columns), a.dtype)

    def run():
        for _ in range(repeats):
            np.matmul(a, b, out=out)
        return out

    return run


def torch_loop(product: Product, repeats: int) -> Callable[[], Any]:
    """The same by PyTorch."""
    torch = load_torch()
    a, b = (torch.from_numpy(m) for m in _factors(product))
    a = a.t() if product.layout == "tn" else a
    b = b.t() if product.layout == "nt" else b
    out = torch.empty((product.rows, product.columns), dtype=a.dtype)

    def run():
        with torch.inference_mode():
            for _ in range(repeats):
                torch.mm(a, b, out=out)

    return run


def update_loop(parameters: int, repeats: int) -> Callable[[], Any]:
    """Reading and writing all parameters in place."""

    def run(w):
        # Alternating, so that two steps can't be made one.
        def body(k, w):
            return w * jnp.where(k % 2 == 0, 1.001, 0.999).astype(w.dtype)

        return jax.lax.fori_loop(0, repeats, body, w)

    w = jnp.ones(parameters, jnp.float32)
    compiled = jax.jit(run).lower(w).compile()
    return lambda: compiled(w)


def _multiply(product: Product, a: jax.Array, b: jax.Array) -> jax.Array:
    a = a.T if product.layout == "tn" else a
    b = b.T if product.layout == "nt" else b
    return a @ b


def _factors(product: Product) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return tuple(rng.random(shape, np.float32) for shape in product.shapes)


def _repeats(flops: int, seconds: float) -> int:
    return max(3, min(2000, math.ceil(seconds * 5e10 / flops)))
