"""What the benchmark compares does the same work, and its counts are counted right."""

import dataclasses
import functools
import importlib
import subprocess
import sys
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.apps.bench._cases import Case, full_cases, house, paper
from eqprop.apps.bench._clock import in_rounds, Spread
from eqprop.apps.bench._floor import numpy_loop, torch_loop, update_loop, xla_loop
from eqprop.apps.bench._hand import by_hand
from eqprop.apps.bench._library import (
    by_library,
    make_arrays,
    make_method,
    make_model,
    sweep_groups,
)
from eqprop.apps.bench._machine import Others
from eqprop.apps.bench._memory import indispensable_bytes
from eqprop.apps.bench._products import (
    count_flops,
    equivalents,
    Product,
    products_of,
    relaxation_equivalents,
)
from eqprop.apps.bench._scaling import fit_slope
from eqprop.apps.bench._sweeps import steps_to_settle
from eqprop.apps.bench._torch import as_tensors, by_torch, load_torch


_EULER = dataclasses.replace(paper(12, batch=4), sizes=(20, 12, 5))
_BLOCKS = dataclasses.replace(house(12, 11, batch=3), sizes=(20, 12, 11, 5))
_OTHER = dataclasses.replace
CASES = {
    "the paper's": _EULER,
    "the paper's, two hidden layers": _OTHER(_EULER, sizes=(20, 12, 9, 5)),
    "house": _BLOCKS,
    "house, one hidden layer": _OTHER(_BLOCKS, sizes=(20, 12, 5)),
    "house, three hidden layers": _OTHER(_BLOCKS, sizes=(20, 12, 11, 9, 5)),
    "Euler both ways": _OTHER(_EULER, centered=True, beta=0.3, hard_output=False),
    "sweeps one way, persistent": _OTHER(
        _BLOCKS, centered=False, hard_output=True, persistent=True
    ),
    "skips": _OTHER(_BLOCKS, skips=((0, 2), (1, 3))),
    "a user's function": _OTHER(_BLOCKS, energy="function"),
    "a user's function of tanh": _OTHER(_EULER, energy="tanh", persistent=False),
}
_RATE, _BATCHES = 0.5, 3


def prepared(case: Case):
    """Arrays for three batches; the states that persist don't start at rest."""
    params, x, y, states = make_arrays(case, _BATCHES)
    keys = jax.random.split(jax.random.key(7), len(states))
    states = tuple(
        jax.random.uniform(key, s.shape, s.dtype)
        for key, s in zip(keys, states, strict=True)
    )
    return params, x, y, states


@functools.cache
def updated_by_library(name: str):
    case = CASES[name]
    params, x, y, states = prepared(case)
    run, arrays = by_library(
        case, make_model(case, params), make_method(case), batches=_BATCHES, rate=_RATE
    )
    return [np.asarray(a) for a in jax.tree.leaves(jax.jit(run)(arrays, x, y, states))]


def groups_of(case: Case):
    params, x, y, _ = prepared(case)
    return sweep_groups(case, make_model(case, params), x, y)


def check_same(name: str, found: list[np.ndarray]):
    wanted = updated_by_library(name)
    start = jax.tree.leaves(prepared(CASES[name])[0])
    assert len(found) == len(wanted)
    assert all(a.dtype == np.float64 for a in found)
    # Three steps of training have moved every parameter.
    for before, after in zip(start, wanted, strict=False):
        assert np.max(np.abs(after - before)) > 1e-3
    # Round-off, amplified by the division by β and three steps.
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", CASES)
def test_the_step_by_hand_makes_the_library_s_update(name: str):
    case = CASES[name]
    run = by_hand(case, groups_of(case), batches=_BATCHES, rate=_RATE)
    found = jax.tree.leaves(jax.jit(run)(*prepared(case)))
    check_same(name, [np.asarray(a) for a in found])


@pytest.mark.parametrize("name", CASES)
def test_the_step_in_pytorch_makes_the_library_s_update(name: str):
    torch = pytest.importorskip("torch")
    case = CASES[name]
    params, x, y, states = prepared(case)
    run = by_torch(torch, case, groups_of(case), batches=_BATCHES, rate=_RATE)
    x, y = as_tensors(torch, (x, y))
    params, states = run(as_tensors(torch, params), x, y, as_tensors(torch, states))
    check_same(name, [a.numpy() for a in (*params, *states)])


def test_flops_of_the_reference_cases_by_hand():
    a, b = full_cases()[:2]
    assert a.name == "784-500-10, batch 20, 20+4 Euler"
    # Input: forward and update. 500-10: both ways in 24 steps, and an update over both
    # phases' examples.
    assert count_flops(products_of(a)) == 2 * 20 * (2 * 784 * 500 + 50 * 5000)
    assert b.name == "784-512-512-10, batch 64, 15+2·8 sweeps"
    inner = 512 * 512 + 512 * 10
    passes = 2 * (15 + 2 * 8) + 2
    assert count_flops(products_of(b)) == 2 * 64 * (2 * 784 * 512 + passes * inner)
    weights = 784 * 512 + inner
    assert b.weights == weights
    assert b.parameters == weights + 512 + 512 + 10
    assert equivalents(b) == (2 * 784 * 512 + passes * inner) / weights
    assert relaxation_equivalents(b, 15) == (784 * 512 + 30 * inner) / weights


def dots(jaxpr, times: int = 1) -> Counter[tuple[int, int]]:
    """The matrix products of a traced program: flops of each, and how many."""
    found: Counter[tuple[int, int]] = Counter()
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), (batched, _) = eqn.params["dimension_numbers"]
            assert batched == ()
            shape = eqn.invars[0].aval.shape
            inner = int(np.prod([shape[k] for k in contracted]))
            found[2 * inner * eqn.outvars[0].aval.size, inner] += times
        if "jaxpr" in eqn.params:
            inside = times * eqn.params.get("length", 1)
            found += dots(eqn.params["jaxpr"].jaxpr, inside)
    return found


@pytest.mark.parametrize("name", CASES)
def test_the_products_are_those_that_the_step_by_hand_does(name: str):
    case = CASES[name]
    run = by_hand(case, groups_of(case), batches=1, rate=_RATE)
    params, x, y, states = prepared(case)
    wanted: Counter[tuple[int, int]] = Counter()
    for product, count in products_of(case).items():
        wanted[product.flops, product.inner] += count
    assert dots(jax.make_jaxpr(run)(params, x, y, states).jaxpr) == wanted


@pytest.mark.parametrize("layout", ["nn", "nt", "tn"])
def test_a_timed_product_is_multiplied_anew_in_every_round(layout: str):
    product = Product(4, 3, 5, layout)
    assert product.flops == 2 * 4 * 3 * 5
    rng = np.random.default_rng(0)
    a, b = (rng.random(shape, np.float32) for shape in product.shapes)
    first = a.T if layout == "tn" else a
    second = b.T if layout == "nt" else b
    assert first.shape == (4, 3)
    assert second.shape == (3, 5)
    np.testing.assert_allclose(numpy_loop(product, 2)(), first @ second, rtol=1e-6)
    # Each round puts a thousandth of the last result's corner into the first factor.
    c = np.zeros((4, 5), np.float32)
    for _ in range(3):
        first[0, 0] = 1e-3 * c[0, 0]
        c = first @ second
    np.testing.assert_allclose(xla_loop(product, 3)(), c, rtol=1e-6)


def test_the_update_loop_touches_every_parameter():
    w = np.asarray(update_loop(7, 2)())
    np.testing.assert_allclose(w, np.full(7, 1.001 * 0.999), rtol=1e-6)


def test_pytorch_is_optional(monkeypatch: pytest.MonkeyPatch):
    def missing(name: str):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    assert load_torch() is None


def test_pytorch_multiplies_the_same():
    torch = pytest.importorskip("torch")
    assert load_torch() is torch
    torch_loop(Product(4, 3, 5, "tn"), 2)()


def test_ratios_are_taken_round_by_round():
    # Twice as slow in the second round, both: the ratio is 2 all the same.
    assert Spread.of_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == Spread(2.0, 2.0, 2.0)
    assert Spread.of([3.0, 1.0, 2.0], 10.0) == Spread(20.0, 10.0, 30.0)


def test_every_round_runs_each_once_and_the_first_is_not_counted():
    order: list[str] = []
    runs = {name: functools.partial(order.append, name) for name in "abc"}
    times = in_rounds(runs, 3)
    assert {name: len(taken) for name, taken in times.items()} == dict.fromkeys(
        "abc", 3
    )
    rounds = ["".join(order[k : k + 3]) for k in range(0, 12, 3)]
    assert rounds == ["cab", "abc", "bca", "cab"]


def test_a_power_law_has_its_exponent():
    work = np.array([1.0, 10.0, 100.0, 1000.0])
    fit = fit_slope(work, 3 * work**0.9)
    assert fit is not None
    assert fit["slope"] == pytest.approx(0.9, abs=1e-12)
    assert fit["error"] == pytest.approx(0, abs=1e-12)
    assert fit["points"] == 4
    assert fit_slope(work[:2], work[:2]) is None


def uncoupled(bias: float) -> ep.Landscape:
    """Linear units that go to `bias`, whatever the others do."""
    net = ep.nets.mlp([2, 3, 2], key=jax.random.key(0), unit=ep.Linear())
    leaves, treedef = jax.tree.flatten(net)
    filled = [jnp.full_like(a, bias if a.ndim == 1 else 0.0) for a in leaves]
    return ep.Landscape(jax.tree.unflatten(treedef, filled), jnp.ones((4, 2)))


def test_steps_to_settle_in_closed_form():
    scape = uncoupled(0.8)
    # The distance 0.8 is multiplied by ½ in every step: 0.8 / 2⁹ is above 1e-3.
    assert steps_to_settle(ep.Euler(step_size=0.5), scape, 4) == ([10], 0)
    over, exact = (ep.BlockCoordinate(relaxation=w) for w in (1.5, 1.0))
    assert steps_to_settle(over, scape, 2) == ([10, 10], 0)
    assert steps_to_settle(exact, scape, 4) == ([1], 0)
    # By 0.9: 64 steps would do for 0.8; 0.99 needs 666, past the first limit.
    assert steps_to_settle(ep.Euler(step_size=0.01), scape, 4)[0] == [666]
    assert steps_to_settle(ep.Euler(step_size=2.5), scape, 4) == (None, 4)


def test_a_batch_is_settled_with_its_slowest_example():
    # Hidden units go to 0.8·x, outputs stay: the distance of x = 1/64 is 2⁻⁶ of 1's.
    net = ep.nets.mlp([1, 3, 2], key=jax.random.key(0), unit=ep.Linear())
    leaves, treedef = jax.tree.flatten(net)
    filled = [jnp.full_like(a, 0.8 if a.shape == (1, 3) else 0.0) for a in leaves]
    x = jnp.asarray([[1.0], [1 / 64], [1 / 64], [1 / 64]])
    scape = ep.Landscape(jax.tree.unflatten(treedef, filled), x)
    assert steps_to_settle(ep.Euler(step_size=0.5), scape, 2) == ([10, 4], 0)


def test_what_training_needs_in_memory_by_hand():
    case = _BLOCKS
    found = indispensable_bytes(case)
    parameters = 20 * 12 + 12 * 11 + 11 * 5 + 12 + 11 + 5
    assert found == {
        "data": 4 * 20 * 3 * (20 + 5),
        "parameters": 4 * parameters,
        "optimizer": 8 * parameters,
        "states": 2 * 4 * 3 * (12 + 11 + 5),
    }


def test_other_programs_are_noticed():
    others = Others()
    code = "import time\nend = time.time() + 0.4\nwhile time.time() < end: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    load = others.load()
    # This process only waits; the other one kept one core busy, or shared it.
    assert load is None or load > 0.2
