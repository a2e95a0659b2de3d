"""Coupled and contrastive Hebbian learning: what they descend, and what they don't."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import eqprop as ep
import helpers as g
import helpers_learning as h


NX, NO = 5, 3
UNITS = ["hard_sigmoid", "linear"]


def skip() -> h.Case:
    """Hard-sigmoid hidden layers, linear outputs; some units at their walls."""
    energy = g.network("skip", UNITS, scale=0.5, seed=5)
    model = ep.Model(energy, ep.SquaredError())
    return h.Case(model, h.SWEEPS, g.inputs(), g.targets())


def by_hand(case: h.Case, eta: float | None):
    """The rule in NumPy: its matrix ∂/∂W over all units, its ∂/∂b, the Schur
    complements and the free states. `eta=None` is the gradient of the cost instead."""
    matrix, bias = g.full_matrix("skip", case.model.energy.edges)
    x, y = np.asarray(case.x), np.asarray(case.y)
    free = g.settled_by_hand("skip", UNITS, case.model.energy.edges, x)
    curvature = np.eye(free.shape[1]) - matrix[NX:, NX:]
    outputs = np.arange(free.shape[1])[-NO:]
    by_weight, by_bias, schurs = np.zeros_like(matrix), np.zeros_like(bias), []
    for k, s in enumerate(free):
        inside = np.flatnonzero((s[:-NO] > 0) & (s[:-NO] < 1))
        across = curvature[np.ix_(inside, outputs)]
        reach = np.linalg.solve(curvature[np.ix_(inside, inside)], across)
        schur = curvature[np.ix_(outputs, outputs)] - across.T @ reach
        error = s[-NO:] - y[k]
        push = -error if eta is not None else -np.linalg.solve(schur, error)
        move = np.zeros_like(bias)
        move[-NO:], move[NX + inside] = push, -reach @ push
        u = np.concatenate([x[k], s])
        # ∂E/∂W = −uuᵀ: the difference of u + ηv and u over η, exactly.
        by_weight -= np.outer(move, u) + np.outer(u, move)
        by_weight -= (eta or 0.0) * np.outer(move, move)
        by_bias -= move
        schurs.append(schur)
    coupled = jax.tree.map(jnp.ones_like, case.model.energy.edges)
    by_weight *= g.full_matrix("skip", coupled)[0]
    by_bias[:NX] = 0
    return by_weight / len(x), by_bias / len(x), np.stack(schurs), free


@pytest.mark.parametrize("eta", [1e-3, 0.3, 1.0])
def test_the_rule_is_the_closed_form_at_any_eta(eta):
    case = skip()
    by_weight, by_bias, _, free = by_hand(case, eta)
    assert 0.05 < np.mean((free[:, :-NO] == 0) | (free[:, :-NO] == 1)) < 0.5
    outcome, grad = h.run(ep.Coupled(eta), case)
    np.testing.assert_array_equal(
        h.walls(case, outcome.nudged[0].state), h.walls(case, outcome.free.state)
    )
    weights, biases = g.full_matrix("skip", grad.energy.edges)
    # Round-off of 1e-15 over η.
    np.testing.assert_allclose(weights, by_weight, atol=1e-11)
    np.testing.assert_allclose(biases, by_bias, atol=1e-11)


def test_it_is_the_gradient_with_the_errors_times_their_stiffness():
    case = skip()
    by_weight, by_bias, schurs, _ = by_hand(case, None)
    exact = h.exact(case)
    weights, biases = g.full_matrix("skip", exact.energy.edges)
    # Without S the same closed form is the gradient …
    np.testing.assert_allclose(weights, by_weight, atol=1e-12)
    np.testing.assert_allclose(biases, by_bias, atol=1e-12)
    # … from which the rule, with S, is another direction, though not far from it.
    assert np.all(np.linalg.eigvalsh(schurs) > 0)
    found = h.nudged(ep.Coupled(1e-3), case)
    a, b = h.flat(found), h.flat(exact)
    assert 0.9 < a @ b / np.linalg.norm(a) / np.linalg.norm(b) < 1 - 5e-4
    assert h.error(found, exact) > 0.05


def logits() -> h.Case:
    return h.mlp([5, 6, 3], ep.Tanh(), cost=ep.CrossEntropy(), solver=h.DAMPED)


@eqx.filter_jit
def pulled_stiff(case: h.Case) -> ep.AbstractEnergy:
    """The exact pull-back of S ∂C/∂o, with S from the energy's Hessian."""
    energy = case.model.energy

    def settle(energy):
        method = ep.BackpropThroughTime(case.solver)
        return method.equilibrium(energy, case.x).state

    state, pull = eqx.filter_vjp(settle, energy)

    def push(state, x, y):
        flat, unravel = ravel_pytree(state)
        j = jax.hessian(lambda s: energy(unravel(s), x))(flat)
        schur = jnp.linalg.inv(jnp.linalg.inv(j)[-NO:, -NO:])
        return schur @ jax.grad(case.model.cost)(energy.output(state), y)

    pushes = jax.vmap(push)(state, case.x, case.y) / len(case.x)
    return pull((jnp.zeros_like(state[0]), pushes))[0]


def test_the_bias_against_its_own_limit_is_first_order():
    case, etas = logits(), [0.04, 0.02, 0.01]
    limit = pulled_stiff(case)
    found = [h.nudged(ep.Coupled(eta), case).energy for eta in etas]
    errors = [h.error(grad, limit) for grad in found]
    assert abs(h.slope(etas, errors) - 1) < 0.1
    assert errors[-1] < 1e-2
    assert h.error(found[-1], h.exact(case).energy) > 0.02


def test_one_output_of_one_example_is_stiff_in_one_way_only():
    # Then S is a number, here below 1, and the rule S times the gradient.
    case = h.mlp([5, 6, 1])
    one = h.Case(case.model, case.solver, case.x[:1], 0.3 * jnp.ones((1, 1)))
    exact, found = h.exact(one), h.nudged(ep.Coupled(1e-4), one)
    ratio = h.flat(found) @ h.flat(exact) / np.sum(h.flat(exact) ** 2)
    assert 0.3 < ratio < 0.95
    assert h.error(found, jax.tree.map(lambda a: ratio * a, exact)) < 1e-3


def test_it_can_raise_the_cost():
    # E = ½sᵀAs − θs₁ with A = [[1, .9], [.9, 1]]: the output's change with θ is A⁻¹e₁,
    # so dC/dθ = e₁ᵀA⁻¹(s − y); with S = A in between, the rule is (s − y)₁.
    a = jnp.asarray([[1.0, 0.9], [0.9, 1.0]])
    energy = ep.FunctionEnergy(
        lambda theta, s, x: 0.5 * s @ a @ s - theta[0] * s[0],
        jnp.zeros(1),
        init=lambda x: jnp.zeros(2),
        output=lambda s: s,
    )
    y = jnp.asarray([[-1.0, -2.0]])
    case = h.Case(ep.Model(energy, ep.SquaredError()), h.EULER, jnp.ones((1, 1)), y)
    rule = h.flat(h.nudged(ep.Coupled(0.1), case))
    np.testing.assert_allclose(rule, [1.0], rtol=1e-10)
    gradient = (1.0 - 0.9 * 2.0) / (1 - 0.81)
    np.testing.assert_allclose(h.flat(h.exact(case)), [gradient], rtol=1e-10)
    assert rule * gradient < 0


def test_held_all_the_way_it_is_contrastive_hebbian_learning():
    case = h.CASES["two hidden layers"]()
    found = h.nudged(ep.Coupled(1.0), case)
    assert h.error(found, h.nudged(ep.Clamped(), case)) < 1e-12


@pytest.mark.parametrize(
    "unit, low, high", [(ep.HardSigmoid(), 0, 1), (ep.Tanh(), -1, 1)]
)
def test_outputs_are_held_where_their_units_can_be(unit, low, high):
    case = h.mlp([5, 6, 3], ep.Tanh(), output=unit, solver=h.DAMPED)
    landscape = ep.Landscape(case.model, case.x)
    state = ep.relax(landscape, case.solver).state
    wanted = state[-1] - 5.0 * (state[-1] - case.y)
    assert float(jnp.min(wanted)) < low
    assert float(jnp.max(wanted)) > high
    _, (phase,) = ep.Coupled(5.0).phases(landscape, state, case.y)
    (held,) = phase.landscape.held.values()
    np.testing.assert_array_equal(held, np.clip(wanted, low, high))
    np.testing.assert_array_equal(phase.state[-1], held)
    np.testing.assert_array_equal(phase.state[0], state[0])
    outcome, grad = h.run(ep.Coupled(5.0), case)
    assert np.all(np.isfinite(h.flat(grad)))
    assert len(outcome.nudged) == 1


@pytest.mark.parametrize("nudging", [ep.Clamped(), ep.Coupled(0.2)])
def test_no_gradient_of_an_equilibrium_is_claimed(nudging):
    case = h.CASES["one hidden layer"]()
    method = ep.EquilibriumProp(nudging, case.solver)
    name = type(nudging).__name__

    def downstream(energy):
        return jnp.sum(method.equilibrium(energy, case.x).state[-1])

    # Only the backward pass is refused.
    downstream(case.model.energy)
    message = rf"`equilibrium` can't be differentiated by `{name}`.*`ep\.Holomorphic`"
    with pytest.raises(ValueError, match=message):
        eqx.filter_grad(downstream)(case.model.energy)


def test_costs_with_parameters_and_computed_outputs_are_refused():
    case = h.readout(ep.SquaredError())
    method = ep.EquilibriumProp(ep.Coupled(0.2), case.solver)
    message = "`Coupled` holds the outputs.*`Readout`.*would learn nothing. Use `ep.Sq"
    with pytest.raises(ValueError, match=message):
        method.value_and_grad(case.model, case.x, case.y)
    computed = ep.FunctionEnergy(
        lambda s, x: 0.5 * s @ s,
        init=lambda x: jnp.zeros(3),
        output=lambda s: 2 * s,
    )
    model = ep.Model(computed, ep.SquaredError())
    with pytest.raises(ValueError, match="must pick whole leaves of the state"):
        method.value_and_grad(model, case.x, case.y)


@pytest.mark.parametrize("eta", [0.0, -0.1, float("inf")])
def test_a_step_that_is_not_positive_is_refused(eta):
    with pytest.raises(ValueError, match="`eta` of `Coupled` must be a finite number"):
        ep.Coupled(eta)
