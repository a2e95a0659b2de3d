"""Products with zeros are left out of a traced function, and only those."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.relaxation._zeros import without_zero_products
from helpers import inputs, network, random_state


W = jnp.linspace(-1.0, 1.0, 12).reshape(4, 3)


def products_in(fn) -> int:
    """How many matrix products are traced."""
    return str(jax.make_jaxpr(fn)()).count("dot_general[")


def nothing() -> jax.Array:
    # As energies fill in their resting states: zeros, projected onto what is feasible.
    return jnp.clip(jnp.zeros((2, 4)), 0.0, 1.0)


ZERO = {
    "filled with zeros": lambda: jnp.zeros((2, 4)) @ W,
    "projected": lambda: nothing() @ W,
    "turned and cut": lambda: nothing().T[:3].T @ W[:3],
    "zeros on the right": lambda: W.T @ nothing().T,
    "a product of a product": lambda: (nothing() @ W) @ W.T,
    "scaled": lambda: (nothing() * jnp.arange(8.0).reshape(2, 4)) @ W,
    "a slope": lambda: jax.linear_transpose(lambda s: s @ W, jnp.ones((2, 4)))(
        nothing()[:, :3]
    )[0],
    "in a call": lambda: jax.jit(lambda: nothing() @ W)(),
}
OTHER = {
    "ones": lambda: jnp.ones((2, 4)) @ W,
    "zeros that are lifted": lambda: jnp.maximum(jnp.zeros((2, 4)), 0.5) @ W,
    "a sum with zeros": lambda: (jnp.zeros((2, 4)) + W[:, :2].T) @ W,
    "a threshold": lambda: (nothing() >= 0).astype(float) @ W,
    "partly zeros": lambda: nothing().at[0, 1].set(2.0) @ W,
    "zeros of a table": lambda: jnp.asarray(np.zeros((2, 4))) @ W,
}


@pytest.mark.parametrize("name", ZERO)
def test_a_product_with_zeros_is_left_out(name: str):
    fn = ZERO[name]
    assert products_in(fn) > 0
    assert products_in(lambda: without_zero_products(fn)) == 0
    found = without_zero_products(fn)
    assert found.dtype == fn().dtype
    np.testing.assert_array_equal(found, fn())


@pytest.mark.parametrize("name", OTHER)
def test_others_are_computed(name: str):
    fn = OTHER[name]
    assert products_in(lambda: without_zero_products(fn)) == products_in(fn)
    np.testing.assert_array_equal(without_zero_products(fn), fn())


def test_what_is_closed_over_may_be_traced():
    @jax.jit
    def run(x):
        return without_zero_products(lambda: (nothing() @ W + x, x @ W.T))

    x = jnp.ones((2, 3))
    np.testing.assert_array_equal(run(x)[0], x)
    np.testing.assert_array_equal(run(x)[1], x @ W.T)
    slope = jax.grad(lambda x: jnp.sum(run(x)[1] ** 2))(x)
    np.testing.assert_allclose(slope, jax.grad(lambda x: jnp.sum((x @ W.T) ** 2))(x))


@pytest.mark.parametrize("units", [("hard_sigmoid", "linear"), ("sigmoid", "tanh")])
def test_a_relaxation_from_rest_is_the_one_from_its_resting_state(units):
    # Sigmoids rest where they are not zero.
    at = ep.Landscape(network("chain", units), inputs())
    solver = ep.BlockCoordinate(relaxation=1.3, max_steps=4)
    rest = ep.relax(at, solver, throw=False)
    given = ep.relax(at, solver, at.init(), throw=False)
    for a, b in zip(*map(jax.tree.leaves, (rest.state, given.state)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
    np.testing.assert_allclose(rest.residual, given.residual, rtol=0, atol=1e-14)


def test_a_state_that_rests_elsewhere_is_seen_where_it_is():
    weight = jnp.asarray(0.4)

    def energy(weight, state, x):
        return -weight * (x @ state[0] + state[0] @ state[1])

    function = ep.FunctionEnergy(
        energy, weight, init=lambda x: (x, 0.5 + x), output=lambda s: s[1],
        units=ep.Linear(),
    )  # fmt: skip
    at = ep.Landscape(function, inputs())
    found = ep.relax(at, ep.BlockCoordinate(max_steps=1), throw=False)
    first = weight * (at.x + 0.5 + at.x)
    np.testing.assert_allclose(found.state[0], first, atol=1e-14)
    np.testing.assert_allclose(found.state[1], weight * first, atol=1e-14)
    assert not np.allclose(random_state(at)[0], first)
