"""`eqprop doctor`: what is installed here, and whether it computes what it should."""

import importlib.util
from typing import Any

from ..._presets import list_presets
from ._data import locations
from ._output import print_json, print_rows


# What each extra of the package brings, by module.
_EXTRAS = {
    "data": ("pooch", "platformdirs", "requests"),
    "solvers": ("optimistix", "lineax"),
    "ode": ("diffrax",),
    "plot": ("matplotlib",),
    "sklearn": ("sklearn",),
    "view": ("starlette", "uvicorn", "websockets"),
    "notebook": ("anywidget",),
}
# Centered nudging errs by O(β²) where the units are smooth (0.3 % here), and float32
# by its round-off over β.
_BETA, _ALLOWED = 0.05, 0.01


def doctor(*, json: bool = False, debug: bool = False) -> int:
    """Describes this installation and checks that it computes right gradients.

    Parameters
    ----------
    json
        Print one JSON object on the standard output.
    debug
        Show the traceback of an error.
    """
    from ...training._environment import environment

    error = gradient_error()
    report: dict[str, Any] = {
        **environment(),
        "presets": list_presets(),
        "data": locations(),
        "extras": {
            name: [m for m in modules if importlib.util.find_spec(m) is None]
            for name, modules in _EXTRAS.items()
        },
        "gradient_error": error,
        "ok": bool(error <= _ALLOWED),
    }
    if json:
        print_json(report)
    else:
        _print(report)
    return 0 if report["ok"] else 1


def gradient_error() -> float:
    """How far Equilibrium Propagation is from back-propagation through the unrolled
    relaxation, as a fraction of the gradient, on a small network."""
    import jax
    import jax.numpy as jnp

    from ...energies import Model, nets, Sigmoid, SquaredError
    from ...learning import BackpropThroughTime, Centered, EquilibriumProp
    from ...relaxation import BlockCoordinate

    weights, inputs = jax.random.split(jax.random.key(0))
    net = nets.mlp([6, 8, 4], key=weights, unit=Sigmoid())
    model = Model(net, SquaredError())
    x = jax.random.uniform(inputs, (5, 6))
    y = jnp.eye(4)[jnp.arange(5) % 4]
    solver = BlockCoordinate(max_steps=60)
    # Accelerators round the factors of float32 products unless told otherwise.
    with jax.default_matmul_precision("highest"):
        method = EquilibriumProp(nudging=Centered(_BETA), solver=solver)
        _, learned = method.value_and_grad(model, x, y)
        _, exact = BackpropThroughTime(solver).value_and_grad(model, x, y)
    pairs = zip(jax.tree.leaves(learned), jax.tree.leaves(exact), strict=True)
    off = [(jnp.sum((a - b) ** 2), jnp.sum(b**2)) for a, b in pairs]
    return float(jnp.sqrt(sum(d for d, _ in off) / sum(n for _, n in off)))


def _print(report: dict[str, Any]) -> None:
    devices = report["devices"]
    rows = [
        (name, version or "missing") for name, version in report["versions"].items()
    ]
    rows += [
        ("platform", report["platform"]),
        ("devices", f"{devices['count']} × {devices['platform']} ({devices['kind']})"),
        ("cpus", str(report["cpus"])),
        ("x64", "on" if report["x64"] else "off"),
    ]
    rows += [(name, value) for name, value in report["variables"].items()]
    rows += [("presets", ", ".join(report["presets"]))]
    rows += [(f"data {k}", v or "not here") for k, v in report["data"].items()]
    rows += [
        (f"extra {name}", f"lacks {', '.join(missing)}" if missing else "installed")
        for name, missing in report["extras"].items()
    ]
    verdict = "ok" if report["ok"] else "NOT OK"
    rows += [
        (
            "self-check",
            f"{verdict}: the gradient is {100 * report['gradient_error']:.3f} % from "
            f"back-propagation's (at most {100 * _ALLOWED:g} % is right)",
        )
    ]
    print_rows(rows)
