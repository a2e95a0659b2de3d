"""The library, set up as the original code, makes the original's weights."""

from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from oracles import original


# sizes, examples, batch size, batches, β, α of each layer, free and nudged steps
RECIPES = {
    "one hidden layer": ([30, 20, 10], 60, 20, 100, 0.5, (0.1, 0.05), 20, 4),
    "two hidden layers": ([30, 20, 15, 10], 60, 20, 100, 1.0, (0.4, 0.1, 0.01), 150, 6),
    "the size of net1": ([784, 500, 10], 200, 20, 20, 0.5, (0.1, 0.05), 20, 4),
}


def start_of(recipe):
    sizes, count, size, batches, *_ = recipe
    model = ep.Model(
        ep.nets.mlp(
            sizes,
            key=jax.random.key(7),
            output_unit=ep.HardSigmoid(),
            init=ep.GlorotUniform(),
        ),
        ep.SquaredError(),
    )
    rng = np.random.default_rng(3)
    x = rng.random((count, sizes[0]))
    y = np.eye(sizes[-1])[rng.integers(0, sizes[-1], count)]
    per_epoch = np.arange(count).reshape(-1, size)
    order = [per_epoch[k % len(per_epoch)] for k in range(batches)]
    return model, x, y, order, rng.choice([-1, 1], batches)


def parameters(model):
    terms = [edge.interaction for edge in model.energy.edges]
    weights = [np.asarray(t.weight, float) for t in terms if isinstance(t, ep.Dense)]
    biases = [np.asarray(t.bias, float) for t in terms if isinstance(t, ep.Bias)]
    return weights, biases


@eqx.filter_jit
def sgd_step(model, method, x, y, state0, rates):
    outcome, gradient = method.value_and_grad(model, x, y, state0=state0)
    edges = gradient.energy.edges
    pairs = zip(edges, rates, strict=True)
    scaled = [jax.tree.map(lambda g, r=r: r * g, e) for e, r in pairs]
    update = eqx.tree_at(lambda m: m.energy.edges, gradient, tuple(scaled))
    model = eqx.apply_updates(model, jax.tree.map(jnp.negative, update))
    return model, outcome.free.state


def library_training(recipe, dtype):
    *_, beta, alphas, free_steps, nudged_steps = recipe
    model, x, y, order, signs = start_of(recipe)
    model = jax.tree.map(lambda a: jnp.asarray(a, dtype), model)
    sizes = recipe[0]
    particles = [np.zeros((len(x), n), dtype) for n in sizes[1:]]
    # The original has no ½ in its cost: its β and α count twice here. A weight and
    # the bias of the layer above it share their α.
    rates = [jnp.asarray(2 * a, dtype) for a in alphas for _ in range(2)]
    for batch, sign in zip(order, signs, strict=True):
        method = ep.EquilibriumProp(
            ep.OneSided(2 * beta * float(sign)),
            ep.Euler(step_size=0.5, max_steps=free_steps),
            ep.Euler(step_size=0.5, max_steps=nudged_steps),
        )
        xs, ys = jnp.asarray(x[batch], dtype), jnp.asarray(y[batch], dtype)
        start = tuple(jnp.asarray(p[batch]) for p in particles)
        model, settled = sgd_step(model, method, xs, ys, start, rates)
        for p, s in zip(particles, settled, strict=True):
            p[batch] = s
    assert all(a.dtype == dtype for a in jax.tree.leaves(model))
    return parameters(model), particles


def oracle_training(recipe):
    *_, beta, alphas, free_steps, nudged_steps = recipe
    model, x, y, order, signs = start_of(recipe)
    net = original.OriginalNet(*parameters(model))
    particles = original.train(
        net,
        x,
        y,
        order,
        signs,
        beta=beta,
        rates=alphas,
        free_steps=free_steps,
        nudged_steps=nudged_steps,
    )
    return parameters(model), (net.weights, net.biases), particles


def distance(a, b):
    return np.linalg.norm(a - b)


# float64: the two sum in different orders, 1e-16 a step, over 2400 to 15600 steps.
# float32: the same with 6e-8; the issue asks for 1e-4 of the weights.
@pytest.mark.parametrize("dtype, bound", [("float64", 1e-10), ("float32", 1e-4)])
@pytest.mark.parametrize("name", RECIPES)
def test_weights_agree_with_the_original(name, dtype, bound):
    recipe = RECIPES[name]
    before, (weights, biases), particles = oracle_training(recipe)
    (our_weights, our_biases), our_particles = library_training(recipe, dtype)
    for ours, theirs, old in zip(our_weights, weights, before[0], strict=True):
        assert distance(ours, theirs) <= bound * np.linalg.norm(theirs)
        # So that agreeing says something: they are far from where they started.
        assert distance(theirs, old) > 100 * bound * np.linalg.norm(theirs)
    for ours, theirs in zip(our_biases, biases, strict=True):
        # They started at zero: all of their norm is change, which has more round-off.
        assert distance(ours, theirs) <= 10 * bound * np.linalg.norm(theirs)
    for ours, theirs in zip(our_particles, particles, strict=True):
        # Large nets swing under the fixed steps, which magnifies round-off.
        assert distance(ours, theirs) <= 10 * bound * np.linalg.norm(theirs)


def test_the_transcription_descends_its_own_energy():
    rng = np.random.default_rng(0)
    sizes = [6, 5, 4, 3]
    net = original.OriginalNet(
        [rng.normal(size=shape) for shape in pairwise(sizes)],
        [rng.normal(size=n) for n in sizes[1:]],
    )
    layers = [rng.uniform(0.1, 0.9, (2, n)) for n in sizes]
    y = rng.random((2, 3))
    beta, h = 0.7, 1e-6
    slopes = net.slopes(layers, y, beta)
    for k, slope in enumerate(slopes, 1):
        direction = rng.normal(size=layers[k].shape)
        ends = []
        for sign in (1, -1):
            moved = list(layers)
            moved[k] = layers[k] + sign * h * direction
            ends.append(np.sum(net.energy(moved) + beta * net.cost(moved, y)))
        # A quadratic's central difference is exact: round-off over h is 1e-9.
        expected = (ends[0] - ends[1]) / (2 * h)
        np.testing.assert_allclose(np.sum(slope * direction), expected, rtol=1e-7)


def test_permuting_the_pixels_and_first_weights_together_changes_nothing():
    recipe = RECIPES["one hidden layer"]
    model, x, y, order, signs = start_of(recipe)
    permutation = np.random.default_rng(1).permutation(x.shape[1])
    first = lambda m: m.energy.edges[0].interaction.weight  # noqa: E731
    permuted = eqx.tree_at(first, model, first(model)[permutation])
    method = ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate(max_steps=30))
    rates = [jnp.asarray(0.2)] * 4
    for batch in order[:30]:
        ys = jnp.asarray(y[batch])
        model, _ = sgd_step(model, method, jnp.asarray(x[batch]), ys, None, rates)
        xs = jnp.asarray(x[batch][:, permutation])
        permuted, _ = sgd_step(permuted, method, xs, ys, None, rates)
    unpermuted = eqx.tree_at(first, permuted, first(permuted)[np.argsort(permutation)])
    # Only the order of the sums over pixels differs.
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(unpermuted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    assert distance(first(model), first(start_of(recipe)[0])) > 0.1
