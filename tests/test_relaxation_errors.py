"""A wrong call is answered in words, before anything is compiled."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import eqprop as ep
from helpers import annotations_unchecked, inputs, network, targets


@pytest.fixture(autouse=True)
def _as_users_run():
    with annotations_unchecked():
        yield


def landscape(units=("hard_sigmoid",), *, batch: int = 3) -> ep.Landscape:
    model = ep.Model(network("chain", units), ep.SquaredError())
    return ep.Landscape(model, inputs(batch))


NUMBERS = [
    (ep.Euler, "step_size", [0.0, -0.5, math.nan, math.inf]),
    (ep.AdaptiveEuler, "step_size", [0.0, -0.5, math.nan, math.inf]),
    (ep.Nesterov, "step_size", [0.0, -0.5, math.nan, math.inf]),
    (ep.FixedPoint, "damping", [0.0, -0.5, 1.5, math.nan]),
    (ep.BlockCoordinate, "relaxation", [0.0, 2.0, -1.0, 2.5, math.nan]),
    (ep.Tolerance, "atol", [-1e-3, math.nan, math.inf]),
    (ep.Tolerance, "rtol", [-1e-3, math.nan, math.inf]),
]
SOLVERS = [ep.Euler, ep.AdaptiveEuler, ep.Nesterov, ep.FixedPoint, ep.BlockCoordinate]
SOLVERS += [ep.ConjugateSweeps]
NUMBERS += [(kind, "certify", [0.0, -1e-3, math.nan]) for kind in SOLVERS]


@pytest.mark.parametrize(
    "kind, name, value", [(k, n, v) for k, n, vs in NUMBERS for v in vs]
)
def test_nonsense_numbers_are_refused_as_typed(kind, name, value):
    pattern = rf"`{name}` of `{kind.__name__}` must be .*, but is {value}\. \S"
    with pytest.raises(ValueError, match=pattern):
        kind(**{name: value})
    with pytest.raises(ValueError, match=f"`{name}` of `{kind.__name__}`"):
        kind(**{name: jnp.asarray(value)})


@pytest.mark.parametrize("value", ["0.5", None, [0.5]])
@pytest.mark.parametrize("kind, name", [row[:2] for row in NUMBERS[:7]])
def test_what_is_no_number_is_refused(kind, name, value):
    if name == "relaxation" and value is None:
        pytest.skip("left open: `tune` fills it in")
    with pytest.raises((TypeError, ValueError), match=f"`{name}` of `{kind.__name__}`"):
        kind(**{name: value})


@pytest.mark.parametrize("value", [0, -3, 2.0, True, None, "20", math.inf])
@pytest.mark.parametrize("kind", SOLVERS)
def test_steps_are_a_positive_whole_number(kind, value):
    pattern = f"`max_steps` of `{kind.__name__}` must be a positive integer, but is"
    with pytest.raises(ValueError, match=pattern):
        kind(max_steps=value)


def test_the_ends_of_the_ranges_are_allowed():
    ep.FixedPoint(damping=1.0)
    ep.FixedPoint(damping=1)
    ep.BlockCoordinate(relaxation=1.999)
    ep.Tolerance(0.0, 0.0)
    ep.Euler(np.float32(0.5), max_steps=1)


def test_optimistix_checks_its_numbers_as_the_solvers_do():
    solver = optx.Newton(rtol=1e-8, atol=1e-8)
    with pytest.raises(ValueError, match="`max_steps` of `Optimistix`"):
        ep.Optimistix(solver, max_steps=0)
    with pytest.raises(ValueError, match="`certify` of `Optimistix`"):
        ep.Optimistix(solver, certify=-1.0)


@pytest.mark.parametrize("unit", ["sigmoid", "tanh", "softmax"])
@pytest.mark.parametrize("solver", [ep.Euler(), ep.AdaptiveEuler(), ep.Nesterov()])
def test_explicit_steps_refuse_units_of_unbounded_curvature(unit, solver):
    name = type(solver).__name__
    pattern = rf"(?i)`{name}` needs .*bounded curvature.*`{unit}.*ep\.FixedPoint"
    with pytest.raises(ValueError, match=pattern):
        ep.relax(landscape([unit]), solver)


def no_potential() -> ep.Landscape:
    energy = ep.FunctionEnergy(
        lambda state, x: 0.5 * jnp.sum((state - x) ** 2),
        init=jnp.zeros_like,
        output=lambda state: state,
    )
    return ep.Landscape(energy, inputs())


@pytest.mark.parametrize("solver", [ep.FixedPoint(), ep.BlockCoordinate()])
def test_activating_solvers_refuse_units_without_potential(solver):
    name = type(solver).__name__
    pattern = rf"`{name}` needs units with a potential.*`Unconstrained\(\)`.*ep\.Euler"
    with pytest.raises(ValueError, match=pattern):
        ep.relax(no_potential(), solver)


def test_sweeps_refuse_a_nudged_output_that_is_computed():
    energy = ep.FunctionEnergy(
        lambda state, x: -jnp.sum(state[0] * x[:3]),
        init=lambda x: (jnp.zeros(3),),
        output=lambda state: 2 * state[0],
        units=ep.Linear(),
    )
    free = ep.Landscape(ep.Model(energy, ep.SquaredError()), inputs())
    ep.relax(free, ep.BlockCoordinate())
    with pytest.raises(ValueError, match=r"one leaf of the state.*lambda state: state"):
        ep.relax(free.nudge(targets(), 0.1), ep.BlockCoordinate())


X_ERRORS = [
    (None, r"`x` must be an array of inputs.*`x\[None\]`"),
    (jnp.ones(()), r"`x` must be an array of inputs"),
    (jnp.ones((3, 5), jnp.uint8), r"`x` must hold floating-point.*uint8.*255"),
    (jnp.ones((3, 7)), r"`x` has shape \(7,\)"),
    (jnp.ones((0, 5)), "`x` .*at least one example"),
]


@pytest.mark.parametrize("x, message", X_ERRORS)
def test_inputs_that_do_not_fit_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        ep.Landscape(network("chain"), x)


def test_all_inputs_hold_the_same_number_of_examples():
    energy = ep.FunctionEnergy(
        lambda state, x: jnp.sum(state * x[0]) + jnp.sum(x[1]),
        init=lambda x: x[0],
        output=lambda state: state,
    )
    with pytest.raises(ValueError, match=r"`x` .*\(3, 5\).*\(2, 5\)"):
        ep.Landscape(energy, (inputs(3), inputs(2)))


Y_ERRORS = [
    (jnp.zeros((3, 4)), r"`y` of shape \(3, 4\).*`SquaredError` of `Network`.*\(3,\)"),
    (jnp.zeros((2, 3)), r"`y` of shape \(2, 3\).*`x` holds 3 examples"),
    (jnp.zeros(3, jnp.int32), r"`y` of shape \(3,\) and dtype int32.*one_hot"),
    (jnp.zeros((3, 3), jnp.int32), r"targets must be floating-point numbers"),
    (jnp.zeros(()), r"`y` of shape \(\)"),
]


@pytest.mark.parametrize("y, message", Y_ERRORS)
def test_targets_that_do_not_fit_are_refused(y, message):
    with pytest.raises(ValueError, match=message):
        landscape().nudge(y, 0.1)
    with pytest.raises(ValueError, match=message):
        landscape().cost(landscape().init(), y)


BETAS = [math.nan, math.inf, "0.1", [0.1, 0.1, 0.1], jnp.ones(2), jnp.ones((3, 1))]


@pytest.mark.parametrize("beta", [*BETAS, jnp.asarray([0.1, jnp.nan, 0.1])])
def test_a_beta_that_is_no_number_or_one_for_each_example_is_refused(beta):
    with pytest.raises((TypeError, ValueError), match="`beta` of `nudge` must be"):
        landscape().nudge(targets(), beta)


def test_a_bare_energy_has_no_cost():
    at = ep.Landscape(network("chain"), inputs())
    with pytest.raises(ValueError, match=r"need.? a cost.*ep\.Model"):
        at.nudge(targets(), 0.1)
    with pytest.raises(ValueError, match="need.? a .*cost"):
        at.cost(at.init(), targets())
    with pytest.raises(ValueError, match=r"`cost` needs .* targets `y`"):
        landscape().cost(landscape().init())


CLAMPS = [
    (lambda s: s[0] * 2, jnp.ones((3, 4)), "`where` of `clamp` must pick whole leaves"),
    (lambda s: s[7], jnp.ones((3, 4)), "`where` of `clamp` must pick whole leaves"),
    (
        lambda s: s[0],
        jnp.ones((3, 3)),
        r"`value` of `clamp` has shape \(3, 3\).*\(3, 4\)",
    ),
    (lambda s: s[0], jnp.ones(4), r"`value` of `clamp` has shape \(4,\).*\(3, 4\)"),
    (lambda s: s[:2], jnp.ones((3, 4)), "`value` of `clamp`"),
    (lambda s: s[0], 0.5, "`value` of `clamp`"),
    (lambda s: s[0], jnp.ones((3, 4), jnp.int32), "`value` of `clamp`"),
]


@pytest.mark.parametrize("where, value, message", CLAMPS)
def test_a_clamp_that_does_not_fit_is_refused(where, value, message):
    with pytest.raises(ValueError, match=message):
        landscape().clamp(where, value)


def states(*shapes, dtype=jnp.float64):
    return tuple(jnp.zeros(shape, dtype) for shape in shapes)


RIGHT = [(3, 4), (3, 2, 2), (3, 3)]
STARTS = [
    states(*RIGHT[:2]),
    list(states(*RIGHT)),
    states((3, 4), (3, 4), (3, 3)),
    states((2, 4), (2, 2, 2), (2, 3)),
    {"h": jnp.zeros((3, 4))},
    states(*RIGHT, dtype=jnp.int32),
    states(*RIGHT, dtype=jnp.float32),
]


@pytest.mark.parametrize("state0", STARTS)
def test_a_start_of_another_structure_is_refused(state0):
    for run in (
        lambda at: ep.relax(at, ep.Euler(), state0),
        lambda at: ep.Optimistix(optx.Newton(1e-8, 1e-8)).relax(at, state0),
    ):
        with pytest.raises(ValueError, match="`state0` has .*this landscape's states"):
            run(landscape())


def test_optimistix_takes_only_its_own_solvers():
    with pytest.raises(TypeError, match=r"is Euler.*optimistix\.Newton"):
        ep.Optimistix(ep.Euler()).relax(landscape())
    with pytest.raises(ValueError, match=r"knows no walls.*`HardSigmoid\(\)`.*Newton"):
        ep.Optimistix(optx.BFGS(1e-8, 1e-8)).relax(landscape())


def test_optimistix_that_does_not_get_there_raises():
    solver = ep.Optimistix(optx.FixedPointIteration(1e-12, 1e-12), max_steps=1)
    with pytest.raises(ep.RelaxationError, match="3 of 3 examples"):
        solver.relax(landscape())
    found = solver.relax(landscape(), throw=False)
    assert not np.any(found.converged)
    np.testing.assert_array_equal(found.num_steps, 1)


def test_wrong_calls_are_refused_inside_jit_as_well():
    with pytest.raises(ValueError, match="`state0` has structure"):
        jax.jit(lambda s: ep.relax(landscape(), ep.Euler(), s).state)(jnp.ones(3))
