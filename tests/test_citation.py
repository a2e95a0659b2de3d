"""Every paper that a docstring names has its BibTeX, and a run cites what it used."""

import importlib
import inspect
import json
import operator
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import eqprop as ep
from eqprop.apps.cli import main
from eqprop.training._citation import bibliography, cited
from helpers_training import splits


REPOSITORY = Path(__file__).resolve().parent.parent


SPACES = ("eqprop.data", "eqprop.diagnostics", "eqprop.energies.nets")


def public() -> list:
    spaces = [ep, *map(importlib.import_module, SPACES)]
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


# What comes from which paper: the public classes and functions that have one.
PAPERS = {
    "scellier2017": (
        *("OneSided", "RandomSign", "EquilibriumProp", "Network", "Hopfield", "Euler"),
        *("HardSigmoid", "SquaredError", "ImplicitDifferentiation", "StochasticEP"),
        *("Langevin", "LeakyIntegrator", "ClampedSTDP", "RateSTDP", "MembraneSTDP"),
        *("SymmetricSTDP", "ContinualEP", "EquilibriumPropagationClassifier"),
        *("nets.mlp", "nets.hopfield"),
    ),
    "scellier2019": ("ImplicitDifferentiation", "RecurrentBackprop"),
    "scellier2023": ("Coupled", "BlockCoordinate", "FanInUniform"),
    "laborieux2021": ("Centered", "Readout"),
    "laborieux2022": ("Holomorphic",),
    "stern2021": ("Coupled",),
    "movellan1991": ("Clamped",),
    "xie2003": ("Clamped",),
    "xie2000": ("RateSTDP",),
    "bengio2015": ("MembraneSTDP",),
    "ernoult2019": ("FixedPoint", "diagnostics.descending_updates"),
    "ernoult2020": ("ContinualEP",),
    "almeida1987": ("RecurrentBackprop",),
    "pineda1987": ("RecurrentBackprop",),
    "werbos1990": ("BackpropThroughTime",),
    "saad1986": ("GMRES",),
    "hestenes1952": ("ConjugateGradient",),
    "young1954": ("BlockCoordinate", "estimate_relaxation"),
    "gilbert1992": ("ConjugateSweeps",),
    "polak1969": ("ConjugateSweeps",),
    "nesterov1983": ("Nesterov",),
    "odonoghue2015": ("Nesterov",),
    "kidger2021": ("LeakyIntegrator",),
    "rader2024": ("Optimistix",),
    "geman1984": ("Gibbs",),
    "roberts1996": ("MetropolisLangevin",),
    "oconnor2019": (*("Initialized", "InitializedEP", "nets.initialized_mlp"),),
    "nest2024": ("AbstractEstimator.equilibrium",),
    "kingma2015": ("Adam",),
    "loshchilov2017": ("Cosine",),
    "glorot2010": ("GlorotUniform",),
    "alpaydin1998": ("data.digits",),
    "lecun1998": ("data.mnist",),
    "xiao2017": ("data.fashion_mnist",),
    "clanuwat2018": ("data.kmnist",),
}


def test_every_paper_is_cited_where_it_is_used_and_nowhere_else():
    assert PAPERS.keys() == bibliography().keys() - {"eqprop"}
    found: dict[str, set] = {key: set() for key in PAPERS}
    for thing in {*public(), ep.AbstractEstimator.equilibrium}:
        for key in cited(thing):
            found[key].add(thing)
    for key, names in PAPERS.items():
        assert found[key] == {operator.attrgetter(name)(ep) for name in names}, key


def parsed(text: str) -> dict[str, dict[str, str]]:
    """BibTeX read by its grammar, character by character: fields by entry."""
    found: dict[str, dict[str, str]] = {}
    at = 0

    def value() -> str:
        nonlocal at
        assert text[at] == "{"
        start, depth = at + 1, 0
        while True:
            depth += (text[at] == "{") - (text[at] == "}")
            at += 1
            if depth == 0:
                return text[start : at - 1]

    def match(pattern: str) -> str:
        nonlocal at
        hit = re.compile(pattern).match(text, at)
        assert hit, text[at : at + 60]
        at = hit.end()
        return hit[1]

    while at < len(text):
        match(r"\s*@(article|book|incollection|inproceedings|misc|phdthesis|software)")
        fields = found[match(r"\{([\w:-]+),")] = {}
        while not re.compile(r"\s*\}").match(text, at):
            name = match(r"\s*([a-z]+)\s*=\s*")
            assert name not in fields
            fields[name] = value()
            match(r"(,?)")
        match(r"\s*(\})\s*")
    return found


NEEDED = {
    "article": {"journal", "volume", "year"},
    "inproceedings": {"booktitle", "year"},
    "incollection": {"booktitle", "publisher", "year"},
    "phdthesis": {"school", "year"},
    "misc": {"year"},
    "software": {"version"},
}


def test_entries_have_the_fields_of_their_kind():
    for key, entry in bibliography().items():
        kind = re.match(r"@(\w+)", entry)
        assert kind
        ((name, fields),) = parsed(entry).items()
        assert name == key
        assert NEEDED[kind[1]] | {"author", "title"} <= fields.keys(), key
        # A number without its archive would be read as anything.
        assert ("eprint" in fields) == (fields.get("archiveprefix") == "arXiv"), key
        if "eprint" in fields:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", fields["eprint"]), key


def test_eqprop_is_cited_as_it_asks_to_be():
    fields = parsed(ep.citation())["eqprop"]
    asked = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    assert fields["version"] == ep.__version__
    assert f"version: {ep.__version__}\n" in asked
    assert f"name: {fields['author'].strip('{}')}\n" in asked
    # The paper under its references is the one that the library's entry goes with.
    doi = parsed(ep.citation(ep.OneSided(0.1)))["scellier2017"]["doi"]
    assert f"doi: {doi}\n" in asked


def test_others_are_cited_by_the_bibtex_that_they_hold():
    diffrax = pytest.importorskip("diffrax")
    entries = parsed(ep.citation(ep.LeakyIntegrator(solver=diffrax.Tsit5())))
    assert entries["tsitouras2011runge"]["author"] == "Tsitouras, Ch"

    def energy(params, state, x):
        """Somebody's energy.

        ??? cite "Nobody 2020"

            ```bibtex
            @misc{nobody2020,
              title = {Of {Nothing}},
            }
            ```
        """
        return 0.5 * params * jnp.sum(state**2)

    mine = ep.FunctionEnergy(energy, 1.0, init=lambda x: x, output=lambda s: s)
    model = ep.Model(mine, ep.SquaredError())
    assert list(parsed(ep.citation(model))) == ["eqprop", "nobody2020", "scellier2017"]
    assert parsed(ep.citation(model))["nobody2020"] == {"title": "Of {Nothing}"}


def test_a_run_of_ones_own_energy_cites_its_method(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    method = ep.EquilibriumProp(ep.Holomorphic(0.1), ep.FixedPoint(max_steps=5))
    model = ep.Model(
        ep.nets.mlp([5, 4, 3], key=jax.random.key(0), unit=ep.Sigmoid()),
        ep.SquaredError(),
    )
    out = tmp_path / "mine"
    ep.fit(model, splits(), method, ep.SGD(0.1), epochs=1, batch_size=8, out=out)
    assert main(["cite", str(out)]) == 0
    captured = capsys.readouterr()
    keys = ["eqprop", "scellier2017", "laborieux2022", "ernoult2019"]
    assert list(parsed(captured.out)) == keys
    assert "doesn't name the run's energy, data" in " ".join(captured.err.split())


def test_a_run_cites_its_initial_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    argv = ["train", "digits", "--epochs", "1", "--energy.sizes", "[64, 8, 10]"]
    argv += ["--energy.init.type", "GlorotUniform"]
    with jax.enable_x64(False):
        assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert main(["cite", str(tmp_path / "run")]) == 0
    assert "glorot2010" in parsed(capsys.readouterr().out)


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
    common = {"eqprop", "scellier2017", "scellier2023", "young1954", "kingma2015"}
    common |= {"loshchilov2017", "alpaydin1998"}
    assert set(keys) == common | {"laborieux2021"}
    assert set(other) == common | {"stern2021"}
    assert len(keys) == len(set(keys))


def test_what_is_no_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["cite", str(tmp_path / "nowhere")]) == 2
    assert "There is no run" in capsys.readouterr().err
