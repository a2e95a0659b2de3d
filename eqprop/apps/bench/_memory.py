"""Memory of a compiled training step: it must not grow with the number of steps."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ...training import Adam
from ._cases import Case, house, paper
from ._library import make_arrays, make_method, make_model, training_loop
from ._steps import memory_of


_BATCHES = 20


def memory_cases(quick: bool) -> tuple[Case, ...]:
    """The steps whose memory is looked at."""
    if quick:
        return (house(32, 32, batch=8, inputs=64),)
    return (
        paper(500, batch=20),
        house(512, 512, batch=64),
        house(512, 512, 512, batch=512),
        house(2048, 2048, batch=64),
    )


def measure_memory(
    cases: Sequence[Case],
    *,
    factors: Sequence[int] = (1, 2, 4, 8),
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Compiles training with more and more steps of relaxation, and reads off XLA's
    plan of its memory. Nothing is run.

    **Arguments:**

    - `factors`: by how much the steps of all phases are multiplied.
    """
    found = []
    for case in cases:
        note(f"memory: {case.name}")
        longer = [
            dataclasses.replace(
                case,
                free_steps=factor * case.free_steps,
                nudged_steps=factor * case.nudged_steps,
            )
            for factor in factors
        ]
        plans = [memory_plan(one) for one in longer]
        needed = indispensable_bytes(case)
        found.append(
            {
                "name": case.name,
                "batches": _BATCHES,
                "steps": [c.free_steps + c.nudged_steps for c in longer],
                "temporary": [plan["temporary"] for plan in plans],
                "total": [plan["total"] for plan in plans],
                "indispensable": needed,
                "ratio": max(plan["total"] for plan in plans) / sum(needed.values()),
                "growth": plans[-1]["temporary"] / plans[0]["temporary"],
            }
        )
    return found


def indispensable_bytes(case: Case) -> dict[str, int]:
    """Bytes of float32 that training with Adam can't do without."""
    examples = _BATCHES * case.batch
    kept = examples * case.units if case.persistent else 0
    return {
        "data": 4 * (examples * (case.sizes[0] + case.sizes[-1]) + kept),
        "parameters": 4 * case.parameters,
        "optimizer": 8 * case.parameters,
        "states": 8 * case.batch * case.units,
    }


def memory_plan(case: Case) -> dict[str, int]:
    """Bytes that XLA plans for a loop of training steps with Adam, whose parameters,
    optimizer and persistent states are donated."""
    params, x, y, states = make_arrays(case, _BATCHES)
    model, method = make_model(case, params), make_method(case)
    optimizer, zero = Adam(), jnp.zeros(())

    def update(grads, memory, model):
        return optimizer.update(grads, memory, model, epoch=zero, epochs=zero + 1)

    loop = training_loop(case, model, method, batches=_BATCHES, update=update)
    program = jax.jit(loop, donate_argnums=(0, 1, 2))
    params = eqx.filter(model, eqx.is_inexact_array)
    numbers = eqx.filter(method, eqx.is_array)
    arguments = params, optimizer.init(model), states, numbers, x, y
    plan = memory_of(program.lower(*arguments).compile())
    if plan is None:
        raise ValueError("This device doesn't say how much memory a program takes.")
    total = plan["arguments"] + plan["outputs"] - plan["shared"] + plan["temporary"]
    return plan | {"total": total}
