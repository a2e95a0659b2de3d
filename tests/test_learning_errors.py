"""Wrong calls are refused with a message that says what to do."""

import subprocess
import sys

import jax.numpy as jnp
import pytest

import eqprop as ep
import helpers_learning as h


NONSENSE = [0, 0.0, float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("nudging", [ep.OneSided, ep.Centered, ep.RandomSign])
@pytest.mark.parametrize("beta", NONSENSE)
def test_nonsense_betas_are_refused(nudging, beta):
    message = f"`beta` of `{nudging.__name__}` must be a finite number.*but is.*try 0.2"
    with pytest.raises(ValueError, match=message):
        nudging(beta)


@pytest.mark.parametrize("nudging", [ep.Centered, ep.RandomSign])
def test_a_nudging_of_both_signs_wants_the_positive_one(nudging):
    with pytest.raises(ValueError, match="above 0, but is -0.1"):
        nudging(-0.1)
    ep.OneSided(-0.1)


def test_random_sign_wants_a_key():
    case = h.mlp([5, 6, 3])
    method = ep.EquilibriumProp(ep.RandomSign(0.1), case.solver)
    message = r"draws a sign for each batch and needs a `key`.*key=jax.random.key\(0\)"
    with pytest.raises(ValueError, match=message):
        method.value_and_grad(case.model, case.x, case.y)


def test_the_unrolled_reference_refuses_loops_of_unknown_length():
    message = "no reverse derivative. Pass `stop=None` and enough `max_steps`"
    with pytest.raises(ValueError, match=message):
        ep.BackpropThroughTime(ep.BlockCoordinate(stop=ep.Tolerance(1e-6)))


@pytest.mark.parametrize("cost", [ep.SquaredError(), ep.CrossEntropy()])
def test_clamped_refuses_a_readout(cost):
    case = h.readout(cost)
    method = ep.EquilibriumProp(ep.Clamped(), case.solver)
    message = "`Clamped` holds the outputs.*under `Readout`.*Use `ep.SquaredError"
    with pytest.raises(ValueError, match=message):
        method.value_and_grad(case.model, case.x, case.y)


def test_clamped_refuses_logits():
    case = h.mlp([5, 6, 3], cost=ep.CrossEntropy())
    method = ep.EquilibriumProp(ep.Clamped(), case.solver)
    with pytest.raises(ValueError, match="under `CrossEntropy` the outputs are not"):
        method.value_and_grad(case.model, case.x, case.y)


def test_clamped_refuses_a_computed_output():
    case = h.own_energy()
    energy = ep.FunctionEnergy(
        h.tanh_energy,
        case.model.energy.params,
        init=lambda x: (jnp.zeros(6), jnp.zeros(3)),
        output=lambda state: 2 * state[1],
    )
    method = ep.EquilibriumProp(ep.Clamped(), case.solver)
    model = ep.Model(energy, ep.SquaredError())
    with pytest.raises(ValueError, match="must pick whole leaves of the state"):
        method.value_and_grad(model, case.x, case.y)


METHODS = {
    "one-sided": ep.EquilibriumProp(ep.OneSided(0.1)),
    "centered": ep.EquilibriumProp(ep.Centered(0.1)),
    "clamped": ep.EquilibriumProp(ep.Clamped()),
    "unrolled": ep.BackpropThroughTime(),
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    "shape, problem",
    [
        ((4, 2), r"`y` of shape \(4, 2\).*\(2,\) do not fit outputs of shape \(3,\)"),
        ((3, 3), r"`y` of shape \(3, 3\).*`x` holds 4 examples"),
        ((4,), r"`y` of shape \(4,\).*one_hot\(labels"),
        ((3,), r"`y` of shape \(3,\).*`x` holds 4 examples"),
    ],
)
def test_targets_of_the_wrong_shape_are_refused(method, shape, problem):
    case = h.mlp([5, 6, 3])
    with pytest.raises(ValueError, match=problem):
        method.value_and_grad(case.model, case.x, jnp.zeros(shape))


# In a process of its own: here beartype would refuse the arguments before the library
# gets to say anything.
UNCHECKED = """
import jax, jax.numpy as jnp
import eqprop as ep
model = ep.Model(ep.nets.mlp([5, 6, 3], key=jax.random.key(0)), ep.SquaredError())
nudgings = [ep.OneSided(0.1), ep.Centered(0.1), ep.Clamped()]
methods = [ep.EquilibriumProp(n) for n in nudgings] + [ep.BackpropThroughTime()]
x, y = jnp.zeros((4, 5)), jnp.zeros((4, 3))
for method in methods:
    for y, weight in CALLS:
        try:
            method.value_and_grad(model, x, y, weight=weight)
            print("accepted")
        except Exception as error:
            print(type(error).__name__, str(error).replace(chr(10), " "))
"""


def complaints(calls: str) -> list[str]:
    """What each method says to each `(y, weight)`."""
    code = UNCHECKED.replace("CALLS", calls)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_integer_targets_are_refused():
    matrix, labels = "jnp.zeros((4, 3), int)", "jnp.asarray([0, 1, 2, 0])"
    lines = complaints(f"[({matrix}, None), ({labels}, None)]")
    assert len(lines) == 8
    for line in lines:
        assert line.startswith("ValueError `y` of shape (4")
        assert "dtype int32" in line
        assert "ep.data.one_hot(labels" in line
    assert all("must be floating-point numbers" in line for line in lines[::2])


def test_weights_that_are_not_one_per_example_are_refused():
    # Broadcast against the batch, they would scale the gradient by its size.
    shapes = ["(3,)", "(4, 1)", "()"]
    lines = complaints("[" + ", ".join(f"(y, jnp.ones({s}))" for s in shapes) + "]")
    assert len(lines) == 12
    for line in lines:
        assert line.startswith("ValueError `weight`")
        assert "4 examples" in line


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
@pytest.mark.parametrize(
    "x, problem",
    [
        (jnp.zeros((4, 7)), r"`x` has shape \(7,\) for one example.*\(5, 6\)"),
        (jnp.zeros((5,)), r"`x` has shape \(\) for one example.*\[batch, \*input"),
        (jnp.zeros(()), r"must be an array of inputs, \[batch.*pass `x\[None\]`"),
        (jnp.zeros((4, 5), jnp.uint8), r"floating-point.*uint8.*astype\(jnp.float32"),
        (jnp.zeros((4, 5), bool), r"floating-point numbers.*bool"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(method, x, problem):
    case = h.mlp([5, 6, 3])
    with pytest.raises(ValueError, match=problem):
        method.value_and_grad(case.model, x, case.y)


def test_a_bare_energy_has_no_cost_to_nudge_toward():
    case = h.mlp([5, 6, 3])
    landscape = ep.Landscape(case.model.energy, case.x)
    message = r"Targets need a cost.*ep.Model\(energy, ep.SquaredError\(\)\)"
    with pytest.raises(ValueError, match=message):
        landscape.nudge(case.y, 0.1)
    for method in METHODS.values():
        with pytest.raises(ValueError, match="Targets need a cost"):
            method.value_and_grad(case.model.energy, case.x, case.y)


def test_a_start_that_does_not_fit_is_refused():
    case = h.mlp([5, 6, 3])
    for method in METHODS.values():
        with pytest.raises(ValueError, match="`state0` has structure and shapes"):
            method.value_and_grad(
                case.model, case.x, case.y, state0=(jnp.zeros((4, 6)),)
            )
