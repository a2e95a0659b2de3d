"""Every method on the digits net, beside backpropagation on the same architecture.

    python benchmarks/methods.py --seeds 5 --out docs/methods.json

Runs `eqprop train digits` with each method in turn (64-128-10, the preset's optimizer,
batches and epochs) and stores the test errors, also in the table of docs/methods.md.
Backpropagation trains the feedforward net of the same layers, units, initial weights,
batches and optimizer.
"""

import argparse
import contextlib
import io
import json
import shlex
import statistics
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

import eqprop as ep
from eqprop.apps.cli import main as eqprop
from eqprop.data import in_batches, Shuffled
from eqprop.training import build, read_preset, run_keys


SIGMOID = "--energy.unit.type Sigmoid --energy.unit.slope 4 --energy.unit.center 0.5"


class Row(NamedTuple):
    """A line of the table: a name, and the flags of `eqprop train digits`; `None` for
    backpropagation."""

    name: str
    flags: str | None
    unit: str = "hard sigmoid"


ROWS = [
    Row("backpropagation, feedforward", None),
    Row("OneSided", "--method OneSided --method.nudging.beta 0.2"),
    Row("Centered", "--method Centered --method.nudging.beta 0.2"),
    Row("RandomSign", "--method RandomSign --method.nudging.beta 0.2"),
    Row("Coupled", "--method Coupled --method.nudging.eta 0.2"),
    Row("Clamped (contrastive Hebbian)", "--method Clamped"),
    Row("ContinualEP, frozen weights", "--method ContinualEP --method.beta 0.2"),
    Row(
        "ContinualEP, presynaptic rule",
        "--method ContinualEP --method.beta 0.2 --method.plasticity.type RateSTDP",
    ),
    Row(
        "ContinualEP, moving weights",
        "--method ContinualEP --method.beta 0.2 --method.rate 0.003",
    ),
    Row(
        "StochasticEP, Langevin",
        "--method StochasticEP --method.nudging.type Centered "
        "--method.nudging.beta 0.2 --method.samples 10 --method.sampler.type Langevin "
        "--method.sampler.temperature 0.001 --method.sampler.step_size 0.3 "
        "--method.sampler.max_steps 20",
    ),
    Row(
        "StochasticEP, Gibbs",
        "--method StochasticEP --method.nudging.type Centered "
        "--method.nudging.beta 0.5 --method.samples 10 --method.sampler.type Gibbs "
        "--method.sampler.temperature 0.05 --method.sampler.max_steps 10 "
        "--energy.unit.type Binary",
        "binary",
    ),
    Row(
        "InitializedEP, Centered inside",
        "--energy.type initialized_mlp --energy.sizes '[64, 128, 10]' "
        "--method InitializedEP",
    ),
    Row("ImplicitDifferentiation", "--method ImplicitDifferentiation"),
    Row("RecurrentBackprop", "--method RecurrentBackprop"),
    Row("BackpropThroughTime", "--method BackpropThroughTime"),
    Row("backpropagation, feedforward", None, "sigmoid"),
    Row(
        "Centered", f"--method Centered --method.nudging.beta 0.2 {SIGMOID}", "sigmoid"
    ),
    Row(
        "Holomorphic, 4 points",
        f"--method Holomorphic --method.nudging.beta 0.4 {SIGMOID}",
        "sigmoid",
    ),
]


def by_command(flags: str, seed: int) -> float:
    """The test error of `eqprop train digits`, in percent."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "digits", *shlex.split(flags), "--seed", str(seed), "--json"]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = eqprop([*words, "--out", str(Path(folder) / "run")])
    if code != 0:
        raise SystemExit(f"eqprop {' '.join(words)} ended with exit code {code}.")
    return json.loads(out.getvalue())["test_error"]


def feedforward(model: ep.Model, unit: ep.AbstractUnit, x: jax.Array) -> jax.Array:
    """The outputs of the same layers, without feedback."""
    weights = [e.interaction for e in model.energy.edges]
    dense = [w for w in weights if isinstance(w, ep.Dense)]
    bias = [w for w in weights if isinstance(w, ep.Bias)]
    for k, (w, b) in enumerate(zip(dense, bias, strict=True)):
        drive = x @ w.weight + b.bias
        x = unit.activate(drive) if k < len(dense) - 1 else drive
    return x


def by_backpropagation(unit: ep.AbstractUnit, seed: int) -> float:
    """The test error of the feedforward net, trained with the preset's recipe."""
    table = read_preset("digits")
    table["training"] = table["training"] | {"seed": seed}
    recipe = build(table)
    training = recipe.training
    data, model = recipe.data(), recipe.model()
    epochs, batch_size = training["epochs"], training["batch_size"]
    memory = recipe.optimizer.init(model)
    order_key = run_keys(seed)[0]

    @eqx.filter_jit
    def train(model, memory, indices, weight, epoch):
        def step(carry, batch):
            model, memory, k = carry
            rows, weight = batch

            def loss(model):
                error = feedforward(model, unit, data.train.x[rows])
                each = 0.5 * jnp.sum((error - data.train.y[rows]) ** 2, axis=1)
                return jnp.sum(weight * each) / jnp.sum(weight)

            change, memory = recipe.optimizer.update(
                eqx.filter_grad(loss)(model),
                memory,
                model,
                epoch=epoch + k / indices.shape[0],
                epochs=jnp.asarray(float(epochs)),
            )
            return (eqx.apply_updates(model, change), memory, k + 1), None

        return jax.lax.scan(step, (model, memory, 0.0), (indices, weight))[0][:2]

    for epoch in range(epochs):
        order = Shuffled()(order_key, epoch, len(data.train))
        indices, weight = in_batches(order, batch_size)
        model, memory = train(model, memory, indices, weight, jnp.asarray(float(epoch)))
    guess = jnp.argmax(feedforward(model, unit, data.test.x), axis=1)
    return float(100 * jnp.mean(guess != data.test.labels))


def as_table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = ["| units | method | test error | seeds | flags of `eqprop train digits` |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        errors = row["test_errors"]
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        seeds = ", ".join(f"{e:.2f}" for e in errors)
        flags = f"`{row['flags']}`" if row["flags"] else ""
        mean = f"{statistics.mean(errors):.2f} ± {spread:.2f} %"
        lines.append(f"| {row['unit']} | {row['name']} | {mean} | {seeds} | {flags} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", help="rows whose name holds this text")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = []
    for row in ROWS:
        if args.only and args.only not in row.name:
            continue
        errors = []
        for seed in range(args.seeds):
            if row.flags is None:
                unit = ep.HardSigmoid()
                if row.unit == "sigmoid":
                    unit = ep.Sigmoid(slope=4, center=0.5)
                errors.append(by_backpropagation(unit, seed))
            else:
                errors.append(by_command(row.flags, seed))
        spread = statistics.stdev(errors) if len(errors) > 1 else 0.0
        print(
            f"{row.unit:13} {row.name:36} {statistics.mean(errors):6.2f} ± "
            f"{spread:4.2f} %  {' '.join(f'{e:.2f}' for e in errors)}",
            flush=True,
        )
        found.append(row._asdict() | {"test_errors": [round(e, 2) for e in errors]})
    if args.out:
        table = {"seeds": args.seeds, "jax": jax.__version__, "rows": found}
        args.out.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n")
        page = args.out.with_suffix(".md")
        before, rest = page.read_text("utf-8").split("<!-- table -->")
        after = rest.split("<!-- end of table -->")[1]
        marked = f"<!-- table -->\n{as_table(found)}\n<!-- end of table -->"
        page.write_text(before + marked + after, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
