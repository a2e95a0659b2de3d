"""What nudges reach, counted where outputs follow from their drive d in closed form:
clip((d + βy) / (1 + β), 0, 1)."""

import equinox as eqx
import jax
import jax.numpy as jnp

import eqprop as ep
from scripts import benchmark


def test_counts_are_those_of_the_closed_form():
    model = ep.Model(
        ep.nets.mlp([2, 2], output_unit=ep.HardSigmoid(), key=jax.random.key(0)),
        ep.SquaredError(),
    )
    arrays, rest = eqx.partition(model, eqx.is_inexact_array)
    given = jax.tree.map(lambda a: jnp.eye(2) if a.ndim == 2 else 0 * a, arrays)
    model = eqx.combine(given, rest)
    drives = [
        [-0.3, 2.0],  # β = ½ lifts the first output, and nothing else moves anything
        [-0.8, 2.0],  # out of reach of ½
        [0.2, 0.6],  # wrong, but between the walls
        [0.9, 0.1],  # right
    ]
    data = ep.data.Dataset(jnp.asarray(drives), jnp.asarray([[1.0, 0.0]] * 4))
    found = benchmark("nudge_reach").reach(model, data, [0.5, -0.5, 2.0])
    assert found == (4, 3, 2, [1, 2, 0], [1, 2, 0])
