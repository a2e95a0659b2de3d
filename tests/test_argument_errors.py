"""Arguments of another kind are told at the door: what came, and what to pass."""

# Wrong arguments are what this file is about.
# pyright: reportArgumentType=false

import re
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import annotations_unchecked
from helpers_training import base, chain, examples


@pytest.fixture(autouse=True)
def _as_users_run():
    with annotations_unchecked():
        yield


SOLVER = ep.BlockCoordinate()
METHOD = ep.EquilibriumProp(ep.Centered(0.2), SOLVER)
PARTS = ep.data.Splits(examples(), None, examples(), "t")
RUN = ep.training.Run(chain(), [], None, None, "finished", 0.0, 0.0)


def own(params=None, fn=None, **changes) -> ep.FunctionEnergy:
    def harmonic(params, state, x):
        return 0.5 * jnp.sum((state - params["w"] * x) ** 2)

    options = {"init": jnp.zeros_like, "output": lambda state: state} | changes
    params = {"w": jnp.ones(3)} if params is None else params
    return ep.FunctionEnergy(fn or harmonic, params, **options)


def landscape() -> ep.Landscape:
    return ep.Landscape(chain(), examples().x)


KINDS: dict[str, tuple[Callable[[], object], str]] = {
    "all parts": (
        lambda: ep.evaluate(chain(), PARTS, SOLVER),
        "`data` of `evaluate` is a Splits. Pass one of its parts: `data.test`.",
    ),
    "inputs alone": (
        lambda: ep.evaluate(chain(), jnp.ones((3, 5)), SOLVER),
        "`data` of `evaluate` is an array of shape (3, 5). Pass an `ep.data.dataset(",
    ),
    "method to evaluate": (
        lambda: ep.evaluate(chain(), examples(), METHOD),
        "`solver` of `evaluate` is an EquilibriumProp. Pass how it settles: `method.fr",
    ),
    "run to evaluate": (
        lambda: ep.evaluate(RUN, examples(), SOLVER),
        "`model` of `evaluate` is a Run. Pass its `run.model`.",
    ),
    "run to fit": (lambda: base(model=RUN), "`model` is a Run. Pass its `run.model`."),
    "progress": (
        lambda: base(progress=True),
        "`progress` is a bool, True. Pass a function that is called with each report: "
        "`progress=print`.",
    ),
    "should_stop": (
        lambda: base(should_stop=3),
        "`should_stop` is an int, 3. Pass a function without arguments",
    ),
    "swapped": (
        lambda: ep.EquilibriumProp(SOLVER, ep.Centered(0.2)),
        "`nudging` of `EquilibriumProp` is a BlockCoordinate. The nudging comes before "
        "the solver: `ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate())`.",
    ),
    "two nudgings": (
        lambda: ep.EquilibriumProp(ep.Centered(0.2), ep.Centered(0.2)),
        "`solver` of `EquilibriumProp` is a Centered. The nudging comes before the sol",
    ),
    "beta alone": (
        lambda: ep.EquilibriumProp(0.2),
        "`nudging` of `EquilibriumProp` is a float, 0.2. Pass `ep.Centered(0.2)`.",
    ),
    "class of nudging": (
        lambda: ep.EquilibriumProp(ep.Centered),
        "`nudging` of `EquilibriumProp` is the class `Centered`. Pass an instance of "
        "it, `Centered(...)`.",
    ),
    "nudged solver": (
        lambda: ep.EquilibriumProp(ep.Centered(0.2), SOLVER, 3),
        "`nudged_solver` of `EquilibriumProp` is an int, 3. Pass a solver, such as",
    ),
    "solver of a reference": (
        lambda: ep.BackpropThroughTime(ep.Centered(0.2)),
        "`solver` of `BackpropThroughTime` is a Centered. Pass a solver, such as",
    ),
    "steps of a reference": (
        lambda: ep.RecurrentBackprop(20),
        "`solver` of `RecurrentBackprop` is an int, 20. Pass a solver, such as",
    ),
    "stop of a reference": (
        lambda: ep.RecurrentBackprop(stop=1e-8),
        "`stop` of `RecurrentBackprop` is a float, 1e-08. Pass `stop=ep.Tolerance(",
    ),
    "implicit solver": (
        lambda: ep.ImplicitDifferentiation(ep.GMRES()),
        "`solver` of `ImplicitDifferentiation` is a GMRES. Pass a solver, such as",
    ),
    "linear solver": (
        lambda: ep.ImplicitDifferentiation(linear_solver=SOLVER),
        "`linear_solver` of `ImplicitDifferentiation` is a BlockCoordinate. Pass `ep.D",
    ),
    "solver of an online rule": (
        lambda: ep.ContinualEP(0.2, "Euler"),
        "`solver` of `ContinualEP` is a str, 'Euler'. Pass a solver, such as",
    ),
    "nudged solver of an online rule": (
        lambda: ep.ClampedSTDP(SOLVER, 3),
        "`nudged_solver` of `ClampedSTDP` is an int, 3. Pass a solver, such as",
    ),
    "plasticity": (
        lambda: ep.ClampedSTDP(plasticity=ep.Centered(0.2)),
        "`plasticity` of `ClampedSTDP` is a Centered. Pass `ep.SymmetricSTDP()` or",
    ),
    "nudging in the place of a method": (
        lambda: ep.InitializedEP(ep.Centered(0.2)),
        "`method` of `InitializedEP` is a Centered. Pass the whole method: `ep.Equ",
    ),
    "solver in the place of a method": (
        lambda: ep.InitializedEP(SOLVER),
        "`method` of `InitializedEP` is a BlockCoordinate. Pass an `ep.EquilibriumPr",
    ),
    "model in the place of an energy": (
        lambda: ep.Initialized(chain(), lambda x: x),
        "`energy` of `Initialized` is a Model. Pass the energy that relaxes",
    ),
    "predictor": (
        lambda: ep.Initialized(chain().energy, 3),
        "`predictor` of `Initialized` is an int, 3. Pass an `ep.Feedforward(...)`.",
    ),
    "stochastic nudging": (
        lambda: ep.StochasticEP(0.2, ep.Gibbs(temperature=0.1)),
        "`nudging` of `StochasticEP` is a float, 0.2. Pass `ep.Centered(0.2)`.",
    ),
    "class of solver": (
        lambda: ep.relax(landscape(), ep.BlockCoordinate),
        "`solver` of `relax` is the class `BlockCoordinate`. Pass an instance of it",
    ),
    "model to relax": (
        lambda: ep.relax(chain(), SOLVER),
        "`landscape` of `relax` is a Model. Pass `ep.Landscape(model, x)`.",
    ),
    "observe": (
        lambda: ep.relax(landscape(), SOLVER, observe=3),
        "`observe` of `relax` is an int, 3. Pass `lambda landscape, state: ...`.",
    ),
    "units by name": (
        lambda: own(units="tanh"),
        "`units` of `FunctionEnergy` is a str, 'tanh'. Pass a unit, such as `ep.Tanh()",
    ),
    "class of units": (
        lambda: own(units=(ep.Tanh,)),
        "`units` of `FunctionEnergy` is the class `Tanh`. Pass an instance of it",
    ),
    "output by index": (
        lambda: own(output=1),
        "`output` of `FunctionEnergy` is an int, 1. Pass a function: it is called as "
        "`output(state)`.",
    ),
    "resting arrays": (
        lambda: own(init=jnp.zeros(3)),
        "`init` of `FunctionEnergy` is an array of shape (3,). Pass a function: it is "
        "called as `init(x)`.",
    ),
    "no function": (
        lambda: own(fn=(1, 2)),
        "`fn` of `FunctionEnergy` is a tuple. Pass a function",
    ),
    "schedule": (
        lambda: ep.Adam(schedule=0.5),
        "`schedule` of `Adam` is a float, 0.5. Pass `ep.Cosine()` or",
    ),
    "schedule of descent": (
        lambda: ep.SGD(0.1, schedule=ep.Cosine),
        "`schedule` of `SGD` is the class `Cosine`. Pass an instance of it",
    ),
    "seed for a key": (
        lambda: ep.nets.mlp([2, 1], key=7),
        "`key` is an int, 7. Pass a JAX random key, such as `jax.random.key(7)`.",
    ),
    "one phase": (
        lambda: ep.contrast_grad(ep.Phase(landscape(), landscape().init(), 1.0)),
        "`phases` is a Phase. Pass `[ep.Phase(",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_an_argument_of_another_kind_is_told(name: str):
    call, message = KINDS[name]
    with pytest.raises(TypeError, match=re.escape(message)):
        call()


STOPPING = (
    *(ep.AdaptiveEuler, ep.BlockCoordinate, ep.Euler, ep.FixedPoint),
    *(ep.ConjugateSweeps, ep.LeakyIntegrator, ep.Nesterov),
)


@pytest.mark.parametrize("kind", STOPPING)
def test_a_bare_number_is_no_tolerance(kind: type):
    message = rf"`stop` of `{kind.__name__}` is a float, 1e-05. Pass `stop=ep\.Toleran"
    with pytest.raises(TypeError, match=message):
        kind(stop=1e-5)
    kind(stop=None)
    kind(stop=ep.Tolerance(1e-5))


@pytest.mark.parametrize("contrast", [ep.contrast, ep.contrast_grad])
def test_there_is_nothing_to_contrast_in_no_phases(contrast: Callable):
    with pytest.raises(ValueError, match=r"`phases` is empty.*\[ep\.Phase\(up"):
        contrast([])


NAMES = {
    "Adma": "`eqprop` has no `Adma`. Did you mean Adam?",
    "EquilibriumPropagation": "Did you mean .*EquilibriumProp\\?",
    "zzzzzz": "`eqprop` has no `zzzzzz`.$",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_name_is_answered_with_the_nearest(name: str):
    with pytest.raises(AttributeError, match=NAMES[name]):
        getattr(ep, name)


def misspelt(params, state, x):
    return jnp.sum(params["W"] * state)


def undefined(params, state, x):
    return state.no_such_thing


def too_wide(params, state, x):
    return jnp.sum(state[:, 0])


FAILING = {
    "key": (misspelt, "KeyError: 'W'. `params` has the keys 'w', 'b'.$"),
    "attribute": (undefined, "AttributeError: .*no_such_thing\\.$"),
    "shape": (too_wide, "IndexError: .*Energies are written for one example, without"),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_function_that_fails_says_how(name: str):
    fn, message = FAILING[name]
    energy = own({"w": jnp.ones(3), "b": jnp.ones(3)}, fn)
    with pytest.raises(ValueError, match=f"(?s)failed on one example.*: {message}"):
        ep.Landscape(energy, jnp.ones((2, 3)))
    try:
        ep.Landscape(energy, jnp.ones((2, 3)))
    except ValueError as error:
        assert ("batch axis" in str(error)) == (name == "shape")


@pytest.mark.parametrize("array", [jnp.arange(3), np.arange(3)])
def test_integers_are_no_parameters(array):
    message = (
        r"`params\['w'\]` of `FunctionEnergy` has dtype int64.*"
        r"`jnp\.asarray\(params\['w'\], jnp\.float32\)`"
    )
    with pytest.raises(ValueError, match=message):
        own({"w": array})
    own({"w": array.astype(float), "mask": array > 0, "key": jax.random.key(0)})


@pytest.mark.parametrize("call", ["landscape", "value_and_grad"])
def test_one_example_without_a_batch_axis_is_told(call: str):
    x, y = examples().x[0], examples().y[0]
    message = r"`x` has shape \(\) for one.* shape \(5,\) is itself one ex.*`x\[None\]`"
    with pytest.raises(ValueError, match=message):
        if call == "landscape":
            ep.Landscape(chain(), x)
        else:
            METHOD.value_and_grad(chain(), x, y)
    assert ep.Landscape(chain(), x[None]).batch == 1


@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_other_inputs_that_do_not_fit_are_not_taken_for_one_example(shape):
    with pytest.raises(ValueError, match="does not fit this network") as refusal:
        ep.Landscape(chain(), jnp.ones(shape))
    assert "itself" not in str(refusal.value)


@pytest.mark.parametrize(
    "make, number",
    [
        (lambda: ep.Centered(jnp.float32(-0.2)), "-0.2"),
        (lambda: ep.SGD(jnp.float32(-0.1)), "-0.1"),
        (lambda: ep.SGD(jnp.asarray([0.1, -0.2], "float32")), r"\[0.1, -0.2\]"),
    ],
)
def test_numbers_are_shown_as_a_person_writes_them(make, number):
    with pytest.raises(ValueError, match=f"but is {number}[.] "):
        make()


def test_the_default_batch_size_is_named_as_such():
    options = (chain(), examples(23), METHOD, ep.SGD(0.1))
    message = r"`batch_size`.*between 1 and 23.*but is 64, the default. Pass `batch_siz"
    with pytest.raises(ValueError, match=message):
        ep.fit(*options)
    with pytest.raises(ValueError, match=r"but is 24. Pass `batch_size=23`\.$"):
        ep.fit(*options, batch_size=24)


def test_a_folder_in_use_is_told_in_the_words_of_python(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match=r"`out` is .*`resume='.*'`") as refusal:
        base(out=tmp_path)
    assert "--" not in str(refusal.value)


def test_resuming_with_another_learning_rate_is_refused(tmp_path):
    out = tmp_path / "run"
    base(out=out, optimizer=ep.SGD(0.3, momentum=0.5), epochs=1)
    other = ep.SGD(0.1, momentum=0.5)
    message = r"(?s)has optimizer = SGD\(.*0\.3.*but SGD\(.*0\.1.*was given.*`out=`"
    with pytest.raises(ValueError, match=message):
        base(resume=out, optimizer=other, epochs=2)
    run = base(resume=out, optimizer=ep.SGD(0.3, momentum=0.5), epochs=2)
    assert len(run.metrics) == 2


def test_a_description_of_ones_own_is_no_optimizer(tmp_path):
    out = tmp_path / "run"
    config = {"optimizer": {"type": "home-made"}}
    base(out=out, epochs=1, config=config)
    assert len(base(resume=out, epochs=2, config=config).metrics) == 2
