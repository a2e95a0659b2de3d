"""Which layers may move at once is read off the energy, never guessed too boldly."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import eqprop as ep
from eqprop.relaxation._structure import color, dependencies
from helpers import AFFINE_GRAPHS, GRAPHS, inputs, layers_of, network, random_state


def adjacency(graph: str) -> list[frozenset[int]]:
    """The neighbors of each layer, by the names of the graph."""
    names = layers_of(graph)
    near: list[set[int]] = [set() for _ in names]
    for edge in (edge.split() for edge in GRAPHS[graph]):
        for a in edge:
            for b in edge:
                if {a, b} <= set(names) and (a != b or len(edge) == 1):
                    near[names.index(a)].add(names.index(b))
    return [frozenset(n) for n in near]


@pytest.mark.parametrize("graph", GRAPHS)
def test_couplings_are_the_edges_of_the_graph(graph):
    at = ep.Landscape(network(graph), inputs())
    assert at.couplings() == adjacency(graph)


@pytest.mark.parametrize("graph", AFFINE_GRAPHS)
def test_no_two_layers_of_a_block_are_coupled(graph):
    blocks = ep.Landscape(network(graph), inputs()).blocks()
    near = adjacency(graph)
    assert sorted(k for block in blocks for k in block) == list(range(len(near)))
    for block in blocks:
        assert not any(b in near[a] for a in block for b in block)


def chain_of(names: list[str]) -> ep.Network:
    """The chain a – b – c – …, its layers listed in the order of `names`."""
    layers = [ep.Layer(name, ep.Linear(), (2,)) for name in names]
    ordered = sorted(names)
    edges = [
        ep.Edge(pair, ep.Dense(0.3 * jnp.ones((2, 2)))) for pair in pairwise(ordered)
    ]
    return ep.Network(layers, edges, output=ordered[-1])


@pytest.mark.parametrize("order", ["abcdef", "adbc", "bdface", "fedcba"])
def test_a_chain_is_swept_in_two_half_steps(order):
    names = list(order)
    blocks = ep.Landscape(chain_of(names), inputs()).blocks()
    found = {frozenset(names[k] for k in block) for block in blocks}
    ordered = sorted(names)
    assert found == {frozenset(ordered[::2]), frozenset(ordered[1::2])}


def test_the_block_of_a_nudged_output_comes_first():
    names = list("abcd")
    model = ep.Model(chain_of(names), ep.SquaredError())
    free = ep.Landscape(model, inputs())
    assert free.blocks() == ((0, 2), (1, 3))
    assert free.nudge(jnp.zeros((3, 2)), 0.1).blocks() == ((1, 3), (0, 2))


def test_a_clamped_layer_is_in_no_block_and_separates_the_others():
    at = ep.Landscape(chain_of(list("abc")), inputs())
    held = at.clamp(lambda state: state[1], jnp.ones((3, 2)))
    assert held.blocks() == ((0, 2),)


def test_a_lateral_layer_may_be_clamped_and_is_then_no_obstacle():
    net = network("lateral")
    at = ep.Landscape(net, inputs())
    with pytest.raises(ValueError, match=r"layer 0 .* not: a lateral coupling"):
        ep.relax(at, ep.BlockCoordinate())
    h, o = random_state(at)
    held = at.clamp(lambda state: state, (h, o))
    assert held.blocks() == ()
    assert np.all(ep.relax(held, ep.BlockCoordinate()).converged)


@pytest.mark.parametrize("rho", [ep.Sigmoid(), ep.Tanh(), ep.HardSigmoid()])
def test_membrane_coordinates_are_refused_where_rho_bends(rho):
    energy = ep.nets.hopfield([5, 4, 3], key=jax.random.key(0), rho=rho)
    with pytest.raises(ValueError, match=r"affine in every layer.*ep\.FixedPoint"):
        ep.relax(ep.Landscape(energy, inputs()), ep.BlockCoordinate())


def test_membrane_coordinates_are_swept_where_rho_is_the_identity():
    energy = ep.nets.hopfield([5, 4, 3], key=jax.random.key(0), rho=ep.Linear())
    found = ep.relax(ep.Landscape(energy, inputs()), ep.BlockCoordinate(max_steps=99))
    assert np.max(found.residual) < 1e-14


pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=8)


def pair_energy(edges, wrap):
    """Σ ⟨s_a, s_b⟩ over the edges; an edge (a, a) is a square."""

    def energy(state, x):
        return 0.0 * jnp.sum(x) + sum(
            (wrap(lambda s, t: jnp.sum(s * t))(state[a], state[b]) for a, b in edges),
            start=jnp.zeros(()),
        )

    return ep.FunctionEnergy(
        energy,
        init=lambda x: tuple(jnp.zeros(2) for _ in range(5)),
        output=lambda state: state[4],
        units=ep.Linear(),
    )


WRAPS = {
    "plain": lambda fn: fn,
    "jit": jax.jit,
    "checkpoint": jax.checkpoint,
    "nested": lambda fn: jax.jit(lambda s, t: jax.jit(fn)(t, s)),
}


def known(edges) -> list[set[int]]:
    near: list[set[int]] = [set() for _ in range(5)]
    for a, b in edges:
        near[a].add(b)
        near[b].add(a)
    return near


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
@given(edges=pairs)
@settings(max_examples=15)
def test_no_dependence_is_ever_missed(wrap, edges):
    found = ep.Landscape(pair_energy(edges, wrap), inputs()).couplings()
    for true, listed in zip(known(edges), found, strict=True):
        assert true <= listed


@pytest.mark.parametrize("name", ["plain", "jit", "nested"])
@given(edges=pairs)
@settings(max_examples=15)
def test_dependences_are_exact_through_jitted_functions(name, edges):
    found = ep.Landscape(pair_energy(edges, WRAPS[name]), inputs()).couplings()
    assert [set(listed) for listed in found] == known(edges)


@given(edges=pairs)
@settings(max_examples=3)
def test_blocks_of_any_affine_energy_descend(edges):
    edges = [(a, b) for a, b in edges if a != b]
    at = ep.Landscape(pair_energy(edges, jax.jit), inputs())
    near = known(edges)
    assert not any(b in near[a] for block in at.blocks() for a in block for b in block)
    state = random_state(at)
    for block in at.blocks():
        before = at.energy(state)
        new = list(state)
        for k, s in zip(block, at.minimum(state, block), strict=True):
            new[k] = s
        state = tuple(new)
        assert np.all(at.energy(state) <= before + 1e-12 * (1 + np.abs(before)))


def loops(s, t, u):
    """Control flow, gathers and constants, on which a drive may hang as well."""
    swept = jax.lax.fori_loop(0, 3, lambda _, c: c + s[0], t)
    chosen = jax.lax.cond(u[0] > 0, lambda a: a, lambda a: 2 * a, s)
    kept = jax.lax.scan(lambda c, a: (c + a, c), jnp.zeros(()), t)[1]
    return swept, chosen, kept, jnp.ones(2), u


def test_dependences_through_control_flow_are_not_missed():
    args = [jax.ShapeDtypeStruct((2,), jnp.float64)] * 3
    found = dependencies(loops, args)
    for listed, true in zip(found, [{0, 1}, {0, 2}, {1}, set(), {2}], strict=True):
        assert true <= listed
    assert found[3] == frozenset()
    assert found[4] == {2}


@given(edges=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=15))
def test_a_coloring_never_joins_neighbors(edges):
    near: list[set[int]] = [set() for _ in range(7)]
    for a, b in edges:
        # One direction is enough: an energy's couplings go both ways.
        near[a].add(b)
    groups = color([frozenset(n) for n in near])
    assert sorted(k for group in groups for k in group) == list(range(7))
    for group in groups:
        assert not any(b in near[a] for a in group for b in group if a != b)
    degree = [
        len({b for b in range(7) if a != b and (b in near[a] or a in near[b])})
        for a in range(7)
    ]
    assert len(groups) <= max(degree) + 1
    assert color([]) == ()
