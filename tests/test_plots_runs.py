"""What is drawn of runs is what was recorded, and what the library computes."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import eqprop as ep
from eqprop.apps.cli import main
from eqprop.apps.plots._weights import mosaic
from eqprop.diagnostics import receptive_fields, trace_phases
from helpers_training import chain, examples, splits


METHOD = ep.EquilibriumProp(ep.Centered(0.2), ep.BlockCoordinate(max_steps=7))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(3):
        train(folder / str(seed), seed)
    return [folder / str(seed) for seed in range(3)]


def train(out: Path, seed: int) -> None:
    rate = ep.Adam(1e-2)
    sizes = {"epochs": 4, "batch_size": 8}
    ep.fit(chain(seed), splits(), METHOD, rate, seed=seed, out=out, **sizes)


def rows(run: Path) -> list[dict]:
    return ep.training.RunDirectory.open(run).read_metrics()


def drawn(axes, label: str) -> np.ndarray:
    (line,) = [one for one in axes.lines if one.get_label() == label]
    return np.asarray(line.get_xydata())


def test_curves_are_the_metrics(runs: list[Path]):
    axes = ep.plots.plot_training(runs[0]).axes
    panels = {
        (0, "training"): "train_error",
        (0, "validation"): "validation_error",
        (1, "training"): "train_cost",
        (2, "free phases"): "residual",
        (3, "validation"): "validation_energy",
    }
    for (k, label), name in panels.items():
        expected = [[row["epoch"] + 1, row[name]] for row in rows(runs[0])]
        np.testing.assert_allclose(drawn(axes[k], label), expected)
    assert all(one.get_xlabel() and one.get_ylabel() for one in axes)
    for layer in ("input-hidden1", "hidden1-output"):
        expected = [row["weight_change"][layer] for row in rows(runs[0])]
        np.testing.assert_allclose(drawn(axes[5], layer)[:, 1], expected)


def test_a_comparison_shows_mean_least_and_largest(runs: list[Path]):
    figure = ep.plots.plot_comparison({"three": runs, "one": runs[:1]})
    axes = figure.axes[0]
    values = np.array([[row["validation_error"] for row in rows(run)] for run in runs])
    mean = drawn(axes, "three (3 runs)")
    np.testing.assert_allclose(mean[:, 1], values.mean(axis=0))
    np.testing.assert_allclose(drawn(axes, "one")[:, 1], values[0])
    edges = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
    for k in range(4):
        column = edges[edges[:, 0] == k + 1, 1]
        assert column.min() == pytest.approx(values[:, k].min())
        assert column.max() == pytest.approx(values[:, k].max())


def test_runs_of_one_recipe_are_a_group_and_others_are_not(tmp_path: Path):
    out = []
    for seed, rate in ((0, "0.003"), (1, "0.003"), (0, "0.001")):
        out.append(tmp_path / f"{seed}-{rate}")
        argv = ["train", "digits", "--epochs", "1", "--seed", str(seed)]
        more = ["--energy.sizes", "[64, 8, 10]", "--optimizer.learning_rate", rate]
        assert main([*argv, *more, "--out", str(out[-1])]) == 0
    axes = ep.plots.plot_comparison(out).axes[0]
    labels = {line.get_label() for line in axes.lines}
    assert {"learning_rate 0.003 (2 runs)", "learning_rate 0.001"} <= labels


def test_phases_are_followed_step_by_step():
    model, data = chain(), examples(5)
    free, up, down = trace_phases(model, data.x, data.y, METHOD)
    assert (free.beta, up.beta, down.beta) == (0.0, 0.2, -0.2)
    solver = ep.tune(METHOD, ep.Landscape(model, data.x)).solver
    landscape = ep.Landscape(model, data.x)
    state = landscape.init()
    for trace, scape in (
        (free, landscape),
        (up, landscape.nudge(data.y, 0.2)),
        (down, landscape.nudge(data.y, -0.2)),
    ):
        s = state
        memory = solver.init(scape, s, None)
        for k in range(8):
            # Of a nudged phase the energy is F, its nudge included.
            np.testing.assert_allclose(trace.energy[k], scape.energy(s), rtol=1e-9)
            np.testing.assert_allclose(trace.cost[k], scape.cost(s, data.y), rtol=1e-9)
            np.testing.assert_allclose(
                trace.residual[k], scape.residual(s), rtol=1e-6, atol=1e-12
            )
            s, memory, _ = solver.step(scape, s, memory)
        assert len(trace.energy) == 8
        state = ep.relax(landscape, solver, throw=False).state


def test_phases_are_drawn_from_where_the_free_one_ended():
    model, data = chain(), examples(5)
    traces = trace_phases(model, data.x, data.y, METHOD)
    axes = ep.plots.plot_phases(traces).axes
    base = traces[0].energy[-1].mean()
    energy = drawn(axes[1], "β = +0.2")
    np.testing.assert_allclose(energy[:, 1], traces[1].energy.mean(axis=1) - base)
    residual = drawn(axes[5], "β = −0.2")
    np.testing.assert_allclose(residual[:, 1], traces[2].residual.max(axis=1))
    assert axes[1].get_facecolor() != axes[0].get_facecolor(), "the nudge is shaded"


def test_receptive_fields_are_products_of_weights():
    model = chain()
    edges = model.energy.edges  # pyright: ignore
    first, second = edges[0].interaction.weight, edges[2].interaction.weight
    fields = receptive_fields(model, jnp.zeros(5))
    np.testing.assert_allclose(fields["hidden1"], first.T, rtol=1e-12)
    np.testing.assert_allclose(fields["output"], (first @ second).T, rtol=1e-12)
    some = receptive_fields(model, jnp.zeros(5), [[4, 1], [2]])
    np.testing.assert_allclose(some["hidden1"], first.T[jnp.array([4, 1])], rtol=1e-12)
    assert some["output"].shape == (1, 5)


def test_receptive_fields_of_ones_own_energy():
    w = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)))

    def energy(params, state, x):
        return 0.5 * state["h"] @ state["h"] - state["h"] @ (x @ params)

    mine = ep.FunctionEnergy(
        energy, w, init=lambda x: {"h": jnp.zeros(4)}, output=lambda s: s["h"]
    )
    fields = receptive_fields(mine, jnp.zeros(5))
    np.testing.assert_allclose(fields["state['h']"], w.T, rtol=1e-12)


def test_weights_are_drawn_unit_by_unit():
    energy = ep.nets.mlp([9, 12, 3], key=jax.random.key(0))
    model = ep.Model(energy, ep.SquaredError())
    figure = ep.plots.plot_weights(model, jnp.zeros(9), shape=(3, 3), units=12)
    weight = np.asarray(energy.edges[0].interaction.weight)  # pyright: ignore
    whole = np.asarray(figure.axes[0].images[0].get_array().filled(np.nan))
    # Rows of ten, with a line between the images.
    np.testing.assert_allclose(whole[:3, 4:7].ravel(), weight[:, 1])
    np.testing.assert_allclose(whole[4:7, :3].ravel(), weight[:, 10])
    assert np.all(np.isnan(whole[:, 3]))
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high


def test_a_mosaic_leaves_nothing_out():
    images = np.arange(1.0, 12 * 4 + 1).reshape(12, 2, 2)
    whole = mosaic(images)
    assert sorted(whole[np.isfinite(whole)]) == list(range(1, 49))


def test_activity_counts_every_unit():
    model, data = chain(), examples(7)
    landscape = ep.Landscape(model, data.x)
    settled = ep.relax(landscape, ep.BlockCoordinate(max_steps=50)).state
    state = tuple(map(np.asarray, settled))
    axes = ep.plots.plot_activity(landscape, settled).axes
    for one, leaf in zip(axes, state, strict=True):
        leaf = np.asarray(leaf)
        heights = one.patches[0].get_data().values
        assert np.sum(heights) == pytest.approx(100)
        at_rest = 100 * np.mean(leaf <= np.min(leaf) + np.ptp(leaf) / 40)
        assert heights[0] == pytest.approx(at_rest, abs=100 / leaf.size)
    share = 100 * np.mean((state[0] <= 0) | (state[0] >= 1))
    assert f"hidden1: {share:.1f} % saturated" in axes[0].get_title()


def test_plots_from_the_command_line(tmp_path: Path, runs: list[Path]):
    run, out = tmp_path / "run", tmp_path / "figures"
    with jax.enable_x64(False):
        train_it = ["train", "digits", "--epochs", "1", "--energy.sizes", "[64, 8, 10]"]
        assert main([*train_it, "--out", str(run)]) == 0
        assert main(["plot", str(run), "--out", str(out), "--format", "svg"]) == 0
        names = {file.name for file in out.iterdir()}
        assert names == {
            f"{n}.svg" for n in ("curves", "phases", "weights", "activity")
        }
        one = tmp_path / "bias.png"
        assert main(["plot", str(run), "--kind", "bias", "--out", str(one)]) == 0
        assert one.read_bytes().startswith(b"\x89PNG")
    # Of a run of one's own energy the curves can be drawn, by its folder alone.
    assert main(["plot", str(runs[0])]) == 0
    assert [file.name for file in (runs[0] / "plots").iterdir()] == ["curves.png"]


@pytest.mark.parametrize(
    "argv, message",
    [
        ([], "needs a run"),
        (["nowhere"], "There is no run at nowhere"),
        (["RUN", "--kind", "curvs"], "did you mean|Did you mean"),
        (["RUN", "RUN", "--kind", "weights"], "draws one run, but 2 were given"),
        (["RUN", "--examples", "0"], "must be at least 1"),
        (["RUN", "--kind", "weights", "--shape", "8by8"], "whole numbers with x"),
        (["RUN", "--kind", "curves", "--out", "x.docx"], "must end with one of"),
        (["RUN", "--kind", "curves,bias", "--out", "x.png"], "2 figures are asked for"),
        (["RUN", "--kind", "weights"], "has no `.energy.`"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    argv: list[str],
    message: str,
    runs: list[Path],
    capsys: pytest.CaptureFixture[str],
):
    assert main(["plot", *(a.replace("RUN", str(runs[0])) for a in argv)]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_likeness_is_drawn_for_each_parameter():
    model, data = chain(), examples(5)
    solver = ep.diagnostics.exacting_solver(ep.Landscape(model, data.x))
    reference = ep.ImplicitDifferentiation(solver)
    _, exact = reference.value_and_grad(model, data.x, data.y)
    bias = ep.diagnostics.measure_bias(
        model,
        data.x,
        data.y,
        lambda beta: ep.EquilibriumProp(ep.OneSided(beta), solver),
        [1e-3, 1e-2],
        exact,
    )
    figure = ep.plots.plot_likeness({"OneSided": bias})
    line = figure.axes[1].lines[0]
    at = 0 if bias.safe is None else bias.betas.index(bias.safe)
    expected = [row.error for row in bias.likeness[at].values()]
    np.testing.assert_allclose(line.get_xdata(), expected)
