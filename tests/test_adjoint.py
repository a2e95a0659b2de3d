"""An equilibrium as a layer: its derivative, by each method, in any network."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
import helpers_learning as h


# Centered at β = 1e-4 on curved units: bias 1e-8, round-off 1e-12; one-sided 1e-4.
METHODS = {
    "one-sided": (ep.OneSided(1e-4), 1e-3),
    "centered": (ep.Centered(1e-4), 1e-6),
    "holomorphic": (ep.Holomorphic(0.1, points=6), 1e-5),
}


def method_of(
    name: str, solver: ep.AbstractSolver
) -> tuple[ep.AbstractEstimator, float]:
    if name == "implicit":
        return ep.ImplicitDifferentiation(solver), 1e-9
    if name == "unrolled":
        return ep.BackpropThroughTime(solver), 1e-9
    if name == "recurrent":
        return ep.RecurrentBackprop(solver), 1e-6
    nudging, tolerance = METHODS[name]
    return ep.EquilibriumProp(nudging, solver), tolerance


def smooth(seed: int = 4) -> h.Case:
    """A net of tanh units, on which every method is defined."""
    return h.mlp([5, 6, 4, 3], ep.Tanh(), solver=h.DAMPED, seed=seed)


def read(state, scale=1.0):
    """A loss that reads every layer of the state, and weighs the examples unlike."""
    each = jnp.sum(jnp.sin(2 * state[0]), 1) + jnp.sum(state[1] * state[2][:, :1], 1)
    return scale * jnp.sum(each * jnp.asarray([1.0, -2.0, 0.3, 5.0], each.dtype))


def downstream(parts, method, scale=1.0):
    energy, x = parts
    return read(method.equilibrium(energy, x).state, scale)


@eqx.filter_jit
def settled_loss(parts):
    """The same loss, settled without any method."""
    energy, x = parts
    return read(ep.relax(ep.Landscape(energy, x), h.DAMPED).state)


@eqx.filter_jit
def pulled(parts, method, scale):
    return eqx.filter_grad(downstream)(parts, method, scale)


def differences(fn, tree, seed: int, step: float = 1e-6) -> tuple[float, object]:
    """The slope of `fn` along a random direction, by central differences."""
    params, rest = eqx.partition(tree, eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    way = [jax.random.normal(k, a.shape) for k, a in zip(keys, leaves, strict=True)]

    def at(t):
        moved = [a + t * d for a, d in zip(leaves, way, strict=True)]
        return fn(eqx.combine(jax.tree.unflatten(treedef, moved), rest))

    slope = (at(step) - at(-step)) / (2 * step)
    return float(slope), jax.tree.unflatten(treedef, way)


def along(gradient, way) -> float:
    return float(np.dot(h.flat(gradient), h.flat(way)))


@pytest.mark.parametrize("name", ["implicit", "unrolled", "recurrent", *METHODS])
def test_the_gradient_downstream_of_an_equilibrium(name):
    case = smooth()
    method, tolerance = method_of(name, case.solver)
    parts = (case.model.energy, case.x)
    grad = pulled(parts, method, 1.0)
    for k in range(2):
        for part in range(2):
            # Parameters and inputs by themselves: neither may hide behind the other.
            def only(tree, part=part):
                return settled_loss((tree, parts[1]) if part == 0 else (parts[0], tree))

            slope, way = differences(only, parts[part], seed=k)
            # Central differences of a loss near 1 at step 1e-6 are good to 1e-9.
            assert along(grad[part], way) == pytest.approx(
                slope, rel=tolerance, abs=1e-8 + tolerance
            )


@pytest.mark.parametrize("name", ["implicit", "recurrent", "centered"])
def test_the_scale_of_the_cotangent_does_not_matter(name):
    case = smooth()
    method, _ = method_of(name, case.solver)
    parts = (case.model.energy, case.x)
    whole = h.flat(pulled(parts, method, jnp.asarray(1.0)))
    for scale in (1e-30, 1e-9, 1e12):
        scaled = h.flat(pulled(parts, method, jnp.asarray(scale))) / scale
        # The nudge is the same to the last bit or two, and so is all that follows.
        np.testing.assert_allclose(scaled, whole, rtol=1e-6, atol=1e-9)


def test_a_small_cotangent_survives_in_float32():
    single = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_inexact_array(a) else a, smooth()
    )
    method = ep.EquilibriumProp(ep.Centered(0.1), ep.FixedPoint(max_steps=150))
    parts = (single.model.energy, single.x)
    grads = [
        h.flat(pulled(parts, method, jnp.float32(scale))).astype(float)
        for scale in (1.0, 1e-12)
    ]
    cosine = np.dot(*grads) / np.linalg.norm(grads[0]) / np.linalg.norm(grads[1])
    assert cosine > 1 - 1e-6
    np.testing.assert_allclose(grads[1], 1e-12 * grads[0], rtol=1e-3, atol=1e-15)


def test_a_cotangent_of_zero_gives_zero():
    case = smooth()
    method, _ = method_of("centered", case.solver)
    parts = (case.model.energy, case.x)
    np.testing.assert_array_equal(h.flat(pulled(parts, method, jnp.asarray(0.0))), 0)


class TwoBlocks(eqx.Module):
    """Energy blocks between feedforward layers (Nest & Ernoult 2024)."""

    first: ep.Network
    between: eqx.nn.Linear
    norm: eqx.nn.LayerNorm
    second: ep.Network
    readout: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        units = {"unit": ep.Tanh(), "output_unit": ep.Tanh()}
        self.first = h.with_biases(
            ep.nets.mlp([5, 4, 3], key=keys[0], **units), 1, 0.1, 0.3
        )
        self.between = eqx.nn.Linear(3, 6, key=keys[1])
        self.norm = eqx.nn.LayerNorm(6)
        self.second = h.with_biases(
            ep.nets.mlp([6, 4, 3], key=keys[2], **units), 2, 0.1, 0.3
        )
        self.readout = eqx.nn.Linear(3, 3, key=keys[3])

    def __call__(self, x, method):
        s = method.equilibrium(self.first, x).state[-1]
        s = jax.vmap(lambda a: jnp.tanh(self.norm(self.between(a))))(s)
        s = method.equilibrium(self.second, s).state[-1]
        return jax.vmap(self.readout)(s)


def blocks_loss(net, x, y, method):
    logits = net(x, method)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - jnp.sum(y * logits, axis=1))


@pytest.mark.parametrize("name", ["centered", "holomorphic", "implicit"])
def test_two_energy_blocks_train_end_to_end(name):
    x, y = h.batch(5, 3)
    net = TwoBlocks(jax.random.key(0))
    grad = eqx.filter_jit(eqx.filter_grad(blocks_loss))
    exact = grad(net, x, y, ep.BackpropThroughTime(h.DAMPED))
    method, tolerance = method_of(name, h.DAMPED)
    found = grad(net, x, y, method)
    for part in ("first", "between", "norm", "second", "readout"):
        assert h.error(getattr(found, part), getattr(exact, part)) < tolerance


class Attentive(eqx.Module):
    """An energy layer among batch statistics and attention over four tokens."""

    embed: eqx.nn.Linear
    attention: eqx.nn.MultiheadAttention
    norm: eqx.nn.BatchNorm
    energy: ep.Network
    readout: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.embed = eqx.nn.Linear(5, 4, key=keys[0])
        self.attention = eqx.nn.MultiheadAttention(2, 4, key=keys[1])
        self.norm = eqx.nn.BatchNorm(4, axis_name="batch", mode="batch")
        self.energy = ep.nets.mlp(
            [4, 5, 3], key=keys[2], unit=ep.Tanh(), output_unit=ep.Linear()
        )
        self.readout = eqx.nn.Linear(3, 3, key=keys[3])

    def __call__(self, x, state, method):
        tokens = jax.vmap(self.embed)(x)
        tokens = self.attention(tokens, tokens, tokens)
        normalize = jax.vmap(
            self.norm, axis_name="batch", in_axes=(0, None), out_axes=(0, None)
        )
        tokens, state = normalize(tokens, state)
        settled = method.equilibrium(self.energy, tokens).state[-1]
        return jax.vmap(self.readout)(settled), state


@pytest.mark.parametrize("name", ["centered", "implicit"])
def test_an_energy_layer_among_batch_statistics_and_attention(name):
    x, y = h.batch(5, 3)
    net, state = eqx.nn.make_with_state(Attentive)(jax.random.key(3))

    def loss(net, method):
        out, _ = net(x, state, method)
        return jnp.mean(jnp.sum((out - y) ** 2, axis=1))

    grad = eqx.filter_jit(eqx.filter_grad(loss))
    exact = grad(net, ep.BackpropThroughTime(h.DAMPED))
    method, tolerance = method_of(name, h.DAMPED)
    assert h.error(grad(net, method), exact) < tolerance
    assert np.linalg.norm(h.flat(exact.embed)) > 1e-3


def test_one_example_under_vmap_is_the_batch():
    case = smooth()
    method, _ = method_of("centered", case.solver)

    def one(x):
        return jnp.sum(jnp.sin(method.equilibrium(case.model.energy, x[None]).state[2]))

    singly = jax.jit(jax.vmap(jax.grad(one)))(case.x)

    def together(x):
        return jnp.sum(jnp.sin(method.equilibrium(case.model.energy, x).state[2]))

    # Products of another shape round differently: 1e-15 over β.
    np.testing.assert_allclose(
        singly, jax.jit(jax.grad(together))(case.x), rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize(
    "again",
    [jax.grad, jax.jacrev, jax.jacfwd, lambda f: lambda x: jax.jvp(f, (x,), (x,))],
)
@pytest.mark.parametrize("name", ["centered", "implicit", "unrolled"])
def test_differentiating_twice_raises(again, name):
    case = h.mlp([5, 4, 3], ep.Tanh(), solver=ep.FixedPoint(max_steps=5))
    method, _ = method_of(name, case.solver)

    def loss(x):
        return jnp.sum(jnp.sin(method.equilibrium(case.model.energy, x).state[1]))

    with pytest.raises(ValueError, match="differentiated once, not twice"):
        # Tracing is enough: nothing is compiled.
        jax.eval_shape(again(lambda x: jnp.sum(jax.grad(loss)(x))), case.x)


@pytest.mark.parametrize("name", ["centered", "implicit", "unrolled"])
def test_differentiating_twice_raises_where_the_first_derivative_is_linear(name):
    # Then the cotangent is constant, and so is the input's own derivative but for the
    # states in it: a derivative of 0 instead of an error.
    case = h.mlp([5, 4, 3], ep.Tanh(), solver=ep.FixedPoint(max_steps=5))
    method, _ = method_of(name, case.solver)
    params, rest = eqx.partition(case.model.energy, eqx.is_inexact_array)

    def loss(params, x):
        energy = eqx.combine(params, rest)
        return jnp.sum(method.equilibrium(energy, x).state[1])

    def slopes(which):
        def total(params, x):
            found = jax.grad(loss, argnums=which)(params, x)
            return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(found))

        return total

    for first in (0, 1):
        for second in (0, 1):
            with pytest.raises(ValueError, match="differentiated once, not twice"):
                jax.eval_shape(jax.grad(slopes(first), argnums=second), params, case.x)


def test_forward_mode_raises():
    case = h.mlp([5, 4, 3], ep.Tanh(), solver=ep.FixedPoint(max_steps=5))
    method, _ = method_of("centered", case.solver)

    def loss(x):
        return jnp.sum(method.equilibrium(case.model.energy, x).state[1])

    with pytest.raises(TypeError, match="forward-mode"):
        jax.eval_shape(jax.jacfwd(loss), case.x)


def test_phases_that_do_not_settle_are_reported():
    case = h.mlp([5, 4, 3])
    # SquaredError's own output has curvature 1: nothing holds it against β = 2. Here
    # the nudge is a drive, which bounded outputs survive; an energy that falls without
    # end does not settle.
    falling = ep.FunctionEnergy(
        lambda p, s, x: jnp.sum(p * x) * jnp.sum(s),
        jnp.ones(()),
        init=lambda x: jnp.zeros(2),
        output=lambda s: s,
    )
    method = ep.EquilibriumProp(
        ep.Centered(0.1), ep.Euler(max_steps=9, stop=ep.Tolerance(1e-9))
    )
    with pytest.raises(ep.RelaxationError, match="did not reach equilibrium"):
        method.equilibrium(falling, case.x)
    free = method.equilibrium(falling, case.x, throw=False)
    assert not bool(jnp.any(free.converged))


def test_a_backward_phase_that_does_not_settle_raises():
    case = smooth()
    tight = ep.FixedPoint(max_steps=3, stop=ep.Tolerance(1e-12), certify=1e-12)
    method = ep.EquilibriumProp(ep.Centered(0.1), h.DAMPED, nudged_solver=tight)

    def loss(x, throw):
        free = method.equilibrium(case.model.energy, x, throw=throw)
        return jnp.sum(free.state[2])

    with pytest.raises(ep.RelaxationError, match="did not reach equilibrium"):
        jax.grad(loss)(case.x, True)
    with pytest.raises(RuntimeError, match="tolerance was not reached"):
        jax.block_until_ready(jax.jit(jax.grad(lambda x: loss(x, True)))(case.x))
    assert bool(jnp.all(jnp.isfinite(jax.grad(loss)(case.x, False))))


def test_only_the_state_is_differentiable():
    case = smooth()
    method, _ = method_of("centered", case.solver)

    def residual(x):
        return jnp.sum(method.equilibrium(case.model.energy, x).residual)

    np.testing.assert_array_equal(jax.grad(residual)(case.x), 0)
