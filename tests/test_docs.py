"""The documentation site: built strictly, complete, run, and alone with itself."""

import ast
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

import eqprop
from eqprop.relaxation import RESULTS
from eqprop.relaxation._equilibrium import _SEVERITY
from pages import blocks, commands, fault, fenced, refused, REPOSITORY, run_python
from scripts import tool


DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("*.md"))
WITH_PYTHON = [page for page in PAGES if fenced(page.read_text("utf-8"), "python")]
# What a reference holds beside the names of `import eqprop as ep`.
NAMESPACES = {
    "eqprop.data": "data/__init__.py",
    "eqprop.diagnostics": "diagnostics/__init__.py",
    "eqprop.training": "training/__init__.py",
    "eqprop.plots": "apps/plots/__init__.py",
    "eqprop.nets": "energies/nets/__init__.py",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # Tutorials have a test of their own: here they would run once more.
    return tool("make_docs").make(tmp_path_factory.mktemp("docs"), tutorials=False)


def test_the_site_builds_without_a_warning(site: Path):
    for page in PAGES:
        name = "" if page.stem == "index" else page.stem
        assert (site / name / "index.html").is_file(), page.name


def test_the_site_asks_no_other_host_for_anything(site: Path):
    loads = r"""<(?:script|link|img|iframe)[^>]+(?:src|href)=["']?(//|https?:)"""
    allowed = ('rel="canonical"', 'rel="next"', 'rel="prev"')
    for page in site.rglob("*.html"):
        text = page.read_text("utf-8")
        found = [m[0] for m in re.finditer(loads, text)]
        assert [m for m in found if not any(a in m for a in allowed)] == [], page
    for sheet in site.rglob("*.css"):
        loads = r"(?:url\(|@import )['\"]?(//|https?:)"
        assert not re.search(loads, sheet.read_text("utf-8")), sheet


def test_whatever_a_page_loads_or_leads_to_is_there(site: Path):
    """Frames too, whose addresses a strict build does not look at."""
    for page in site.rglob("index.html"):
        text = page.read_text("utf-8")
        found = re.findall(r"<[a-z]+[^>]+?(?:src|href)=[\"']?([^\"'\s>#?]+)", text)
        relative = {unquote(a) for a in found if not re.match(r"[a-z]+:|/", a)}
        gone = [a for a in relative if not (page.parent / a).exists()]
        assert gone == [], page


def test_the_recording_stands_on_the_page_of_the_idea(site: Path):
    text = (site / "idea" / "index.html").read_text("utf-8")
    (address,) = re.findall(r'<iframe src="([^"]+)"', text)
    recording = (site / "idea" / address).read_bytes()
    assert recording == (DOCS / "viewer.html").read_bytes()


def test_formulas_are_drawn_without_a_script(site: Path):
    text = (site / "idea" / "index.html").read_text("utf-8")
    assert text.count("<math") > 20
    assert "$$" not in text


def test_every_page_is_in_the_navigation():
    config = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))
    listed = set(leaves(config["nav"]))
    there = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    there = {page for page in there if not page.startswith("tutorials/")}
    assert listed == there


def leaves(tree) -> list[str]:
    if isinstance(tree, str):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in leaves(part)]


def test_every_public_name_is_in_the_reference():
    public = names("__init__.pyi", "eqprop") - {
        f"eqprop.{name}"
        for name in ("data", "diagnostics", "training", "plots", "nets")
    }
    for namespace, file in NAMESPACES.items():
        # What `import eqprop as ep` brings too stands there alone.
        own = names(file, namespace)
        top = {name.rpartition(".")[2] for name in public}
        public |= {name for name in own if name.rpartition(".")[2] not in top}
    known = set()
    for page in (DOCS / "reference").glob("*.md"):
        known |= set(re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.M))
    aliases = {"eqprop.training.list_presets", "eqprop.training.read_preset"}
    assert public - known - aliases == set()


def names(file: str, namespace: str) -> set[str]:
    text = (Path(eqprop.__file__).parent / file).read_text("utf-8")
    return {f"{namespace}.{name}" for name in re.findall(r"\w+ as (\w+)", text)}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: page.stem)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path):
    printed = run_python(page, tmp_path)
    if page.stem == "scikit-learn":
        assert float(printed.splitlines()[0]) >= 0.97


@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/own-energy.md"])
def test_the_first_pages_can_be_pasted_into_a_prompt(page: str):
    found = blocks((REPOSITORY / page).read_text("utf-8"))
    assert len(found) > 2
    assert [text for block in found for text in refused(*block)] == []


def test_the_commands_of_the_pages_exist():
    found = {
        tuple(words) for page in PAGES for words in commands(page.read_text("utf-8"))
    }
    assert len(found) > 20
    assert [f for f in map(fault, map(list, sorted(found))) if f is not None] == []


def test_messages_that_are_explained_are_those_that_come():
    """Every quoted message stands in the code, part by part between its ellipses."""
    said = messages()
    quotes = re.findall(
        r"```text\n(.*?)```", (DOCS / "faq.md").read_text("utf-8"), re.S
    )
    assert len(quotes) > 15
    for quote in map(one_line, quotes):
        for part in map(str.strip, quote.split("…")):
            assert any(part in text for text in said), quote


def test_every_failed_result_is_explained():
    text = one_line((DOCS / "faq.md").read_text("utf-8"))
    for result in _SEVERITY[1:]:
        message = RESULTS[result]
        assert re.split(r"[:.]", message)[0] in text, message


def messages() -> list[str]:
    """Every text in the code, with a mark where something is filled in."""
    found = []
    for file in Path(eqprop.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    v.value if isinstance(v, ast.Constant) else "\0"
                    for v in node.values
                ]
                found.append("".join(map(str, parts)))
    return [one_line(text) for text in found]


def one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
