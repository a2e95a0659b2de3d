"""The table of methods: its numbers are the stored ones, its flags are recipes."""

import json
import shlex

import pytest

from eqprop.apps.cli._configure import configure
from eqprop.apps.cli._flags import split_flags
from eqprop.learning import AbstractEstimator, AbstractNudging
from eqprop.training._config import merge
from eqprop.training._recipe import build, candidates, method_named
from scripts import benchmark, REPOSITORY


PAGE = (REPOSITORY / "docs/methods.md").read_text("utf-8")
STORED = json.loads((REPOSITORY / "docs/methods.json").read_text("utf-8"))


def test_the_table_is_made_of_the_stored_numbers():
    table = PAGE.split("<!-- table -->")[1].split("<!-- end of table -->")[0]
    assert table.strip() == benchmark("methods").as_table(STORED["rows"])
    assert all(len(row["test_errors"]) == STORED["seeds"] for row in STORED["rows"])


def test_the_benchmark_still_has_the_rows_that_were_stored():
    rows = [(row["unit"], row["name"], row["flags"]) for row in STORED["rows"]]
    assert rows == [
        (row.unit, row.name, row.flags) for row in benchmark("methods").ROWS
    ]


@pytest.mark.parametrize(
    "flags", [row["flags"] for row in STORED["rows"] if row["flags"]]
)
def test_the_flags_are_a_recipe(flags: str):
    rest, table = split_flags(shlex.split(flags))
    name = rest[rest.index("--method") + 1]
    method = merge(method_named(name), table.pop("method", {}))
    recipe = build(configure("digits", None, table | {"method": method}, {}))
    nudging = getattr(recipe.method, "nudging", recipe.method)
    assert name in (type(recipe.method).__name__, type(nudging).__name__)


def test_every_method_is_on_the_page():
    methods = {**candidates(AbstractEstimator), **candidates(AbstractNudging)}
    for name in methods.keys() - {"EquilibriumProp"}:
        assert f"| `{name}(" in PAGE, f"docs/methods.md has no row for {name}"
