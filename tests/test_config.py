"""Tables and objects say the same: round trips, defaults, layers, refusals."""

import dataclasses
import tomllib
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tomli_w
from hypothesis import given, strategies as st

from eqprop import data, energies, learning, relaxation
from eqprop._presets import list_presets, read_preset
from eqprop.data import GivenOrder, idx_folder, InOrder, Shift, Shuffled
from eqprop.energies import (
    Binary,
    ClippedReLU,
    CrossEntropy,
    FanInUniform,
    GlorotUniform,
    HardSigmoid,
    Linear,
    nets,
    Readout,
    ReLU,
    Sigmoid,
    Softmax,
    SquaredError,
    Tanh,
    Unconstrained,
)
from eqprop.learning import (
    AbstractNudging,
    BackpropThroughTime,
    Centered,
    Clamped,
    ClampedSTDP,
    ConjugateGradient,
    ContinualEP,
    Coupled,
    DenseLU,
    EquilibriumProp,
    GMRES,
    Holomorphic,
    ImplicitDifferentiation,
    InitializedEP,
    MembraneSTDP,
    OneSided,
    RandomSign,
    RateSTDP,
    RecurrentBackprop,
    StochasticEP,
    SymmetricSTDP,
)
from eqprop.relaxation import (
    AbstractSolver,
    AdaptiveEuler,
    BlockCoordinate,
    CoarseFirst,
    ConjugateSweeps,
    Euler,
    FixedPoint,
    Gibbs,
    Langevin,
    MetropolisLangevin,
    Nesterov,
    Tolerance,
)
from eqprop.training import (
    Adam,
    Constant,
    Cosine,
    EarlyStopping,
    Exponential,
    fit,
    Optax,
    RunDirectory,
    SGD,
)
from eqprop.training._config import build_part, merge, resolve_part, to_table
from eqprop.training._load import load
from eqprop.training._recipe import build, resolve
from eqprop.training._registry import REGISTRY


# One or more of every public class that a configuration can hold.
PARTS = [
    *(Linear(), HardSigmoid(), ReLU(), Tanh(), Softmax(), Unconstrained()),
    *(Sigmoid(), Sigmoid(slope=4.0, center=0.5), ClippedReLU(), ClippedReLU(0.3)),
    *(GlorotUniform(), FanInUniform(), FanInUniform(0.1)),
    *(SquaredError(), CrossEntropy()),
    *(Tolerance(), Tolerance(1e-7, 0.3)),
    *(Euler(), Euler(0.1, max_steps=3, stop=Tolerance(rtol=0.7), certify=1e-5)),
    *(FixedPoint(), FixedPoint(damping=0.9), AdaptiveEuler(), AdaptiveEuler(stop=None)),
    *(BlockCoordinate(), BlockCoordinate(1.5, max_steps=7, stop=Tolerance(2e-4))),
    *(BlockCoordinate(order=(1, 0)), ClampedSTDP(plasticity=SymmetricSTDP())),
    *(ConjugateSweeps(), ConjugateSweeps(9, stop=None, certify=1e-5)),
    *(Nesterov(), Nesterov(0.1, stop=None), CoarseFirst(Euler(), 4), Shift()),
    *(Shift(2, (8, 9)), CoarseFirst(BlockCoordinate(max_steps=3))),
    *(Centered(0.2), OneSided(-0.1), RandomSign(1), Clamped()),
    *(BackpropThroughTime(Euler(max_steps=2)), BackpropThroughTime(truncate=3)),
    *(ImplicitDifferentiation(), ImplicitDifferentiation(Euler(), GMRES(1e-6, 30))),
    *(DenseLU(), GMRES(), ConjugateGradient(), ConjugateGradient(1e-8, max_steps=9)),
    *(RecurrentBackprop(), RecurrentBackprop(Euler(), 7, Tolerance(), 1e-3)),
    *(Binary(), Gibbs(0.1), Gibbs(0.3, max_steps=7), Langevin(0.1)),
    *(Langevin(0.2, 0.05, max_steps=9), MetropolisLangevin(0.1, 0.02, max_steps=9)),
    *(Holomorphic(0.4), Holomorphic(0.1, points=6), Coupled(0.2)),
    *(SymmetricSTDP(), RateSTDP(), RateSTDP(both_ways=True), MembraneSTDP()),
    *(ContinualEP(0.2), ContinualEP(0.5, Euler(), plasticity=RateSTDP(), rate=0.01)),
    StochasticEP(Centered(0.2), Gibbs(0.1)),
    StochasticEP(Clamped(), Langevin(0.1), FixedPoint(), 3, thinning=2, chains=4),
    EquilibriumProp(Centered(0.2)),
    EquilibriumProp(OneSided(0.3), Euler(), FixedPoint(stop=Tolerance())),
    *(InitializedEP(), InitializedEP(ContinualEP(0.5, Euler()))),
    *(Constant(), Cosine(), Cosine(0.01), Exponential(), Exponential(0.95)),
    *(SGD(0.1), SGD([0.1, 0.05], momentum=0.9, schedule=Cosine(0.1))),
    *(Adam(), Adam([1e-3, 3e-4], b1=0.8, b2=0.99, eps=1e-6)),
    *(Shuffled(), InOrder()),
    *(EarlyStopping(), EarlyStopping("train_cost", patience=3, tolerance=0.25)),
]
# They hold parameters or code, which no table can.
UNWRITABLE = {"Readout", "GivenOrder", "Optax"}


def same(one: Any, two: Any) -> bool:
    return bool(eqx.tree_equal(one, two, typematch=True))


@pytest.mark.parametrize("part", PARTS, ids=repr)
def test_objects_survive_toml(part: eqx.Module):
    table = tomllib.loads(tomli_w.dumps(to_table(part)))
    assert same(build_part(type(part), table, "part"), part)


def test_every_public_class_is_in_the_round_trip():
    classes = {name for name, made in REGISTRY.items() if isinstance(made, type)}
    assert classes == {type(part).__name__ for part in PARTS} | UNWRITABLE


def test_the_registry_is_the_public_surface():
    public = {
        name
        for package in (data, energies, nets, relaxation, learning)
        for name in vars(package)
        if not name.startswith("_")
    }
    own = {"SGD", "Adam", "Optax", "Constant", "Cosine", "Exponential"}
    own |= {"EarlyStopping"}
    assert set(REGISTRY) <= public | own


@pytest.mark.parametrize("name", list_presets())
def test_presets_build_and_survive_toml(name: str):
    table = resolve(read_preset(name))
    again = tomllib.loads(tomli_w.dumps(table))
    assert again == table
    assert resolve(again) == table
    recipe = build(read_preset(name))
    assert to_table(recipe.method) == table["method"]
    assert to_table(recipe.optimizer) == table["optimizer"]
    assert to_table(recipe.training["order"]) == table["training"]["order"]


# From the original's model.py: sizes, steps, β and rates per layer.
ORIGINAL = {
    "net1": ([500], 20, 4, 0.5, [0.1, 0.05], 25),
    "net2": ([500] * 2, 150, 6, 1.0, [0.4, 0.1, 0.01], 60),
    "net3": ([500] * 3, 500, 8, 1.0, [0.128, 0.032, 0.008, 0.002], 500),
}


@pytest.mark.parametrize("net", ORIGINAL)
def test_scellier2017_is_the_original_with_half_its_cost(net: str):
    hidden, free, nudged, beta, rates, epochs = ORIGINAL[net]
    recipe = build(read_preset(f"scellier2017/{net}"))
    method, training = recipe.method, recipe.training
    assert isinstance(method, EquilibriumProp)
    # Its cost is twice ours. F = E + β·2C = E + (2β)·C, and the update (α/β)·contrast
    # is (2α/2β)·contrast.
    assert same(method.nudging, RandomSign(2 * beta))
    assert same(method.solver, Euler(0.5, max_steps=free))
    assert same(method.nudged_solver, Euler(0.5, max_steps=nudged))
    assert same(recipe.optimizer, SGD([2 * rate for rate in rates]))
    assert training["epochs"] == epochs
    assert training["batch_size"] == 20
    assert training["persistent"] is True
    assert same(training["order"], InOrder())
    model = recipe.model()
    assert same(model.cost, SquaredError())
    assert model.energy.units == (HardSigmoid(),) * (len(hidden) + 1)
    sizes = [784, *hidden, 10]
    for k, (m, n) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        weight = model.energy.edges[2 * k].interaction.weight
        limit = np.sqrt(6 / (m + n))
        assert weight.shape == (m, n)
        assert 0.9 * limit < jnp.max(jnp.abs(weight)) <= limit


@given(st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=0))
def test_numbers_are_the_shortest_decimals_that_come_back(number: float):
    single = np.float32(number)
    rate = jnp.asarray(single, jnp.float32)
    written = to_table(eqx.tree_at(lambda s: s.learning_rate, SGD(0.1), rate))
    value = written["learning_rate"]
    assert np.float32(value) == single
    # NumPy's own shortest decimal is the independent oracle.
    assert len(f"{value!r}") <= len(repr(float(str(single))))


def test_decimals_stay_what_was_typed_in_every_dtype():
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64):
        beta = jnp.asarray(0.1, dtype)
        part = eqx.tree_at(lambda p: p.beta, Centered(1.0), beta)
        assert to_table(part) == {"type": "Centered", "beta": 0.1}


def test_defaults_are_those_of_the_signatures():
    table = resolve_part(AbstractSolver, {"type": "Euler"}, "solver")
    assert same(build_part(AbstractSolver, table, "solver"), Euler())
    fields = {field.name for field in dataclasses.fields(Euler)}
    # `stop` is None, which is no key.
    assert set(table) == {"type"} | fields - {"stop"}


def test_none_is_an_absent_key_unless_the_default_is_another():
    assert "stop" not in to_table(Euler())
    assert to_table(AdaptiveEuler(stop=None))["stop"] == "none"
    table = {"type": "Euler", "stop": "none"}
    assert resolve_part(AbstractSolver, table, "solver") == to_table(Euler())


def test_a_table_without_type_changes_the_default():
    method = {"type": "EquilibriumProp", "nudging": {"type": "Clamped"}}
    changed = method | {"solver": {"max_steps": 3, "stop": {"rtol": 0.5}}}
    built = build_part(EquilibriumProp, _resolved_method(changed), "method")
    expected = BlockCoordinate(max_steps=3, stop=Tolerance(rtol=0.5))
    assert same(built, EquilibriumProp(Clamped(), expected))
    # What the table doesn't name stays as the default has it; a type starts anew.
    default = BlockCoordinate(1.5, max_steps=9)
    kept = resolve_part(AbstractSolver, {"max_steps": 3}, "solver", default)
    assert kept == to_table(BlockCoordinate(1.5, max_steps=3))
    anew = {"type": "BlockCoordinate", "max_steps": 3}
    started = resolve_part(AbstractSolver, anew, "solver", default)
    assert started == to_table(BlockCoordinate(max_steps=3))


def _resolved_method(table: dict[str, Any]) -> dict[str, Any]:
    return resolve_part(EquilibriumProp, table, "method")


def test_another_type_drops_the_fields_below():
    low = {"solver": {"type": "Euler", "step_size": 0.3}, "kept": 1}
    other = merge(low, {"solver": {"type": "FixedPoint"}})
    assert other == {"solver": {"type": "FixedPoint"}, "kept": 1}
    same_type = merge(low, {"solver": {"type": "Euler", "max_steps": 2}})
    assert same_type["solver"] == {"type": "Euler", "step_size": 0.3, "max_steps": 2}
    assert merge(low, {"solver": {"step_size": 1}})["solver"]["step_size"] == 1
    assert low["solver"] == {"type": "Euler", "step_size": 0.3}


def test_integers_serve_as_numbers():
    table = {"type": "Centered", "beta": 1}
    beta = resolve_part(Centered, table, "nudging")["beta"]
    assert (beta, type(beta)) == (1.0, float)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The digits preset with one field set."""
    table = value
    for name in reversed(path.split(".")):
        table = {name: table}
    return merge(resolve(read_preset("digits")), table)


@pytest.mark.parametrize(
    "path, value, message",
    [
        ("methods", {}, r"`methods` is no part of a recipe. Did you mean `method`"),
        ("training.epoch", 3, r"`training.epoch` is unknown.* mean `epochs`\?"),
        ("method.nudging.betta", 3, r"`method.nudging.betta` .* mean `beta`\?"),
        ("method.solver.step_size", 1, r"`step_size`. It is one of .*Euler"),
        ("method.solver.type", "Eulr", r"method.solver.type.*Did you mean `Euler`"),
        ("method.solver.type", "Adam", r"'Adam', which is no `AbstractSolver`"),
        ("method.solver.type", 3, r"`method.solver.type` is 3, but it must be a name"),
        ("method.solver", "Euler", r"Set `method.solver.type` to one of"),
        ("method.nudged_solver", {"max_steps": 3, "type": None}, "needs a `type`"),
        ("method.nudging.beta", "x", r"'x', a string, but it must be a number"),
        ("method.nudging.beta", True, r"a boolean, but it must be a number"),
        ("method.nudging.beta", [0.1], r"a list, but it must be a number"),
        ("training.epochs", 2.5, r"`training.epochs` is 2.5, .* must be an integer"),
        ("training.epochs", True, r"a boolean, but it must be an integer"),
        ("training.persistent", 1, r"`training.persistent` .* must be true or false"),
        ("energy.sizes", 784, r"`energy.sizes` is 784, an integer, .* a list"),
        ("energy.sizes", ["a"], r"`energy.sizes\[0\]` is 'a'"),
        ("optimizer.learning_rate", [0.1, "x"], r"`optimizer.learning_rate\[1\]`"),
        ("data.validation", "all", r"`data.validation` is unknown"),
        ("data", "mnist", r"`data` is 'mnist', but it must be a table"),
        (
            "energy.type",
            "Network",
            r"`energy.type` is 'Network'.*hopfield, initialized_mlp, mlp",
        ),
        ("cost.type", "Readout", r"`Readout` can't be written"),
        ("optimizer.type", "Optax", r"`Optax` can't be written.*`transformation`"),
        ("title", 3, "`title` is 3, but it must be a string"),
        # What the constructors refuse comes with its path.
        ("method.nudging.beta", 0, r"`method.nudging`: `beta` of `Centered`.*above 0"),
        ("method.solver.max_steps", -1, r"`method.solver`: `max_steps` of"),
        ("method.solver.stop", {"atol": -1}, r"`method.solver.stop`: `atol`"),
        ("optimizer.learning_rate", float("nan"), r"`optimizer`: .*but is nan"),
        ("optimizer.schedule.final", -1, r"`optimizer.schedule`: `final`"),
        ("training.seed", -1, r"`training.seed` is -1"),
        ("training.seed", 2**32, r"`training.seed` is 4294967296"),
    ],
)
def test_what_cannot_be_is_refused_by_its_path(path: str, value: Any, message: str):
    with pytest.raises(ValueError, match=message):
        build(changed(path, value))


def test_sizes_that_make_no_network_are_refused():
    with pytest.raises(ValueError, match="`energy`: `sizes` must hold"):
        build(changed("energy.sizes", [64])).model()


def test_missing_parts_and_fields_are_named():
    table = read_preset("digits")
    with pytest.raises(ValueError, match=r"no `\[energy\]`.*mlp"):
        resolve({k: v for k, v in table.items() if k != "energy"})
    with pytest.raises(ValueError, match=r"`energy.sizes` is missing: `mlp` needs it"):
        resolve(table | {"energy": {"type": "mlp"}})
    with pytest.raises(ValueError, match=r"`data.folder` is missing"):
        resolve(table | {"data": {"type": idx_folder.__name__}})


class Mine(AbstractNudging):
    beta: float = 0.1

    def phases(self, landscape, state, y, *, key=None):
        return (), ()


@pytest.mark.parametrize(
    "part, message",
    [
        (Mine(), "`Mine` can't be written in a configuration"),
        (EquilibriumProp(Mine()), "`Mine` can't be written"),
        (Optax(optax.sgd(0.1)), "`Optax` can't be written.*`transformation`"),
        (GivenOrder(np.arange(3)), "`GivenOrder` can't be written.*`indices`"),
        (Readout(SquaredError(), jnp.ones((2, 1)), jnp.ones(1)), "`weight`"),
    ],
)
def test_objects_that_no_table_can_hold_are_refused(part: eqx.Module, message: str):
    with pytest.raises(ValueError, match=message):
        to_table(part)


def test_an_unknown_preset_suggests_one():
    with pytest.raises(ValueError, match="Did you mean 'digits'.*scellier2017/net3"):
        read_preset("digit")


def tiny_run(folder: Any, **kwargs: Any) -> Any:
    # Not Adam: optax promotes dtypes as these tests forbid.
    table = merge(changed("energy.sizes", [64, 4, 10]), {"optimizer": {"type": "SGD"}})
    recipe = build(merge(table, {"optimizer": {"type": "SGD", "learning_rate": 0.1}}))
    training = recipe.training | {"epochs": 1, "batch_size": 500}
    return recipe, fit(
        recipe.model(),
        recipe.data(),
        recipe.method,
        recipe.optimizer,
        **training,
        out=folder,
        **kwargs,
    )


def test_a_run_is_loaded_from_its_recipe_or_into_a_template(tmp_path: Any):
    recipe, run = tiny_run(tmp_path / "run")
    RunDirectory.open(tmp_path / "run").write_config(recipe.table)
    for checkpoint in ("last", "best"):
        assert same(load(tmp_path / "run", checkpoint=checkpoint), run.model)
    assert same(load(str(tmp_path / "run"), like=recipe.model()), run.model)
    assert not same(recipe.model(), run.model)
    other = build(changed("energy.sizes", [64, 5, 10])).model()
    with pytest.raises(ValueError, match=r"different: .*\[64, 5\].*\[64, 4\]"):
        load(tmp_path / "run", like=other)


def test_a_run_without_recipe_asks_for_a_template(tmp_path: Any):
    _, run = tiny_run(tmp_path / "run", config={})
    with pytest.raises(ValueError, match="like=model"):
        load(tmp_path / "run")
    assert same(load(tmp_path / "run", like=run.model), run.model)


def test_the_seed_draws_the_weights():
    recipe = build(changed("training.seed", 3))
    net = nets.mlp(recipe.table["energy"]["sizes"], key=jax.random.key(3))
    assert same(recipe.model().energy, net)
