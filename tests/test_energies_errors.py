"""What can't be an energy is refused in words."""

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import eqprop as ep
from helpers import annotations_unchecked, inputs, network


@pytest.fixture(autouse=True)
def _as_users_run():
    with annotations_unchecked():
        yield


def layer(name: str = "output", size: int = 2, unit=None) -> ep.Layer:
    return ep.Layer(name, ep.Linear() if unit is None else unit, (size,))


def dense(*shape: int) -> ep.Dense:
    return ep.Dense(jnp.ones(shape))


BAD_GRAPHS = [
    (
        [layer()],
        [(("hiden", "output"), dense(2, 2))],
        r"`edges\[0\]` \(Dense\).*'hiden'",
    ),
    (
        [layer("hidden1"), layer()],
        [(("hidden", "output"), dense(2, 2))],
        r"Did you mean 'hidden1'\?.*Layers: .*hidden1, output",
    ),
    ([layer()], [(("inptu", "output"), dense(2, 2))], "Did you mean 'input'"),
    ([layer(), layer()], [], "two layers named 'output'"),
    ([layer("hidden")], [], r"`output='output'` is no layer"),
    ([layer("outputs")], [], r"Did you mean 'outputs'\?"),
    (
        [layer("h", 3), layer()],
        [(("h", "output"), dense(2, 3))],
        r"`edges\[0\]` \(Dense\) between \('h', 'output'\) has a weight of shape"
        r" \(2, 3\) for layers of 3 and 2 units",
    ),
    (
        [layer("h"), layer()],
        [(("output",), ep.Bias(jnp.ones(2))), (("h",), ep.Bias(jnp.ones(3)))],
        r"`edges\[1\]` \(Bias\).*bias of shape \(3,\) for a layer of \(2,\)",
    ),
    ([layer()], [(("output",), dense(2, 2))], "couples two layers, not 1"),
    (
        [layer("h"), layer()],
        [(("h", "output"), ep.Bias(jnp.ones(2)))],
        "couples one layer, not 2",
    ),
    (
        [layer("h"), layer()],
        [(("h", "output"), ep.Lateral(jnp.ones((2, 2))))],
        "couples one layer with itself, not 2",
    ),
    (
        [layer()],
        [(("output",), ep.Lateral(jnp.ones((3, 3))))],
        r"weight of shape \(3, 3\) for a layer of 2 units",
    ),
]


@pytest.mark.parametrize("layers, edges, message", BAD_GRAPHS)
@pytest.mark.parametrize("kind", ["network", "hopfield"])
def test_a_graph_that_does_not_fit_is_refused(layers, edges, message, kind):
    edges = [ep.Edge(*edge) for edge in edges]
    with pytest.raises(ValueError, match=message):
        if kind == "network":
            ep.Network(layers, edges)
        else:
            ep.Hopfield(layers, edges, ep.HardSigmoid())


def test_the_input_is_no_layer():
    with pytest.raises(ValueError, match=r'`name="input"` is reserved'):
        layer("input")


@pytest.mark.parametrize("shape", [(0,), (-3,), (2, 0), (2.5,)])
def test_a_layer_needs_positive_whole_sizes(shape):
    with pytest.raises(ValueError, match=r"`shape=.*of layer 'h'.*positive integers"):
        ep.Layer("h", ep.Linear(), shape)


def test_the_shape_of_a_layer_is_a_tuple():
    with pytest.raises(ValueError, match=r"`shape=5` of layer 'h'.*\(5,\)"):
        ep.Layer("h", ep.Linear(), 5)  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [ep.Sigmoid(), ep.Tanh(), ep.Unconstrained()])
def test_hopfield_refuses_units_that_bring_another_potential(unit):
    with pytest.raises(ValueError, match=r"Layer 'output'.*quadratic.*ep\.Linear\(\)"):
        ep.Hopfield([layer(unit=unit)], [], ep.Tanh())


@pytest.mark.parametrize(
    "width, message",
    [
        ((7,), r"`x` has shape \(7,\).*\('input', 'h'\).*\(5, 4\).*7 and 4 units"),
        ((), r"`x` has shape \(\) for one example"),
    ],
)
def test_an_input_of_the_wrong_width_is_refused(width, message):
    with pytest.raises(ValueError, match=message):
        ep.Landscape(network("chain"), jnp.ones((3, *width)))


def test_nonsense_numbers_for_units_and_weights_are_refused():
    for slope in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"`slope`.*but is {slope}"):
            ep.Sigmoid(slope=slope)
    for center in (math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"`center`.*but is {center}"):
            ep.Sigmoid(center=center)
    for ceiling in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match=rf"`ceiling`.*but is {ceiling}"):
            ep.ClippedReLU(ceiling=ceiling)
    with pytest.raises(ValueError, match=r"`ceiling`.*For no ceiling use `ep.ReLU"):
        ep.ClippedReLU(ceiling=math.inf)
    for gain in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=rf"`gain`.*but is {gain}"):
            ep.FanInUniform(gain=gain)


@pytest.mark.parametrize("build", [ep.nets.mlp, ep.nets.hopfield])
@pytest.mark.parametrize("sizes", [[], [4], [4, 0, 2], [4, -1], [4, 2.0]])
def test_nonsense_sizes_are_refused(build, sizes):
    with pytest.raises(ValueError, match=r"`sizes` must hold.*\[784, 500, 10\]"):
        build(sizes, key=jax.random.key(0))


def test_a_model_takes_an_energy_and_a_cost():
    with pytest.raises(TypeError, match=r"`energy`.*function.*ep\.FunctionEnergy"):
        ep.Model(lambda state, x: 0.0, ep.SquaredError())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="`cost`.*AbstractCost"):
        ep.Model(network(), network())  # type: ignore[arg-type]


def function_energy(fn, **options) -> ep.FunctionEnergy:
    defaults = {"init": lambda x: jnp.zeros(4), "output": lambda state: state}
    return ep.FunctionEnergy(fn, **{**defaults, **options})


def vector_valued(state, x):
    return state * x[0]


def integer_valued(state, x):
    return jnp.sum(state > 0)


def complex_valued(state, x):
    return jnp.sum(state).astype(complex)


def empty_handed(state, x):
    return None


def failing(state, x):
    return jnp.sum(state @ x)


class Callable(eqx.Module):
    def __call__(self, state, x):
        return state


@pytest.mark.parametrize(
    "fn, name, what",
    [
        (vector_valued, "vector_valued", r"returned shape \(4,\), float64"),
        (integer_valued, "integer_valued", r"returned shape \(\), int"),
        (complex_valued, "complex_valued", r"returned shape \(\), complex"),
        (empty_handed, "empty_handed", "returned no array"),
        (
            failing,
            "failing",
            r"failed on one example.*\(4,\).*\(5,\).*without a batch axis",
        ),
        (Callable(), "Callable", r"returned shape \(4,\)"),
        (jax.jit(vector_valued), "vector_valued", r"returned shape \(4,\)"),
        (functools.partial(vector_valued), "vector_valued", r"returned shape \(4,\)"),
    ],
)
def test_a_function_that_is_no_energy_is_named(fn, name, what):
    pattern = rf"(?s)The energy function `{name}`.*{what}"
    with pytest.raises(ValueError, match=pattern):
        ep.Landscape(function_energy(fn), inputs())


def quadratic(state, x):
    return 0.5 * jnp.sum(state**2) - jnp.sum(state * x[:4])


def test_a_scalar_of_any_float_type_is_an_energy():
    for dtype in (jnp.float64, jnp.float32, jnp.bfloat16):
        energy = function_energy(quadratic, init=lambda x: jnp.zeros(4, x.dtype))
        assert ep.Landscape(energy, inputs().astype(dtype)).batch == 3


def test_a_state_that_is_no_float_is_refused():
    energy = function_energy(
        lambda state, x: 1.0 * jnp.sum(x), init=lambda x: jnp.zeros(4, jnp.int32)
    )
    with pytest.raises(ValueError, match="`init`.*int32"):
        ep.Landscape(energy, inputs())


def test_units_that_do_not_fit_the_state_are_refused():
    energy = function_energy(quadratic, units=(ep.Linear(), ep.Linear()))
    with pytest.raises(ValueError, match="`units`"):
        ep.Landscape(energy, inputs())


def test_an_init_that_fails_is_named():
    energy = function_energy(quadratic, init=lambda x: jnp.zeros(9) @ x)
    with pytest.raises(ValueError, match="`init`.*quadratic"):
        ep.Landscape(energy, inputs())


def test_an_energy_of_the_librarys_own_shows_its_own_error():
    class Broken(ep.AbstractInteraction):
        def __call__(self, *layers):
            raise ZeroDivisionError("a bug of ours")

        def check(self, *shapes):
            return None

    net = ep.Network([layer()], [ep.Edge(("output",), Broken())])
    with pytest.raises(ZeroDivisionError, match="a bug of ours"):
        ep.Landscape(net, inputs())


def test_an_unconstrained_unit_says_why_it_has_no_activation():
    with pytest.raises(ValueError, match=r"`Unconstrained\(\)` has no potential"):
        ep.Unconstrained().activate(jnp.ones(2))


def test_layers_of_any_sequence_are_kept_in_order():
    names = ["b", "a", "output"]
    net = ep.Network([layer(name) for name in names], [])
    assert isinstance(net.layers, tuple)
    assert [entry.name for entry in net.layers] == names
