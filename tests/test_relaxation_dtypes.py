"""One solver serves models of any floating-point type, which keep theirs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from helpers import CURVED, flat, inputs, network, QUADRATIC, targets


SOLVERS = {
    "euler": ep.Euler(step_size=0.5, max_steps=60, stop=ep.Tolerance(1e-2)),
    "adaptive": ep.AdaptiveEuler(
        step_size=0.5, max_steps=60, stop=ep.Tolerance(1e-2, 1e-3)
    ),
    "damped": ep.FixedPoint(damping=0.5, max_steps=60, stop=None),
    "blocks": ep.BlockCoordinate(relaxation=1.2, max_steps=60, stop=None),
}
DTYPES = [jnp.float32, jnp.bfloat16]


def cast(tree, dtype):
    return jax.tree.map(
        lambda a: a.astype(dtype) if eqx.is_inexact_array(a) else a, tree
    )


def settled(dtype, units, solver, *, cost=None) -> tuple[ep.Landscape, ep.Equilibrium]:
    model = ep.Model(
        network("cycle", units), ep.SquaredError() if cost is None else cost
    )
    at = ep.Landscape(cast(model, dtype), inputs().astype(dtype))
    at = at.nudge(targets().astype(dtype), 0.4)
    return at, ep.relax(at, solver, throw=False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "name, units",
    [(name, QUADRATIC) for name in SOLVERS]
    + [(name, CURVED) for name in ("damped", "blocks")],
)
def test_models_keep_their_type(name, units, dtype):
    at, found = settled(dtype, units, SOLVERS[name])
    measured = (at.energy(found.state), at.force(found.state), found.residual)
    for array in jax.tree.leaves((found.state, measured)):
        assert array.dtype == dtype
    assert found.num_steps.dtype == jnp.int32
    _, exact = settled(jnp.float64, units, SOLVERS["damped"])
    # A few round-offs of sums of some ten terms, or where the solver stops first.
    tolerance = max(0.02, 8 * float(jnp.finfo(dtype).eps))
    found = flat(cast(found.state, jnp.float64))
    np.testing.assert_allclose(found, flat(exact.state), atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_and_readouts_keep_their_type(dtype):
    rng = np.random.default_rng(0)
    readout = ep.Readout(
        ep.CrossEntropy(), jnp.asarray(rng.normal(size=(3, 3))), jnp.zeros(3)
    )
    at, found = settled(dtype, ["linear"], SOLVERS["blocks"], cost=readout)
    assert found.state[-1].dtype == dtype
    assert at.cost(found.state).dtype == dtype
    assert at.model.cost.predict(found.state[-1][0]).dtype == dtype


def test_single_precision_is_certified_to_single_precision():
    solver = ep.BlockCoordinate(max_steps=60, certify=1e-6)
    _, found = settled(jnp.float32, QUADRATIC, solver)
    assert np.all(found.converged)


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_a_users_function_keeps_its_type(name):
    dtype = jnp.dtype(name)

    def fn(params, state, x):
        return 0.5 * jnp.sum((state - params * x) ** 2)

    energy = ep.FunctionEnergy(
        fn, jnp.asarray(2.0, dtype), init=jnp.zeros_like, output=lambda s: s
    )
    at = ep.Landscape(energy, jnp.asarray([[0.5, 1.0]], dtype))
    found = ep.relax(at, ep.AdaptiveEuler(step_size=1.0, max_steps=5))
    assert found.state.dtype == dtype
    np.testing.assert_array_equal(found.state.astype(float), [[1.0, 2.0]])
