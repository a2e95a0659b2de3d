"""The page on how to choose: its tables are the stored measurements."""

import json

from scripts import benchmark, REPOSITORY


PAGE = (REPOSITORY / "docs/choose.md").read_text("utf-8")
STORED = json.loads((REPOSITORY / "docs/choices.json").read_text("utf-8"))


def test_the_tables_are_the_stored_measurements():
    assert benchmark("choices").filled(PAGE, STORED["tables"]) == PAGE


def test_every_row_was_measured_as_the_script_would_now():
    rows = {
        table: [(row["name"], row["flags"]) for row in rows]
        for table, rows in STORED["tables"].items()
    }
    assert rows == {
        table: [(name, flags) for name, flags in rows]
        for table, rows in benchmark("choices").TABLES.items()
    }
    for table in STORED["tables"].values():
        for row in table:
            assert len(row["test_errors"]) == len(row["converged"]) == STORED["seeds"]
