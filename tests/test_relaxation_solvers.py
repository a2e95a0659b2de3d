"""Every solver ends where NumPy ends, and none goes uphill that says it doesn't."""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import eqprop as ep
from helpers import (
    AFFINE_GRAPHS,
    couplings,
    CURVED,
    flat,
    full_matrix,
    inputs,
    MIXES,
    network,
    QUADRATIC,
    random_state,
    settled_by_hand,
    targets,
)


SCALE = 0.4
GOAL = ep.Tolerance(atol=1e-12)
SOLVERS = {
    "euler": ep.Euler(step_size=0.7, max_steps=500, stop=GOAL),
    "adaptive": ep.AdaptiveEuler(stop=GOAL),
    "momentum": ep.Nesterov(step_size=0.5, max_steps=500, stop=GOAL),
    "fixed point": ep.FixedPoint(damping=1.0, max_steps=500, stop=GOAL),
    "damped": ep.FixedPoint(damping=0.5, max_steps=500, stop=GOAL),
    "blocks": ep.BlockCoordinate(relaxation=1.0, max_steps=500, stop=GOAL),
    "over-relaxed": ep.BlockCoordinate(relaxation=1.3, max_steps=500, stop=GOAL),
    "newton": ep.Optimistix(optx.Newton(rtol=1e-12, atol=1e-12)),
    "iteration": ep.Optimistix(optx.FixedPointIteration(rtol=1e-13, atol=1e-13)),
    "bfgs": ep.Optimistix(optx.BFGS(rtol=1e-12, atol=1e-12)),
}
EXPLICIT = ("euler", "adaptive", "momentum")


REFERENCES = ("newton", "iteration", "bfgs")
LINEAR, CLIPPED = ("linear",), ("hard_sigmoid",)
ROTATED = [
    (*units[k:], *units[:k]) for units in MIXES.values() for k in range(1, len(units))
]
PAIRS = [(solver, QUADRATIC) for solver in SOLVERS if solver != "bfgs"]
PAIRS += [(s, CURVED) for s in SOLVERS if s not in EXPLICIT and s != "bfgs"]
PAIRS += [("bfgs", LINEAR)]
# Every kind of unit takes its turn as the nudged output.
PAIRS += [("over-relaxed", units) for units in ROTATED]


def settle(solver, landscape, state0=None) -> ep.Equilibrium:
    if isinstance(solver, ep.Optimistix):
        return solver.relax(landscape, state0)
    return ep.relax(landscape, solver, state0)


def nudged(graph: str, units, beta: float, *, scale: float = SCALE) -> ep.Landscape:
    model = ep.Model(network(graph, units, scale=scale), ep.SquaredError())
    free = ep.Landscape(model, inputs())
    return free.nudge(targets(), beta) if beta else free


@pytest.mark.parametrize("graph", AFFINE_GRAPHS)
def test_the_weights_make_the_energy_strictly_convex(graph):
    # What the tests below rest on: with ‖W‖ + |β| < 1 ≤ G″ over the free units, there
    # is one equilibrium and the iteration in NumPy contracts. (A steep sigmoid's G″
    # is 1 as well.)
    matrix, _ = full_matrix(graph, couplings(graph, scale=SCALE))
    free = matrix[5:, 5:]
    assert np.linalg.norm(free, 2) + 0.4 < 1


@pytest.mark.parametrize("solver, units", PAIRS)
def test_all_solvers_reach_the_equilibrium(solver, units):
    graph = "cycle"
    edges = couplings(graph, scale=SCALE)
    for beta in (0.4, -0.4):
        at = nudged(graph, units, beta)
        found = settle(SOLVERS[solver], at)
        assert np.all(found.converged)
        expected = settled_by_hand(
            graph, units, edges, np.asarray(at.x), y=np.asarray(at.y), beta=beta
        )
        # Errors of 1e-12 over 1 − ‖W‖ − |β|; BFGS stops on the energy's decrease,
        # which leaves a state known to its square root.
        tolerance = 1e-6 if solver == "bfgs" else 1e-10
        np.testing.assert_allclose(flat(found.state), expected, atol=tolerance)


@pytest.mark.parametrize("graph", ["chain", "skip"])
@pytest.mark.parametrize("solver", ["euler", "over-relaxed"])
def test_the_free_equilibrium_does_not_depend_on_start_or_graph(graph, solver):
    at = nudged(graph, QUADRATIC, 0.0)
    edges = couplings(graph, scale=SCALE)
    expected = settled_by_hand(graph, QUADRATIC, edges, np.asarray(at.x))
    for start in (None, random_state(at, spread=3.0)):
        found = flat(settle(SOLVERS[solver], at, start).state)
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("solver", ["euler", "adaptive", "fixed point", "damped"])
def test_lateral_couplings_settle_too(solver):
    at = nudged("lateral", QUADRATIC, 0.0)
    edges = couplings("lateral", scale=SCALE)
    expected = settled_by_hand("lateral", QUADRATIC, edges, np.asarray(at.x))
    found = ep.relax(at, SOLVERS[solver])
    np.testing.assert_allclose(flat(found.state), expected, atol=1e-10)


def test_linear_units_settle_where_the_linear_system_says():
    at = nudged("cycle", LINEAR, 0.4)
    matrix, bias = full_matrix("cycle", at.energy_fn.edges)
    pull = np.zeros(len(bias))
    pull[-3:] = 0.4
    system = (np.eye(len(bias)) - matrix + np.diag(pull))[5:, 5:]
    right = np.asarray(at.x) @ matrix[:5, 5:] + bias[5:]
    right[:, -3:] += 0.4 * np.asarray(at.y)
    expected = np.linalg.solve(system, right.T).T
    found = ep.relax(at, SOLVERS["over-relaxed"]).state
    np.testing.assert_allclose(flat(found), expected, atol=1e-11)


def test_a_users_whole_energy_settles_by_explicit_steps():
    def fn(state, x):
        return jnp.sum(jnp.cosh(state) - state * x[:4])

    energy = ep.FunctionEnergy(fn, init=lambda x: 0 * x[:4], output=lambda s: s)
    at = ep.Landscape(energy, inputs())
    for solver in ("adaptive", "newton", "bfgs"):
        found = settle(SOLVERS[solver], at)
        tolerance = 1e-6 if solver == "bfgs" else 1e-11
        np.testing.assert_allclose(
            found.state, np.arcsinh(inputs()[:, :4]), atol=tolerance
        )


def test_fixed_point_is_euler_on_linear_units():
    at = nudged("lateral", LINEAR, 0.4)
    one = ep.relax(at, ep.FixedPoint(damping=0.3, max_steps=7)).state
    other = ep.relax(at, ep.Euler(step_size=0.3, max_steps=7)).state
    np.testing.assert_allclose(flat(one), flat(other), atol=1e-14)


def test_one_step_of_each_solver_is_its_formula():
    at = nudged("chain", CLIPPED, 0.4)
    state = random_state(at)
    matrix, bias = full_matrix("chain", at.energy_fn.edges)
    u = flat(state, at.x)
    drive = u @ matrix + bias
    drive[:, -3:] -= 0.4 * (u[:, -3:] - np.asarray(at.y))
    drive, s = drive[:, 5:], u[:, 5:]
    euler = np.clip(s + 0.3 * (drive - s), 0, 1)
    damped = s + 0.3 * (np.clip(drive, 0, 1) - s)
    for solver, expected in (
        (ep.Euler(step_size=0.3, max_steps=1), euler),
        (ep.FixedPoint(damping=0.3, max_steps=1), damped),
    ):
        found = flat(ep.relax(at, solver, state).state)
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_one_sweep_moves_the_output_first_and_the_rest_by_what_it_became():
    at = nudged("chain", CLIPPED, 0.4)
    h, k, o = random_state(at)
    free = ep.Landscape(at.model, at.x)

    def moved(old, goal):
        return np.clip(old + 1.3 * (goal - old), 0, 1)

    drive = np.asarray(free.drive((h, k, o))[2])
    out = moved(o, np.clip((drive + 0.4 * np.asarray(at.y)) / 1.4, 0, 1))
    first = moved(h, np.clip(free.drive((h, k, o))[0], 0, 1))
    new = (jnp.asarray(first), k, jnp.asarray(out))
    middle = moved(k, np.clip(free.drive(new)[1], 0, 1))
    found = ep.relax(
        at, ep.BlockCoordinate(relaxation=1.3, max_steps=1), (h, k, o)
    ).state
    np.testing.assert_allclose(flat(found), flat((first, middle, out)), atol=1e-14)


def test_strong_synchronous_iteration_oscillates_where_a_sweep_settles():
    # Two units that excite each other over-strongly swap (1, 0) and (0, 1) for ever.
    net = ep.Network(
        [
            ep.Layer("a", ep.HardSigmoid(), (1,)),
            ep.Layer("output", ep.HardSigmoid(), (1,)),
        ],
        [ep.Edge(("a", "output"), ep.Dense(jnp.asarray([[2.0]])))],
    )
    at = ep.Landscape(net, inputs(1))
    start = (jnp.ones((1, 1)), jnp.zeros((1, 1)))
    swapped = ep.relax(at, ep.FixedPoint(damping=1.0, max_steps=7), start)
    np.testing.assert_array_equal(flat(swapped.state), [[0.0, 1.0]])
    assert swapped.residual[0] == 1
    swept = ep.relax(at, ep.BlockCoordinate(max_steps=2), start)
    np.testing.assert_array_equal(swept.residual, 0)


def test_an_optimistix_solver_leaves_a_clamped_layer_where_it_is_held():
    at = nudged("chain", LINEAR, 0.4)
    value = jnp.full((3, 4), 0.3)
    held = at.clamp(lambda state: state[0], value)
    expected = ep.relax(held, SOLVERS["blocks"]).state
    start = jax.tree.map(jnp.ones_like, held.init())
    for solver in REFERENCES:
        found = SOLVERS[solver].relax(held, start).state
        np.testing.assert_array_equal(found[0], value)
        np.testing.assert_allclose(flat(found), flat(expected), atol=1e-6)


def test_optimistix_takes_one_beta_for_each_example():
    at = nudged("chain", CLIPPED, 0.1)
    at = at.nudge(targets(), jnp.asarray([-0.3, 0.0, 0.4]))
    found = SOLVERS["newton"].relax(at).state
    expected = ep.relax(at, SOLVERS["blocks"]).state
    np.testing.assert_allclose(flat(found), flat(expected), atol=1e-10)
