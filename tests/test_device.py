"""The same code on an accelerator: `JAX_PLATFORMS=cuda pytest -m device`."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep


pytestmark = pytest.mark.device

SINGLE = jnp.float32


def in_single(tree):
    return jax.tree.map(
        lambda a: a.astype(SINGLE) if eqx.is_inexact_array(a) else a, tree
    )


def problem():
    key = jax.random.key(0)
    energy = in_single(ep.nets.mlp([64, 128, 96, 10], key=key))
    x = jax.random.uniform(key, (32, 64), SINGLE)
    y = jax.nn.one_hot(jnp.arange(32) % 10, 10, dtype=SINGLE)
    return ep.Model(energy, ep.SquaredError()), x, y


def on(device, tree):
    return jax.tree.map(
        lambda a: jax.device_put(a, device) if eqx.is_array(a) else a, tree
    )


@pytest.mark.parametrize(
    "solver",
    [
        ep.BlockCoordinate(relaxation=1.2, max_steps=60),
        ep.BlockCoordinate(relaxation=1.2, max_steps=60, stop=ep.Tolerance(1e-5)),
        ep.Euler(max_steps=200),
        ep.Nesterov(max_steps=200, stop=ep.Tolerance(1e-5)),
        ep.ConjugateSweeps(stop=ep.Tolerance(1e-5)),
    ],
    ids=["sweeps", "sweeps to a tolerance", "Euler", "momentum", "conjugate"],
)
def test_the_accelerator_finds_the_gradient_of_the_cpu(solver):
    method = ep.EquilibriumProp(ep.Centered(0.5), solver)
    found = []
    with jax.default_matmul_precision("highest"):
        for device in (jax.devices()[0], jax.devices("cpu")[0]):
            arguments = on(device, (method, *problem()))
            outcome, gradient = eqx.filter_jit(
                lambda method, model, x, y: method.value_and_grad(model, x, y)
            )(*arguments)
            assert bool(jnp.all(outcome.free.converged))
            found.append([np.asarray(g) for g in jax.tree.leaves(gradient)])
    for a, b in zip(*found, strict=True):
        # States settled to 1e-5 in float32, over 2β = 1.
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.max(np.abs(b)))


def test_nothing_goes_to_the_host_inside_a_step():
    method = ep.EquilibriumProp(
        ep.Centered(0.5), ep.BlockCoordinate(max_steps=60, stop=ep.Tolerance(1e-3))
    )
    device = jax.devices()[0]
    arguments = on(device, (method, *problem()))
    step = eqx.filter_jit(
        lambda method, model, x, y: method.value_and_grad(model, x, y)[1]
    )
    jax.block_until_ready(step(*arguments))
    with jax.transfer_guard("disallow"):
        jax.block_until_ready(step(*arguments))


def test_the_input_leaves_the_loop():
    # Of the product of the input, one at the start and one in the gradient: both
    # phases and all their sweeps share it.
    method = ep.EquilibriumProp(ep.Centered(0.5), ep.BlockCoordinate(max_steps=7))
    model, x, y = on(jax.devices()[0], problem())
    text = (
        jax.jit(lambda x, y: method.value_and_grad(model, x, y)[1])
        .lower(x, y)
        .compile()
        .as_text()
    )
    bodies = [part for part in text.split("\n\n") if "region" in part.split("(")[0]]
    assert not any("f32[32,64]" in body for body in bodies)
