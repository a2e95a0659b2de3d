"""What the `repr` of solvers, nudgings, estimators and optimizers shows."""

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp

import eqprop as ep


def test_numbers_are_shown_as_they_were_typed():
    method = ep.EquilibriumProp(
        ep.Centered(beta=0.2), ep.Euler(step_size=0.1, stop=ep.Tolerance(1e-5))
    )
    shown = repr(method)
    for part in ("Centered(beta=0.2)", "step_size=0.1", "atol=1e-05"):
        assert part in shown
    assert "weak" not in shown


def test_so_are_vectors_and_schedules():
    optimizer = ep.SGD([0.2, 0.1], schedule=ep.training.Exponential(0.97))
    assert repr(optimizer) == (
        "SGD(learning_rate=[0.2, 0.1], schedule=Exponential(factor=0.97))"
    )


def test_a_short_repr_is_python_that_makes_the_object_again():
    for part in (ep.Centered(0.3), ep.Holomorphic(0.3, points=6), ep.Tolerance(1e-6)):
        again = eval(repr(part), vars(ep) | {type(part).__name__: type(part)})
        assert eqx.tree_equal(again, part)


def test_complex_numbers_are_shown():
    part = eqx.tree_at(lambda p: p.beta, ep.Centered(0.2), jnp.asarray(0.5j))
    assert repr(part) == "Centered(beta=0.5j)"


def test_traced_numbers_are_shown_as_what_they_are():
    shown = []
    jax.jit(lambda part: shown.append(repr(part)))(ep.Centered(0.2))
    jax.vmap(lambda beta: shown.append(repr(ep.Centered(beta))))(jnp.ones(3))
    assert shown[0].startswith("Centered(beta=weak_f")
    assert shown[1].startswith("Centered(beta=f")


def test_a_run_is_shown_in_a_line():
    run = ep.training.Run(
        model=ep.Model(
            ep.nets.mlp([4, 3, 2], key=jax.random.key(0)), ep.SquaredError()
        ),
        metrics=[
            {"epoch": 0, "train_error": 50.0, "validation_error": 60.0},
            {"epoch": 1, "train_error": 12.3456, "validation_error": 20.0},
        ],
        path=Path("runs") / "mine",
        best_epoch=1,
        stopped="early",
        seconds=1.0,
        compile_seconds=2.0,
    )
    path = str(Path("runs") / "mine")
    assert repr(run) == (
        f"Run(path={path!r}, epochs=2, stopped='early', train_error=12.35, "
        "validation_error=20.00)"
    )
    # Nothing finished, nothing kept; and a cost that counts no errors.
    empty = dataclasses.replace(run, metrics=[], path=None, stopped="interrupted")
    assert repr(empty) == "Run(path=None, epochs=0, stopped='interrupted')"
    costs = dataclasses.replace(empty, metrics=[{"train_error": None}])
    assert repr(costs) == "Run(path=None, epochs=1, stopped='interrupted')"
