"""The tests of learning fail when a sign, a factor or a check of it is broken."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


REPOSITORY = Path(__file__).resolve().parent.parent

NUDGING = "learning/nudging/_one_sided.py"
PHASE = "learning/_phase.py"
METHOD = "learning/_equilibrium_prop.py"
UNROLLED = "learning/references/_unrolled.py"

CLOSED = "test_learning_exact.py -k quadratic_bias"
ORIGINAL = "test_learning_original.py -k agree and two and float64"
SIGNS = "test_learning_rates.py -k sign"
CLAMPED = "test_learning_invariants.py -k contrastive_hebbian"
READOUT = "test_learning_rates.py -k readouts_own"
BATCH = "test_learning_invariants.py -k weighted_mean and one-sided"
BATCH_UNROLLED = "test_learning_invariants.py -k weighted_mean and unrolled"
CONTRAST = "test_learning_invariants.py -k scalar_of_the_phases"
PADDING = "test_learning_invariants.py -k padding_alone and centered"
OUTCOMES = "test_learning_outcomes.py -k phase or step or starts"
ERRORS = "test_learning_errors.py -k clamped_refuses or refuses_loops"

# file, what it says, what the mutant says, the tests that must fail
MUTANTS = [
    (NUDGING, "share = 0.5 / self.beta", "share = 1.0 / self.beta", CLOSED),
    (NUDGING, "state, -share)", "state, share)", CLOSED),
    (NUDGING, "nudge(y, -self.beta)", "nudge(y, 0 * self.beta)", CLOSED),
    (NUDGING, "state, -1 / beta)", "state, 1 / beta)", CLOSED),
    (NUDGING, "beta), state, 1 / beta)", "beta), state, 2 / beta)", CLOSED),
    (NUDGING, "nudge(y, beta)", "nudge(y, 2 * beta)", CLOSED),
    (NUDGING, "self.beta * self.sign(key)", "self.beta", SIGNS),
    (NUDGING, "jax.random.bernoulli(key)", "jax.random.bernoulli(key, 0.6)", SIGNS),
    (NUDGING, "Phase(landscape, state, -1.0)", "Phase(landscape, state, 1.0)", CLAMPED),
    (NUDGING, "landscape.clamp(landscape.energy_fn.output, y)", "landscape", CLAMPED),
    (NUDGING, "Readout | CrossEntropy)", "Readout)", ERRORS),
    (NUDGING, "Readout | CrossEntropy)", "CrossEntropy)", ERRORS),
    (PHASE, "scape.y, scape.beta,", "scape.y, None,", READOUT),
    (PHASE, "energy + scape.beta *", "energy - scape.beta *", READOUT),
    (PHASE, "phases[k].weight * batch_mean", "batch_mean", CLOSED),
    (PHASE, "id(leaf) for leaf in leaves", "0 for leaf in leaves", CONTRAST),
    (PHASE, "return jnp.mean(values)", "return jnp.sum(values)", CLOSED),
    (PHASE, "jnp.sum(weight * values) /", "jnp.sum(values) /", BATCH),
    (PHASE, "jnp.where(total > 0, total, 1)", "total", PADDING),
    (METHOD, "solver, p.state, key", "solver, None, key", ORIGINAL),
    (METHOD, "self.solver, state0", "self.solver, None", OUTCOMES),
    (METHOD, "relaxed, weight=weight)", "relaxed)", BATCH),
    (METHOD, "free.state, y), weight)", "free.state, y), None)", BATCH),
    (METHOD, "is None else self.nudged_solver", "is None else self.solver", OUTCOMES),
    (METHOD, "Outcome(cost, free, nudged)", "Outcome(cost, free)", OUTCOMES),
    (METHOD, "e.state, p.weight)", "free.state, p.weight)", CLOSED),
    (UNROLLED, "free.state, y), weight)", "free.state, y), None)", BATCH_UNROLLED),
    (UNROLLED, "self.solver, state0", "self.solver, None", OUTCOMES),
    (UNROLLED, "if self.solver.stop is not None", "if False", ERRORS),
    ("energies/_cost.py", "0.5 * jnp.sum((output", "jnp.sum((output", ORIGINAL),
    (
        "relaxation/_landscape.py",
        "energy + self.beta *",
        "energy - self.beta *",
        CLOSED,
    ),
]


@pytest.mark.long
@pytest.mark.parametrize("file, says, mutant, tests", MUTANTS)
def test_the_tests_kill_the_mutant(file, says, mutant, tests, tmp_path):
    for folder in ("eqprop", "tests"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder)
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    target = tmp_path / "eqprop" / file
    source = target.read_text()
    assert source.count(says) == 1
    target.write_text(source.replace(says, mutant))
    name, _, chosen = tests.partition(" -k ")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", f"tests/{name}", "-k", chosen],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    # 1: tests ran and failed. Others: the mutant is no program, or nothing was run.
    assert done.returncode == 1, done.stdout
