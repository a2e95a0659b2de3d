"""What a gradient may not depend on, and what it must look like."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import eqprop as ep
import helpers_learning as h
from oracles import implicit


NUDGINGS = {
    "one-sided": ep.OneSided(0.3),
    "centered": ep.Centered(0.3),
    "clamped": ep.Clamped(),
}


def method_of(name: str, case: h.Case) -> ep.AbstractEstimator:
    if name == "unrolled":
        return ep.BackpropThroughTime(case.solver)
    return ep.EquilibriumProp(NUDGINGS[name], case.solver)


def rows(case: h.Case, index) -> h.Case:
    return case._replace(x=case.x[index], y=case.y[index])


def per_example(method, case: h.Case) -> tuple[np.ndarray, np.ndarray]:
    """The gradient and the cost of each example, estimated alone."""
    grads, costs = [], []
    for k in range(len(case.x)):
        one = rows(case, slice(k, k + 1))
        outcome, grad = h.estimate(method, one.model, one.x, one.y)
        grads.append(h.flat(grad))
        costs.append(float(outcome.cost))
    return np.stack(grads), np.asarray(costs)


@pytest.mark.parametrize("name", [*NUDGINGS, "unrolled"])
def test_the_gradient_of_a_batch_is_the_weighted_mean_of_its_examples(name):
    case = h.mlp([5, 6, 5, 3])
    method = method_of(name, case)
    grads, costs = per_example(method, case)
    for weight in (None, [1.0, 0.25, 3.0, 0.5], [2.0, 2.0, 2.0, 2.0]):
        array = None if weight is None else jnp.asarray(weight)
        outcome, grad = h.estimate(method, case.model, case.x, case.y, weight=array)
        # Matrix products of other batch shapes round differently: 1e-15 over β.
        expected = np.average(grads, axis=0, weights=weight)
        np.testing.assert_allclose(h.flat(grad), expected, rtol=1e-11, atol=1e-13)
        expected = np.average(costs, weights=weight)
        assert float(outcome.cost) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("name", [*NUDGINGS, "unrolled"])
def test_padding_changes_nothing(name):
    case = h.mlp([5, 6, 5, 3])
    method = method_of(name, case)
    padded = case._replace(
        x=jnp.concatenate([case.x, 7 * jnp.ones((3, 5))]),
        y=jnp.concatenate([case.y, -5 * jnp.ones((3, 3))]),
    )
    weight = jnp.asarray([1.0] * 4 + [0.0] * 3)
    without, expected = h.estimate(method, case.model, case.x, case.y)
    outcome, grad = h.estimate(method, padded.model, padded.x, padded.y, weight=weight)
    np.testing.assert_allclose(h.flat(grad), h.flat(expected), rtol=1e-11, atol=1e-13)
    assert float(outcome.cost) == pytest.approx(float(without.cost), rel=1e-13)


@pytest.mark.parametrize("name", [*NUDGINGS, "unrolled"])
def test_a_batch_of_padding_alone_has_gradient_zero(name):
    case = h.mlp([5, 6, 3])
    options = {"weight": jnp.zeros(4)}
    grad = h.gradient(method_of(name, case), case, **options)
    np.testing.assert_array_equal(h.flat(grad), 0)


def test_phases_by_hand_are_the_centered_estimate_for_either_sign_of_beta():
    case = h.mlp([5, 6, 5, 3])
    free = ep.Landscape(case.model, case.x)
    start = ep.relax(free, case.solver).state
    expected = h.nudged(ep.Centered(0.3), case)
    for beta in (0.3, -0.3):
        up, down = free.nudge(case.y, beta), free.nudge(case.y, -beta)
        phases = [
            ep.Phase(up, ep.relax(up, case.solver, start).state, 0.5 / beta),
            ep.Phase(down, ep.relax(down, case.solver, start).state, -0.5 / beta),
        ]
        assert h.error(ep.contrast_grad(phases), expected) < 1e-12
    mean = jax.tree.map(
        lambda a, b: 0.5 * (a + b),
        h.nudged(ep.OneSided(0.3), case),
        h.nudged(ep.OneSided(-0.3), case),
    )
    assert h.error(mean, expected) < 1e-12


def test_the_contrast_is_the_scalar_of_the_phases():
    case = h.mlp([5, 6, 3])
    landscape = ep.Landscape(case.model, case.x)
    state = ep.relax(landscape, case.solver).state
    up = landscape.nudge(case.y, 0.3)
    phases = [ep.Phase(landscape, state, -2.0), ep.Phase(up, state, 2.0)]
    # The same state in both: the energies cancel, and 2·0.3·C is left.
    costs = np.asarray(landscape.cost(state, case.y))
    assert float(ep.contrast(phases)) == pytest.approx(0.6 * costs.mean(), rel=1e-12)
    weight = jnp.asarray([1.0, 0.0, 3.0, 0.0])
    expected = 0.6 * np.average(costs, weights=weight)
    value = float(ep.contrast(phases, weight=weight))
    assert value == pytest.approx(expected, rel=1e-12)
    # Phases of different inputs: each counts with its own.
    other = ep.Landscape(case.model, case.x[::-1])
    phases = [ep.Phase(landscape, state, -2.0), ep.Phase(other, state, 0.5)]
    expected = 0.5 * other.energy(state).mean() - 2 * landscape.energy(state).mean()
    assert float(ep.contrast(phases)) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("nudging", [ep.OneSided(0.3), ep.Centered(0.3), ep.Clamped()])
def test_targets_that_are_met_already_teach_nothing(nudging):
    case = h.mlp([5, 6, 5, 3])
    landscape = ep.Landscape(case.model, case.x)
    state = ep.relax(landscape, case.solver).state
    met = case._replace(y=landscape.output(state))
    # Round-off of the states over β.
    assert np.max(np.abs(h.flat(h.nudged(nudging, met)))) < 1e-13
    assert np.max(np.abs(h.flat(h.nudged(nudging, case)))) > 1e-2


def test_clamped_is_contrastive_hebbian_learning():
    case = h.mlp([5, 6, 4, 3])
    terms = [edge.interaction for edge in case.model.energy.edges]
    weights = [np.asarray(t.weight) for t in terms if isinstance(t, ep.Dense)]
    biases = [np.asarray(t.bias) for t in terms if isinstance(t, ep.Bias)]
    total = 0
    for x, y in zip(np.asarray(case.x), np.asarray(case.y), strict=True):
        free = implicit.settle(x, weights, biases)
        held = implicit.settle(x, weights, biases, held=y)
        slopes = [implicit.energy_slopes(s) for s in (free, held)]
        ends = [[a for pair in zip(*s, strict=True) for a in pair] for s in slopes]
        total = total + (h.flat(ends[1]) - h.flat(ends[0])) / len(case.x)
    outcome, grad = h.run(ep.Clamped(), case)
    # Edges alternate as the oracle's pairs do: a weight, then its layer's bias.
    np.testing.assert_allclose(h.flat(grad), total, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal(outcome.nudged[0].state[-1], case.y)


@pytest.mark.parametrize("name", h.CASES)
def test_gradients_have_the_structure_of_the_models_parameters(name):
    case = h.CASES[name]()
    expected = eqx.filter(case.model, eqx.is_inexact_array)
    for method in (
        ep.EquilibriumProp(ep.Centered(0.3), case.solver),
        ep.BackpropThroughTime(case.solver),
    ):
        grad = eqx.filter_eval_shape(method.value_and_grad, case.model, case.x, case.y)[
            1
        ]
        assert jax.tree.structure(grad) == jax.tree.structure(expected)
        for a, b in zip(jax.tree.leaves(grad), jax.tree.leaves(expected), strict=True):
            assert a.shape == b.shape
            assert a.dtype == b.dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_gradients_keep_the_models_type(dtype):
    case = h.mlp([5, 6, 3], solver=ep.BlockCoordinate(max_steps=10))
    model = jax.tree.map(lambda a: a.astype(dtype), case.model)
    x, y = case.x.astype(dtype), case.y.astype(dtype)
    for nudging in (ep.OneSided(0.5), ep.Centered(0.5), ep.Clamped()):
        _, grad = h.estimate(ep.EquilibriumProp(nudging, case.solver), model, x, y)
        assert {str(a.dtype) for a in jax.tree.leaves(grad)} == {dtype}


@pytest.mark.parametrize(
    "name", ["two hidden layers", "readout of logits", "own energy"]
)
@pytest.mark.parametrize("optimizer", [optax.adam(0.02), optax.sgd(0.1, momentum=0.5)])
def test_optax_optimizers_lower_the_cost(name, optimizer):
    case = h.CASES[name]()
    method = ep.EquilibriumProp(ep.Centered(0.2), case.solver)
    params = eqx.filter(case.model, eqx.is_inexact_array)
    opt_state, model, costs = optimizer.init(params), case.model, []

    @eqx.filter_jit
    def step(model, opt_state):
        outcome, grad = method.value_and_grad(model, case.x, case.y)
        params = eqx.filter(model, eqx.is_inexact_array)
        updates, opt_state = optimizer.update(grad, opt_state, params)
        return eqx.apply_updates(model, updates), opt_state, outcome.cost

    # optax itself mixes float and integer types.
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(40):
            model, opt_state, cost = step(model, opt_state)
            costs.append(float(cost))
    assert costs[-1] < 0.9 * costs[0]
