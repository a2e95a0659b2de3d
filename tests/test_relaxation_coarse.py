"""Coarse steps first: what is rounded in them, and that it leaves no trace."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import eqprop as ep
from eqprop.relaxation import relax_together
from eqprop.relaxation._rounded import with_rounded_products
from helpers import (
    annotations_unchecked,
    flat,
    full_matrix,
    inputs,
    network,
    random_state,
    targets,
    well,
)


SWEEPS = ep.BlockCoordinate(relaxation=1.2, max_steps=8)


def single(tree):
    """In float32, as users have it; the tests run in float64."""
    return jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, tree
    )


def coarse(a) -> np.ndarray:
    """An array of float32 rounded to bfloat16, in float64."""
    return np.asarray(a, np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)


def landscape(graph="skip", units=("hard_sigmoid",), **kwargs) -> ep.Landscape:
    model = ep.Model(network(graph, units, **kwargs), ep.SquaredError())
    return ep.Landscape(*single((model, inputs(6))))


def coarse_step(solver, at, state):
    memory = solver.init(at, state, None)
    return with_rounded_products(lambda s: solver.step(at, s, memory)[0], state)


@pytest.mark.parametrize("graph", ["chain", "skip", "cycle"])
def test_products_of_the_state_are_rounded_and_nothing_else(graph):
    at = landscape(graph, ("linear",))
    state = random_state(at)
    found = flat(coarse_step(ep.FixedPoint(damping=1.0), at, state))
    matrix, bias = full_matrix(graph, at.energy_fn.edges)
    matrix, n = np.asarray(matrix, np.float64), at.x.shape[1]
    # A linear unit goes to its drive. That of the input is the same in every step.
    drive = np.asarray(at.x, np.float64) @ matrix[:n] + bias
    drive += coarse(flat(state)) @ coarse(matrix[n:])
    # Float32 sums of a dozen terms of size 1.
    np.testing.assert_allclose(found, drive[:, n:], rtol=0, atol=1e-6)
    exact = flat(state) @ matrix[n:] + np.asarray(at.x) @ matrix[:n] + bias
    assert np.max(np.abs(found - exact[:, n:])) > 1e-3


def users_energy() -> ep.FunctionEnergy:
    rng = np.random.default_rng(0)
    first, second, third = (rng.normal(size=s) for s in [(5, 4), (4, 3), (4, 3)])
    scale = rng.uniform(0.5, 1, 3)

    def energy(params, state, x):
        first, second, third, scale = params
        h, o = state
        looped = jax.lax.scan(lambda c, _: (c, h @ third), 0.0, length=1)[1][0]
        inner = jax.jit(lambda h: jnp.einsum("i,ij,j->", h, second, o))(h)
        return -(x @ first @ h) - inner - looped @ (scale * o)

    params = single(tuple(map(jnp.asarray, (first, second, third, scale))))
    return ep.FunctionEnergy(
        energy,
        params,
        init=lambda x: (jnp.zeros(4, x.dtype), jnp.zeros(3, x.dtype)),
        output=lambda state: state[1],
        units=ep.Linear(),
    )


def test_products_in_a_users_function_are_rounded():
    energy = users_energy()
    at = ep.Landscape(energy, single(inputs(6)))
    state = random_state(at)
    h, o = map(np.asarray, state)
    first, second, third, scale = map(np.asarray, energy.params)
    found = coarse_step(ep.FixedPoint(damping=1.0), at, state)
    exact = np.asarray(at.x, np.float64) @ first
    into_h = coarse(o) @ coarse(second).T + coarse(scale * o) @ coarse(third).T
    into_o = coarse(h) @ coarse(second) + coarse(h) @ coarse(third) * scale
    np.testing.assert_allclose(found[0], exact + into_h, rtol=0, atol=5e-6)
    np.testing.assert_allclose(found[1], into_o, rtol=0, atol=5e-6)


def test_what_has_no_products_or_other_types_is_bitwise_the_same():
    bowl = ep.Landscape(*single((well([0.3, 0.7, 1.1, 0.2, 0.5]), inputs())))
    double = ep.Landscape(network("skip"), inputs())
    solver = ep.Euler(step_size=0.3)
    for at in (bowl, double):
        state = random_state(at)
        new = solver.step(at, state, None)[0]
        jax.tree.map(np.testing.assert_array_equal, coarse_step(solver, at, state), new)


def strong() -> ep.Landscape:
    """Drives far beyond 1, so that their rounding errors are beyond `certify`."""
    return landscape("skip", ("linear", "linear", "linear"), scale=0.8)


@pytest.mark.parametrize(
    "solver",
    [
        ep.BlockCoordinate(relaxation=1.2, max_steps=60),
        ep.BlockCoordinate(max_steps=200, stop=ep.Tolerance(1e-5)),
        ep.AdaptiveEuler(max_steps=800, stop=ep.Tolerance(1e-5)),
        ep.Nesterov(max_steps=800, stop=ep.Tolerance(1e-5)),
        ep.Euler(max_steps=300),
    ],
    ids=lambda solver: type(solver).__name__,
)
def test_fine_steps_certify_what_coarse_ones_cannot(solver):
    at = strong()
    found = ep.relax(
        at,
        ep.CoarseFirst(solver, coarse_steps=150),
        observe=lambda at, s: at.residual(s),
    )
    # 150 coarse steps are many more than it takes: what is left is rounding.
    assert np.max(found.observations[150]) > 1e-3
    assert found.observations.shape == (150 + solver.max_steps + 1, 6)
    assert bool(jnp.all(found.converged))
    assert np.max(found.residual) < 1e-3
    # Of linear units: s = xV + sM + b, in float64.
    matrix, bias = full_matrix("skip", at.energy_fn.edges)
    n = at.x.shape[1]
    drive = np.asarray(at.x, np.float64) @ matrix[:n, n:] + bias[n:]
    exact = np.linalg.solve(np.eye(len(bias) - n) - matrix[n:, n:].T, drive.T).T
    # Residuals of 1e-5, and the inverse of the curvature, of at most some ten.
    np.testing.assert_allclose(flat(found.state), exact, rtol=0, atol=1e-3)


def test_both_kinds_of_steps_are_counted():
    at = landscape()
    fixed = ep.CoarseFirst(SWEEPS, coarse_steps=3)
    assert fixed.max_steps == 11
    np.testing.assert_array_equal(ep.relax(at, fixed, throw=False).num_steps, 11)
    early = ep.BlockCoordinate(max_steps=90, stop=ep.Tolerance(1e-5))
    found = ep.relax(at, ep.CoarseFirst(early, coarse_steps=3))
    ahead = ep.relax(
        at,
        ep.CoarseFirst(ep.BlockCoordinate(max_steps=1), coarse_steps=3),
        observe=lambda at, s: s,
        throw=False,
    )
    start = jax.tree.map(lambda s: s[3], ahead.observations)
    rest = ep.relax(at, early, start)
    np.testing.assert_array_equal(found.num_steps, 3 + rest.num_steps)
    jax.tree.map(np.testing.assert_array_equal, found.state, rest.state)


def test_two_nudges_relaxed_together_are_those_alone():
    free = landscape()
    start = random_state(free)
    y = single(targets(6))
    pair = [free.nudge(y, 0.3), free.nudge(y, -0.3)]
    patient = ep.BlockCoordinate(max_steps=60, stop=ep.Tolerance(1e-6))
    for inner in (ep.BlockCoordinate(max_steps=30), patient):
        solver = ep.CoarseFirst(inner, coarse_steps=5)
        together = relax_together(pair, solver, [start, start])
        for at, found in zip(pair, together, strict=True):
            alone = ep.relax(at, solver, start)
            # A coarse rounding may fall the other way; fine steps forget it.
            np.testing.assert_allclose(
                flat(found.state), flat(alone.state), rtol=0, atol=1e-5
            )
            assert bool(jnp.all(found.converged))


def test_gradients_are_those_without_coarse_steps():
    model, x, y = single(
        (ep.Model(network("skip"), ep.SquaredError()), inputs(6), targets(6))
    )
    exact = ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate(max_steps=40))
    coarse_first = ep.EquilibriumProp(
        ep.Centered(0.2),
        ep.CoarseFirst(ep.BlockCoordinate(max_steps=25), coarse_steps=15),
    )
    (outcome, found), (_, wanted) = (
        eqx.filter_jit(method.value_and_grad)(model, x, y)
        for method in (coarse_first, exact)
    )
    assert bool(jnp.all(outcome.free.converged))
    # Round-off of 1e-7 in the states, divided by 2β.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=5e-6), found, wanted
    )


def test_it_can_be_reversed():
    at = landscape(units=("linear",))

    def loss(scale, solver):
        scaled = ep.Landscape(at.model, scale * at.x)
        return jnp.sum(ep.relax(scaled, solver, throw=False).state[-1] ** 2)

    one = jnp.ones((), jnp.float32)
    solver = ep.BlockCoordinate(max_steps=30)
    wanted = jax.grad(loss)(one, solver)
    found = jax.grad(loss)(one, ep.CoarseFirst(solver, coarse_steps=5))
    # 30 fine steps forget the start, and with it the coarse steps.
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    # With one fine step the coarse ones matter: 8 bits of them.
    solver = ep.BlockCoordinate(max_steps=1)
    wanted = jax.grad(loss)(one, ep.BlockCoordinate(max_steps=30))
    found = jax.grad(loss)(one, ep.CoarseFirst(solver, coarse_steps=29))
    np.testing.assert_allclose(found, wanted, rtol=2e-2)
    assert found.dtype == jnp.float32


def test_open_factors_are_filled_in():
    """By what coarse and fine steps leave together."""
    at = landscape()
    wrapped = ep.CoarseFirst(ep.BlockCoordinate(max_steps=2), coarse_steps=4)

    def left(omega, over):
        sweeps = ep.BlockCoordinate(omega, max_steps=2, falls_over=over)
        both = ep.CoarseFirst(sweeps, coarse_steps=4)
        residual = np.asarray(ep.relax(at, both, throw=False).residual)
        return np.mean(residual**8 / (residual**8 + 1e-24))

    tuned = ep.tune(wrapped, at)
    found = left(tuned.solver.relaxation, tuned.solver.falls_over)
    tried = [1 + 0.05 * k for k in range(4)] + [1.2 + 0.1 * k for k in range(8)]
    assert found == pytest.approx(min(left(omega, 6) for omega in tried), rel=1e-3)
    assert tuned.coarse_steps == 4


def test_single_steps_are_those_of_the_solver():
    at = landscape()
    state = random_state(at)
    solver = ep.CoarseFirst(SWEEPS, coarse_steps=4)
    jax.tree.map(
        np.testing.assert_array_equal,
        solver.step(at, state, solver.init(at, state, None)),
        SWEEPS.step(at, state, None),
    )


def test_stages_of_a_sampler_draw_differently():
    # A free random walk: the second stage repeats the first if it has the same key.
    at = ep.Landscape(*single((well(1e-6), inputs())))
    sampler = ep.Langevin(temperature=1.0, step_size=0.01, max_steps=1)
    seen = ep.relax(
        at,
        ep.CoarseFirst(sampler, coarse_steps=1),
        key=jax.random.key(0),
        observe=lambda at, s: s,
        throw=False,
    ).observations
    assert np.min(np.abs((seen[2] - seen[1]) - (seen[1] - seen[0]))) > 1e-3


def wide() -> tuple[ep.Model, jax.Array]:
    model = ep.Model(
        ep.nets.mlp([30, 48, 40, 10], key=jax.random.key(0)), ep.SquaredError()
    )
    return single((model, jnp.ones((8, 30))))


def settle(weights, x):
    model = eqx.combine(weights, wide()[0])
    solver = ep.CoarseFirst(SWEEPS, coarse_steps=5)
    return ep.relax(ep.Landscape(model, x), solver, throw=False).state


def test_one_loop_is_coarse_and_the_next_is_fine():
    model, x = wide()
    weights = eqx.filter(model, eqx.is_inexact_array)
    lowered = jax.jit(settle).lower(weights, x)
    kinds = loop_products(jax.make_jaxpr(settle)(weights, x).jaxpr)
    # The input's product is left as it is: it needs to be computed only once.
    assert [set(kind) for kind in kinds] == [{"bfloat16", "float32"}, {"float32"}]
    text = lowered.compile().as_text()
    bodies = loop_bodies(text)
    # Three layers in a chain: two products for each of their two couplings.
    assert [len(re.findall(r" dot\(", body)) for body in bodies] == [4, 4]
    # The weights are rounded before the loop, and the states in it.
    assert rounded_shapes(text) >= {(48, 40), (40, 10)}
    for body in bodies:
        assert not rounded_shapes(body) & {(48, 40), (40, 48), (40, 10), (10, 40)}
    assert rounded_shapes("".join(bodies)) >= {(8, 48), (8, 40)}


def inside(eqn):
    parts = [p for v in eqn.params.values() for p in (v if type(v) is tuple else (v,))]
    return [p.jaxpr for p in parts if hasattr(p, "jaxpr")]


def product_types(jaxpr) -> list[str]:
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            if contracted:
                found.append(str(eqn.invars[0].aval.dtype))
        for inner in inside(eqn):
            found += product_types(inner)
    return found


def loop_products(jaxpr) -> list[list[str]]:
    """The operands' types of the products in each outermost loop."""
    found = []
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("scan", "while"):
            found.append([t for inner in inside(eqn) for t in product_types(inner)])
        else:
            found += [kind for inner in inside(eqn) for kind in loop_products(inner)]
    return found


def loop_bodies(text: str) -> list[str]:
    """The text of each loop's body, with that of what it calls."""
    parts = dict(
        re.findall(r"^(?:ENTRY )?%?([\w.\-]+) \(.*?\{\n(.*?)^\}", text, re.M | re.S)
    )

    def whole(name: str) -> str:
        called = re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", parts[name])
        return parts[name] + "".join(map(whole, called))

    return [whole(name) for name in re.findall(r"body=%?([\w.\-]+)", text)]


def rounded_shapes(text: str) -> set[tuple[int, ...]]:
    found = re.findall(r"= bf16\[([\d,]+)\]\S* convert\(", text)
    return {tuple(map(int, dims.split(","))) for dims in found}


@pytest.mark.parametrize("value", [0, -3, 2.0, True, None, "5"])
def test_a_nonsense_number_of_coarse_steps_is_refused(value):
    with annotations_unchecked():
        with pytest.raises(ValueError, match="`coarse_steps` of `CoarseFirst` must be"):
            ep.CoarseFirst(SWEEPS, coarse_steps=value)


def test_what_cannot_be_coarsened_is_refused():
    with annotations_unchecked():
        with pytest.raises(ValueError, match="`solver` of `CoarseFirst` is a `Coarse"):
            ep.CoarseFirst(ep.CoarseFirst(SWEEPS))
        with pytest.raises(TypeError, match="must be a solver of the library's own"):
            ep.CoarseFirst(0.5)
