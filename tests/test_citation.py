"""Every paper that a docstring names has its BibTeX, and a run cites what it used."""

import importlib
import inspect
import json
import re
from pathlib import Path

import jax
import pytest

import eqprop as ep
from eqprop.apps.cli import main
from eqprop.training._citation import bibliography, cited


def public() -> list:
    spaces = [ep, *map(importlib.import_module, ("eqprop.data", "eqprop.diagnostics"))]
    names = {(s, name): getattr(s, name) for s in spaces for name in dir(s)}
    return [v for v in names.values() if inspect.isclass(v) or inspect.isfunction(v)]


def docstring(thing) -> str:
    return inspect.getdoc(thing) or ""


def test_every_reference_in_a_docstring_has_an_entry():
    citing = [
        thing for thing in public() if "??? cite" in (inspect.getdoc(thing) or "")
    ]
    assert len(citing) > 20
    for thing in citing:
        keys = cited(thing)
        assert keys, f"{thing.__name__} cites nothing by author and year"
        assert set(keys) <= bibliography().keys(), thing.__name__
        # A paper that is named by its number has that number.
        for number in re.findall(r"arXiv:(\d{4}\.\d{5})", docstring(thing)):
            assert any(number in bibliography()[key] for key in keys), thing.__name__


def test_entries_are_bibtex():
    for key, entry in bibliography().items():
        assert re.match(r"@[a-z]+\{" + key + r",\n", entry)
        depth = 0
        for character in entry:
            depth += (character == "{") - (character == "}")
            assert depth >= 0
        assert depth == 0, key
        fields = re.findall(r"^  (\w+) +?= \{", entry, re.M)
        assert {"author", "title"} <= set(fields), key
        year = re.search(r"year += \{(\d{4})\}", entry)
        assert key == "eqprop" or (year is not None and key.endswith(year[1]))
        surname = re.sub(
            r"[^a-z]", "", re.split(r"[ ,]", first_author(entry))[0].lower()
        )
        assert key == "eqprop" or key.startswith(surname)


def first_author(entry: str) -> str:
    found = re.search(r"author += \{(.+?)\},\n", entry)
    assert found is not None
    return found[1]


def keys_of(text: str) -> list[str]:
    return re.findall(r"^@\w+\{(\w+),", text, re.M)


def test_a_method_cites_itself_and_its_parts_once():
    method = ep.EquilibriumProp(ep.Centered(0.1), ep.Nesterov(0.3), ep.Nesterov(0.2))
    assert keys_of(ep.citation(method)) == [
        "eqprop",
        "scellier2017",
        "laborieux2021",
        "nesterov1983",
        "odonoghue2015",
    ]
    assert keys_of(ep.citation()) == ["eqprop"]
    assert keys_of(ep.citation(ep.Adam(1e-3), ep.data.mnist)) == [
        "eqprop",
        "kingma2015",
        "lecun1998",
    ]


def test_a_run_cites_what_it_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    coupled = ["--method", "Coupled", "--method.nudging.eta", "0.2"]
    with jax.enable_x64(False):
        for name, more in (("a", []), ("b", coupled)):
            argv = ["train", "digits", "--epochs", "1", "--energy.sizes", "[64, 8, 10]"]
            assert main([*argv, *more, "--out", str(tmp_path / name)]) == 0
        capsys.readouterr()
        assert main(["cite", str(tmp_path / "a")]) == 0
        keys = keys_of(capsys.readouterr().out)
        assert main(["cite", str(tmp_path / "b"), "--json"]) == 0
        other = json.loads(capsys.readouterr().out)["keys"]
    assert {"eqprop", "scellier2017", "laborieux2021", "kingma2015"} <= set(keys)
    assert "alpaydin1998" in keys
    assert "stern2021" not in keys
    assert "stern2021" in other
    assert "laborieux2021" not in other


def test_a_run_without_recipe_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["cite", str(tmp_path / "nowhere")]) == 2
    assert "There is no run" in capsys.readouterr().err
