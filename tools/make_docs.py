"""Builds the documentation site: `python tools/make_docs.py`, or `make docs`.

Copies `docs/` to `build/docs`, adds the tutorials and the viewer where there are such,
and has Zensical build `build/site`, strictly: a warning, such as a link that leads
nowhere, is an error.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml


REPOSITORY = Path(__file__).resolve().parent.parent

# A page says with this line where the exported viewer goes.
VIEWER_MARK = "<!-- viewer -->"
VIEWER = """\
<iframe src="viewer.html" title="A network relaxing" class="viewer"></iframe>

[On a page of its own](viewer.html)
"""


def assemble(pages: Path, *, tutorials: bool) -> list[dict[str, str]]:
    """Puts the sources of the site together; returns the tutorials for its `nav`."""
    if pages.exists():
        shutil.rmtree(pages)
    shutil.copytree(REPOSITORY / "docs", pages)
    if (pages / "viewer.html").exists():
        for page in pages.glob("*.md"):
            text = page.read_text("utf-8")
            page.write_text(text.replace(VIEWER_MARK, VIEWER), "utf-8")
    rendered = pages / "tutorials"
    # The scripts are sources of the pages, no part of the site.
    shutil.rmtree(rendered, ignore_errors=True)
    script = REPOSITORY / "tools" / "tutorials.py"
    if not tutorials or not script.exists():
        return []
    rendered.mkdir()
    subprocess.run([sys.executable, script, rendered], check=True, cwd=REPOSITORY)
    return [{title(page): f"tutorials/{page.name}"} for page in _by_name(rendered)]


def _by_name(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.md"))


def title(page: Path) -> str:
    """The first heading of a page."""
    for line in page.read_text("utf-8").splitlines():
        if line.startswith("# "):
            return line[2:].strip()
    raise ValueError(f"{page} has no heading. Begin it with `# Title`.")


def configuration(tutorials: list[dict[str, str]]) -> dict[str, object]:
    """`mkdocs.yml` as it is to stand in the folder where the site is built."""
    config = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text("utf-8"))
    config |= {"docs_dir": "docs", "site_dir": "site"}
    if tutorials:
        names = [next(iter(section)) for section in config["nav"]]
        config["nav"].insert(names.index("Use"), {"Tutorials": tutorials})
    python = config["plugins"][1]["mkdocstrings"]["handlers"]["python"]
    python["paths"] = [str(REPOSITORY)]
    extensions = python["options"]["extensions"]
    python["options"]["extensions"] = [str(REPOSITORY / path) for path in extensions]
    return config


def make(build: Path, *, tutorials: bool = True) -> Path:
    """Builds the site below the folder `build`; returns where it is."""
    pages = build / "docs"
    found = assemble(pages, tutorials=tutorials)
    config = build / "mkdocs.yml"
    text = yaml.safe_dump(configuration(found), sort_keys=False)
    config.write_text(text, "utf-8")
    shutil.rmtree(build / "site", ignore_errors=True)
    # Python-Markdown imports the extension of `tools/` by its name.
    search = [str(REPOSITORY / "tools"), os.environ.get("PYTHONPATH", "")]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "zensical",
            "build",
            "--clean",
            "--strict",
            "-f",
            config,
        ],
        check=True,
        cwd=build,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, search))},
    )
    return build / "site"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "build", nargs="?", type=Path, default=REPOSITORY / "build", help="where to"
    )
    parser.add_argument(
        "--no-tutorials", action="store_true", help="leave out the tutorials, which run"
    )
    chosen = parser.parse_args()
    build = chosen.build.resolve()
    build.mkdir(parents=True, exist_ok=True)
    try:
        site = make(build, tutorials=not chosen.no_tutorials)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    print(f"{site / 'index.html'}")


if __name__ == "__main__":
    main()
