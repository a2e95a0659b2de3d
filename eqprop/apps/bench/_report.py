"""The measurements as plain text."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ._machine import machine_text


def report_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The tables of all sections that were measured."""
    sections: dict[str, Callable[[Any], Iterator[str]]] = {
        "steps": _steps,
        "sweeps": _sweeps,
        "scaling": _scaling,
        "memory": _memory,
    }
    machine = found["machine"]
    versions = machine["versions"]
    shown = ("jax", "numpy", "torch")
    parts = [f"{name} {versions[name]}" for name in shown if versions[name]]
    yield f"{machine_text(machine)}, {', '.join(parts)}, float32"
    if found["other_load"] is not None:
        yield f"meanwhile other programs kept {found['other_load']:.1f} cores busy"
    for name, lines in sections.items():
        if name in found:
            yield ""
            yield from lines(found[name])


def _steps(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "steps: one training step, median of rounds (and extremes)"
    rows = [["", "library ms", "examples/s", "× JAX", "× torch", "floor"]]
    rows[0] += ["compile s", "products", "temp MB"]
    for case in cases:
        own = case["implementations"]["library"]
        memory = own["memory"]
        share = 100 * case["share_of_floor"]["library"]["median"]
        rows.append(
            [
                case["name"],
                _spread(own["ms"]),
                f"{own['examples_per_second']:.0f}",
                _ratio(case["ratio_to_jax"]),
                _ratio(case["ratio_to_torch"]),
                f"{share:.0f} %",
                f"{own['compile_seconds']:.1f}",
                f"{case['matrix_products']:.1f}",
                "-" if memory is None else f"{1e-6 * memory['temporary']:.2f}",
            ]
        )
    yield from _table(rows)
    yield (
        "× JAX, × torch: time over that of the same by hand; floor: its time over "
        "the library's;"
    )
    yield (
        "products: passes of the batch over all weights; temp: besides arguments and "
        "results"
    )
    yield ""
    yield "the same by hand, and the floor"
    rows = [["", "JAX ms", "torch ms", "floor ms", "XLA GFLOP/s"]]
    rows[0] += ["best BLAS GFLOP/s", "floor by it ms", "update GB/s"]
    for case in cases:
        floor, by = case["floor"], case["implementations"]
        rows.append(
            [
                case["name"],
                _spread(by["jax"]["ms"]),
                "-" if by["torch"] is None else _spread(by["torch"]["ms"]),
                _spread(floor["ms"]),
                f"{floor['gflops']:.0f}",
                f"{floor['best_blas_gflops']:.0f}",
                f"{floor['best_blas_ms']:.3g}",
                f"{floor['update_gigabytes_per_second']:.0f}",
            ]
        )
    yield from _table(rows)


def _sweeps(nets: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first = nets[0]
    yield (
        f"sweeps: steps from rest to a largest residual of {first['residual']:g} in a "
        f"batch of {first['batch']} test examples, mean of {first['batches']} "
        "(matrix-product equivalents)"
    )
    sizes = ["-".join(map(str, net["sizes"])) for net in nets]
    rows = [["", *sizes]]
    rows.append(["", *(f"{net['stage']}, {net['epochs']:g} epochs" for net in nets)])
    rows.append(["test error", *(f"{net['test_error']:.1f} %" for net in nets)])
    for k, row in enumerate(first["solvers"]):
        rows.append([row["name"], *(_settled(net["solvers"][k]) for net in nets)])
    rows.append(["best ω", *(f"{net['best_relaxation']:.2f}" for net in nets)])
    estimated = [_named(net, "estimated ω") for net in nets]
    rows.append(["estimated ω", *(f"{row['relaxation']:.2f}" for row in estimated)])
    falls = [row["falls_over"] for row in estimated]
    rows.append(["it falls over", *("-" if n is None else f"{n:g}" for n in falls)])
    for who, name in itertools.product(
        ("estimated ω", "ConjugateSweeps"), ("best ω", "ω = 1.00", "Euler(0.5)")
    ):
        ratios = [
            _share(_named(net, who)["steps"], _other_steps(net, name)) for net in nets
        ]
        rows.append([f"{who} / {name}", *ratios])
    fixed = [net["fixed"] for net in nets]
    rows.append(["fixed sweeps", *(f"{row['sweeps']}" for row in fixed)])
    rows.append(["left, best ω that stays", *(_left(row, "best_") for row in fixed)])
    rows.append(["left, estimated ω", *(_left(row, "") for row in fixed)])
    yield from _table(rows)


def _left(row: Mapping[str, Any], which: str) -> str:
    """What fixed sweeps leave unsettled, and with which ω."""
    return f"{row[f'{which}left']:.2f} % ({row[f'{which}relaxation']:.2f})"


def _settled(row: Mapping[str, Any]) -> str:
    if row["steps"] is None:
        return f"never: {row['unconverged']} left"
    return f"{row['steps']:.1f} ({row['matrix_products']:.1f})"


def _named(net: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return next(row for row in net["solvers"] if row["name"] == name)


def _other_steps(net: Mapping[str, Any], name: str) -> float | None:
    return net["best_steps"] if name == "best ω" else _named(net, name)["steps"]


def _share(steps: float | None, other: float | None) -> str:
    return "-" if steps is None or other is None else f"{steps / other:.2f}"


def _scaling(found: Mapping[str, Any]) -> Iterator[str]:
    yield "scaling: the library's training step against its matrix products"
    rows = [["", "GFLOP", "ms", "GFLOP/s"]]
    for point in found["points"]:
        rows.append(
            [
                f"{point['factor']}: {point['name']}",
                f"{1e-9 * point['flops']:.3g}",
                _spread(point["spread"]),
                f"{1e-6 * point['flops'] / point['ms']:.0f}",
            ]
        )
    yield from _table(rows)
    for name, fit in found["slopes"].items():
        if fit is not None:
            yield (
                f"{name}: time grows with work to the power {fit['slope']:.2f} ± "
                f"{fit['error']:.2f}, {fit['points']} points above {found['above']} × "
                f"{found['overhead_ms']:.2g} ms"
            )


def _memory(cases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "memory: a compiled loop of training steps with Adam, as XLA plans it"
    rows = [["", "steps", "temp MB", "total MB", "needed MB", "ratio"]]
    for case in cases:
        rows.append(
            [
                f"{case['name']}, {case['batches']} batches of data",
                " / ".join(map(str, case["steps"])),
                " / ".join(f"{1e-6 * b:.3g}" for b in case["temporary"]),
                f"{1e-6 * max(case['total']):.3g}",
                f"{1e-6 * sum(case['indispensable'].values()):.3g}",
                f"{case['ratio']:.2f}",
            ]
        )
    yield from _table(rows)
    yield "needed: data, parameters, Adam's memory and two states"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Names to the left, the rest to the right of their columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first = f"{row[0]:{widths[0]}}"
        rest = (f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True))
        yield "  ".join([first, *rest]).rstrip()


def _spread(ms: Mapping[str, float]) -> str:
    return f"{ms['median']:.3g} ({ms['low']:.3g}–{ms['high']:.3g})"


def _ratio(ratio: Mapping[str, float] | None) -> str:
    return "-" if ratio is None else f"{ratio['median']:.2f}"
