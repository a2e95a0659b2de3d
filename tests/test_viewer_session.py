"""What the viewer shows is what the library computes, and can be taken back."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.apps.viewer import decode, Subject
from eqprop.apps.viewer._maps import update_map
from eqprop.apps.viewer._portrait import introduction, portrait
from eqprop.apps.viewer._session import Session
from helpers_training import chain, examples


X, Y = examples(6).x, examples(6).y


def session(**parts) -> Session:
    return Session(Subject(parts.pop("model", chain()), X, Y, **parts))


def settle(watched: Session) -> Session:
    while not watched.settled:
        watched.step()
    return watched


def picture(watched: Session):
    return decode(portrait(watched))


def leaves(model: ep.Model):
    return [np.asarray(a) for a in jax.tree.leaves(eqx.filter(model, eqx.is_array))]


def equilibrium(watched: Session, beta: float | None) -> tuple:
    """By another solver than the viewer's: damped steps, down to round-off."""
    landscape = ep.Landscape(watched.model, watched.x)
    if beta is not None:
        landscape = landscape.nudge(watched.y, beta)
    stop = ep.Tolerance(1e-12)
    solver = ep.FixedPoint(damping=0.4, max_steps=20_000, stop=stop)
    return ep.relax(landscape, solver).state


def test_the_free_phase_comes_to_the_equilibrium():
    watched = settle(session())
    header, arrays = picture(watched)
    assert header["phase"] == "free"
    assert header["converged"]
    for k, leaf in enumerate(equilibrium(watched, None)):
        # The phase ends at a residual of 1e-5; pictures are float32.
        np.testing.assert_allclose(arrays[f"state/{k}"], leaf[0], atol=1e-4)


@pytest.mark.parametrize("beta", [0.3, -0.3])
def test_the_nudged_phase_shows_what_the_nudge_changes(beta: float):
    watched = settle(session())
    watched.use_nudging("OneSided", beta)
    watched.nudge()
    header, arrays = picture(settle(watched))
    assert header["phase"] == "nudged"
    free, nudged = equilibrium(watched, None), equilibrium(watched, beta)
    for k in range(2):
        expected = nudged[k][0] - free[k][0]
        np.testing.assert_allclose(arrays[f"difference/{k}"], expected, atol=1e-4)
    # Along equilibria dC/dβ ≤ 0 (the paper, proposition 2).
    before, after = arrays["curves"][1, 0], header["cost"]
    start = header["spans"][1][0]
    assert np.sign(after - arrays["curves"][1, start - 1]) == -np.sign(beta)
    assert before != after


def test_centered_shows_the_phase_with_the_sign_of_its_slider():
    watched = settle(session())
    watched.use_nudging("Centered", -0.3)
    watched.nudge()
    _, arrays = picture(settle(watched))
    nudged = equilibrium(watched, -0.3)
    np.testing.assert_allclose(arrays["state/1"], nudged[1][0], atol=1e-4)


@pytest.mark.parametrize("name", ["OneSided", "Centered", "Coupled", "Clamped"])
def test_the_update_that_is_shown_is_the_one_that_is_applied(name: str):
    watched = settle(session())
    watched.rate = 0.25
    watched.use_nudging(name, 0.2)
    watched.nudge()
    header, arrays = picture(settle(watched))
    shown = arrays["update"].astype(float) * header["map_scale"] / 127
    before = watched.model
    watched.apply(1)
    changes = jax.tree.map(jnp.subtract, watched.model, before)
    weight = changes.energy.edges[0].interaction.weight
    assert header["watched"] == "input-hidden1"
    # The input has five numbers, no picture: the whole matrix is shown, in 127 levels.
    step = float(jnp.max(jnp.abs(weight))) / 127
    np.testing.assert_allclose(shown[0], weight, atol=step)


def test_an_update_is_a_step_against_the_gradient_of_the_estimator():
    watched = settle(session())
    watched.rate = 0.25
    watched.use_nudging("Centered", 0.2)
    solver = ep.FixedPoint(damping=0.4, max_steps=20_000, stop=ep.Tolerance(1e-12))
    method = ep.EquilibriumProp(ep.Centered(0.2), solver)
    _, gradient = method.value_and_grad(watched.model, watched.x, watched.y)
    expected = jax.tree.map(
        lambda p, g: p - 0.25 * g,
        eqx.filter(watched.model, eqx.is_inexact_array),
        gradient,
    )
    watched.apply(1)
    pairs = zip(leaves(watched.model), jax.tree.leaves(expected), strict=True)
    for new, wanted in pairs:
        # States to 1e-5, over 2β.
        np.testing.assert_allclose(new, wanted, atol=1e-4)


def exact_cosines(watched: Session, nudging: ep.AbstractNudging) -> dict[str, float]:
    solver = ep.FixedPoint(damping=0.4, max_steps=20_000, stop=ep.Tolerance(1e-12))
    estimators = ep.ImplicitDifferentiation(solver), ep.EquilibriumProp(nudging, solver)
    exact, found = (
        method.value_and_grad(watched.model, watched.x, watched.y)[1]
        for method in estimators
    )
    compared = ep.diagnostics.compare(found, exact)
    return {name: one.cosine for name, one in compared.items() if name != "all"}


def test_cosines_are_those_of_diagnostics():
    watched = settle(session())
    watched.use_nudging("OneSided", 0.5)
    watched.nudge()
    header, _ = picture(settle(watched))
    expected = exact_cosines(watched, ep.OneSided(0.5))
    assert header["cosines"] == pytest.approx(expected, abs=1e-4)
    assert min(header["cosines"].values()) < 0.9999, "no bias to be seen"


def test_updates_lower_the_cost_and_are_taken_back_bit_by_bit():
    watched = settle(session())
    original, fingerprint = leaves(watched.model), watched.weights
    cost = float(watched.relaxing.reading.cost)
    watched.apply(1)
    watched.apply(10)
    assert watched.updates == 11
    assert float(watched.relaxing.reading.cost) < cost
    assert watched.weights != fingerprint
    for _ in range(11):
        watched.undo()
    assert watched.weights == fingerprint
    for a, b in zip(leaves(watched.model), original, strict=True):
        assert a.tobytes() == b.tobytes()
    watched.undo()
    assert "no update" in watched.notice
    assert watched.weights == fingerprint


def test_nothing_is_learned_from_phases_that_do_not_settle():
    watched = settle(session())
    watched.use_nudging("OneSided", -1.5)  # 1 + β < 0: the outputs have no minimum
    fingerprint = watched.weights
    watched.apply(10)
    assert watched.notice.startswith("Not applied.")
    assert watched.updates == 0
    assert picture(watched)[0]["weights"] == fingerprint


def test_a_phase_without_equilibrium_is_told():
    watched = settle(session())
    watched.use_nudging("OneSided", -1.5)
    watched.nudge()
    header, _ = picture(settle(watched))
    assert header["settled"]
    assert not header["converged"]
    assert header["warnings"][0].startswith("No equilibrium.")
    # It is gone with its cause.
    watched.use_nudging("OneSided", 0.5)
    assert picture(settle(watched))[0]["warnings"] == []


def test_dead_units_are_told():
    model = chain()
    bias = model.energy.edges[1].interaction.bias
    assert bias.shape == (6,)
    dead = eqx.tree_at(lambda m: m.energy.edges[1].interaction.bias, model, bias - 50.0)
    header, _ = picture(settle(session(model=dead)))
    assert header["saturated"][0] == 1
    assert "100 % of the units of hidden1 are saturated" in header["warnings"][0]


def test_curves_are_energy_cost_and_residual_of_the_states_along_the_way():
    watched = session()
    seen = []
    for _ in range(4):
        landscape, state = watched.relaxing.landscape, watched.relaxing.state
        seen.append(
            [
                landscape.energy(state)[0],
                landscape.cost(state, watched.y)[0],
                landscape.residual(state)[0],
            ]
        )
        watched.step()
    _, arrays = picture(watched)
    np.testing.assert_allclose(arrays["curves"][:, :4].T, seen, rtol=1e-6, atol=1e-7)


def test_energy_decreases_under_sweeps():
    _, arrays = picture(settle(session()))
    assert np.all(np.diff(arrays["curves"][0]) <= 1e-6)


def test_a_run_of_ones_own_energy_is_watched_leaf_by_leaf():
    def energy(params, state, x):
        h, o = state["deep"], state["out"]
        drive = jnp.sum((x @ params["w"]) * jnp.sum(jnp.tanh(h), axis=(0, 1)))
        return 0.5 * (jnp.sum(h * h) + o @ o) - drive - jnp.mean(h) * jnp.sum(o)

    mine = ep.FunctionEnergy(
        energy,
        {"w": jnp.full((5, 4), 0.3)},
        init=lambda x: {"deep": jnp.zeros((2, 3, 4)), "out": jnp.zeros(3)},
        output=lambda state: state["out"],
    )
    watched = session(model=ep.Model(mine, ep.SquaredError()))
    hello, _ = decode(introduction(watched))
    assert [layer["name"] for layer in hello["layers"]] == [
        "state['deep']",
        "state['out']",
    ]
    assert hello["layers"][0]["shape"] == [2, 3, 4]
    assert [layer["output"] for layer in hello["layers"]] == [False, True]
    # Units without potential have no exact minimum to go to.
    assert list(hello["solvers"]) == ["Euler", "AdaptiveEuler"]
    watched.nudge()
    header, arrays = picture(settle(watched))
    assert arrays["state/0"].shape == (2, 3, 4)
    assert header["converged"]
    assert header["cosines"]["energy.params.w"] > 0.99


def test_analytic_units_are_nudged_in_the_complex_plane():
    watched = settle(session(model=chain(unit=ep.Linear())))
    assert "Holomorphic" not in watched.nudgings  # its hidden units are clipped
    energy = ep.nets.mlp([5, 6, 3], key=jax.random.key(1), unit=ep.Sigmoid())
    watched = session(model=ep.Model(energy, ep.SquaredError()))
    assert "Holomorphic" in watched.nudgings
    watched.use_nudging("Holomorphic", 0.3)
    watched.nudge()
    header, _ = picture(settle(watched))
    expected = exact_cosines(watched, ep.Holomorphic(0.3, 4))
    assert header["cosines"] == pytest.approx(expected, abs=1e-6)
    # Far better than one nudge of that size, by O(β⁴) against O(β).
    watched.use_nudging("OneSided", 0.3)
    one_sided, _ = picture(settle(watched))
    for name, cosine in header["cosines"].items():
        assert 1 - cosine < 0.1 * (1 - one_sided["cosines"][name])


def test_a_solver_can_be_changed_on_the_way():
    watched = session()
    watched.step()
    state = jax.tree.map(np.asarray, watched.relaxing.state)
    watched.use_solver("Euler", 0.4)
    for a, b in zip(state, watched.relaxing.state, strict=True):
        np.testing.assert_array_equal(a, b)
    landscape = watched.relaxing.landscape
    force = landscape.force(tuple(map(jnp.asarray, state)))
    watched.step()
    for s, f, new in zip(state, force, watched.relaxing.state, strict=True):
        moved = s + 0.4 * f
        low, high = (0, 1) if new.shape[1] == 6 else (-np.inf, np.inf)
        np.testing.assert_allclose(new, np.clip(moved, low, high), rtol=1e-6)


def test_a_target_can_be_chosen():
    watched = settle(session())
    watched.aim(2)
    _, arrays = picture(watched)
    np.testing.assert_array_equal(arrays["target"], [0, 0, 1])


def test_subjects_that_cannot_be_shown_are_refused():
    with pytest.raises(ValueError, match="6 examples|one target for each"):
        Subject(chain(), X, Y[:3])
    with pytest.raises(ValueError, match="does not fit the cost"):
        Subject(chain(), X, jnp.zeros((6, 4)))
    with pytest.raises(TypeError, match="`data` is list"):
        ep.view(chain(), [1, 2], open=False)


def test_maps_of_weights_from_a_picture_are_fields_of_the_units_that_change_most():
    rng = np.random.default_rng(0)
    change = rng.normal(size=(12, 40))
    tiles, _ = update_map(change, (3, 4))
    sizes = np.linalg.norm(change, axis=0)
    chosen = sorted(sorted(range(40), key=lambda j: -sizes[j])[:24])
    expected = np.stack([change[:, j].reshape(3, 4) for j in chosen])
    np.testing.assert_allclose(tiles, expected, rtol=1e-6)


def test_large_maps_show_the_largest_of_each_block():
    change = np.zeros((300, 5))
    change[17, 3], change[18, 3], change[299, 4] = 1.0, -2.0, 0.5
    tiles, shown = update_map(change, None)
    assert tiles.shape == (1, 128, 5)
    assert "300 × 5" in shown
    assert sorted(tiles[tiles != 0]) in ([-2.0, 0.5], [-2.0, 0.5, 1.0])
    vector, _ = update_map(np.arange(7.0), None)
    assert vector.shape == (1, 1, 7)


def test_a_frame_is_decoded_as_it_was():
    from eqprop.apps.viewer import encode

    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([-127, 0, 127], np.int8),
        "c": np.float32([np.nan]),
    }
    header, found = decode(encode({"x": float("nan"), "y": [1, "é"]}, arrays))
    assert header == {"x": None, "y": [1, "é"]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_subject_starts_where_it_says():
    watched = Session(dataclasses.replace(Subject(chain(), X, Y), first=3))
    assert watched.index == 3
    np.testing.assert_array_equal(watched.x, X[3:4])
