"""The compiled step computes no more matrix products than the one written by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

import eqprop as ep
from eqprop.apps.bench._cases import Case, house, paper
from eqprop.apps.bench._hand import by_hand
from eqprop.apps.bench._library import (
    by_library,
    make_arrays,
    make_method,
    make_model,
    sweep_groups,
)
from eqprop.apps.bench._products import count_flops, products_of
from hlo import Products, products


_BATCHES = 2
_REPLACE = dataclasses.replace
CASES = {
    "the paper's": paper(500, batch=20),
    "one hidden layer": house(512, batch=64),
    "two hidden layers": house(512, 512, batch=64),
    "three hidden layers": house(512, 512, 512, batch=128),
    "wide layers, few examples": house(1024, 1024, batch=16),
    "skips": _REPLACE(house(256, 128, batch=16), skips=((0, 2), (1, 3))),
    "a user's function": _REPLACE(house(256, batch=16), energy="function"),
}


def compiled_products(run, *args) -> Products:
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), args)
    return products(jax.jit(run).lower(*shapes).compile().as_text())


def by_both(case: Case) -> tuple[Products, Products]:
    params, x, y, states = make_arrays(case, _BATCHES)
    model, method = make_model(case, params), make_method(case)
    groups = sweep_groups(case, model, x, y)
    run, arrays = by_library(case, model, method, batches=_BATCHES, rate=0.1)
    hand = by_hand(case, groups, batches=_BATCHES, rate=0.1)
    return (
        compiled_products(run, arrays, x, y, states),
        compiled_products(hand, params, x, y, states),
    )


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_the_products_of_the_step_by_hand(name):
    case = CASES[name]
    library, hand = by_both(case)
    # A user's own `h @ (x @ w)` is a product of two vectors for each example besides.
    if case.energy == "network":
        assert library.count <= 1.05 * hand.count
    assert library.flops <= 1.05 * hand.flops
    # And the hand-written step those that are counted on paper: the counter counts.
    assert hand.flops == pytest.approx(_BATCHES * count_flops(products_of(case)))


def test_loops_are_unrolled_in_the_count():
    def run(a, b):
        def sweep(_, s):
            return jax.lax.fori_loop(0, 3, lambda _, t: jnp.tanh(t @ b), s)

        return jax.lax.fori_loop(0, 5, sweep, a)

    found = compiled_products(run, jnp.ones((7, 11)), jnp.ones((11, 11)))
    assert found == Products(15, 15 * 2 * 7 * 11 * 11)


def test_the_certificates_cost_no_product():
    case = CASES["two hidden layers"]
    params, x, y, _ = make_arrays(case, 1)
    model, method = make_model(case, params), make_method(case)

    def gradient(model, x, y):
        return method.value_and_grad(model, x, y)[1]

    def certified(model, x, y):
        outcome, gradient = method.value_and_grad(model, x, y)
        return gradient, outcome.free.residual, [n.residual for n in outcome.nudged]

    assert compiled_products(certified, model, x, y) == compiled_products(
        gradient, model, x, y
    )


def test_a_phase_looks_only_where_nothing_is_known():
    # From rest the first half of the first sweep has no products, and the last look
    # certifies; from a state that is given, both are there.
    case = CASES["three hidden layers"]
    params, x, _, _ = make_arrays(case, 1)
    model, solver = make_model(case, params), make_method(case).solver

    def from_rest(model, x):
        return ep.relax(ep.Landscape(model, x), solver, throw=False).residual

    def from_state(model, x, state):
        return ep.relax(ep.Landscape(model, x), solver, state, throw=False).residual

    inner = 512 * 512 + 512 * 512 + 512 * 10
    half, known = 2 * case.batch * inner, 2 * case.batch * 784 * 512
    state = ep.Landscape(model, x).init()
    halves = 2 * case.free_steps
    assert compiled_products(from_rest, model, x).flops == known + halves * half
    assert (
        compiled_products(from_state, model, x, state).flops
        == known + (halves + 1) * half
    )


@pytest.mark.parametrize("steps", [5, 40])
def test_memory_does_not_grow_with_steps(steps):
    model = ep.Model(
        ep.nets.mlp([30, 20, 10], key=jax.random.key(0)), ep.SquaredError()
    )
    x, y = jnp.ones((8, 30)), jnp.ones((8, 10))

    def step(method, x, y):
        return method.value_and_grad(model, x, y)[1]

    def temporary(max_steps):
        method = ep.EquilibriumProp(ep.Centered(0.2), ep.Euler(max_steps=max_steps))
        lowered = jax.jit(lambda x, y: step(method, x, y)).lower(x, y)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    assert temporary(steps) == temporary(2 * steps)
