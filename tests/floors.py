"""Reads a package's imports with `ast` and says which of them break the house's order.

Every import counts: at the top of a file, inside a function, under `TYPE_CHECKING`, in
a lazy stub, or through the package's own lazy surface (`ep.fit`).
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


FLOORS = (
    "energies",
    "relaxation",
    "learning",
    "data",
    "diagnostics",
    "training",
    "apps",
)
KERNEL = FLOORS[:3]
KERNEL_PACKAGES = {"jax", "equinox", "jaxtyping", "numpy"}
# The only kernel modules that may know another library, and which.
ADAPTERS = {
    "relaxation._diffrax": {"diffrax"},
    "relaxation._optimistix": {"optimistix"},
    "learning.references": {"lineax"},
}
FILE_MODULES = {
    *("csv", "gzip", "io", "json", "os", "pathlib", "shutil", "sqlite3"),
    *("tempfile", "tomllib", "zipfile"),
}
# No pickle, ever; and no names their owners promise nothing about.
FORBIDDEN = (
    *("pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"),
    *("equinox.internal", "jax._src"),
)


@dataclass(frozen=True)
class Import:
    """One module naming another; `eager` if importing the first runs the import."""

    importer: str
    target: str
    line: int
    eager: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


@dataclass
class Tree:
    """A package: its sources by dotted name, and every import in them."""

    name: str
    sources: dict[str, ast.Module] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)
    surface: dict[str, str] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)

    def inside(self, target: str) -> bool:
        return target == self.name or target.startswith(f"{self.name}.")

    def resolve(self, target: str) -> str:
        """The module that holds a dotted name; the name itself if it is foreign."""
        if not self.inside(target):
            return target
        while target not in self.sources and target.count(".") > 1:
            target = target.rpartition(".")[0]
        if target in self.sources:
            return target
        return self.surface.get(target.partition(".")[2], target)

    def floor(self, module: str) -> str:
        """The floor a module is on; "" for the root's own helpers."""
        if module in (self.name, f"{self.name}.__version__"):
            return ""
        first = module.split(".")[1]
        if first in FLOORS:
            return first
        if first == "__main__":
            return "apps"
        return "" if f"{self.name}.{first}" not in self.packages else first


def read_tree(root: Path) -> Tree:
    """The package in the folder `root`."""
    tree = Tree(root.name)
    for path in sorted(root.rglob("*.py")):
        parts = [root.name, *path.relative_to(root).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
            tree.packages.add(".".join(parts))
        tree.sources[".".join(parts)] = ast.parse(path.read_text("utf-8"), str(path))
    stub = root / "__init__.pyi"
    if stub.exists():
        tree.surface = dict(_stub_names(tree, root.name, stub))
    for module, source in tree.sources.items():
        tree.imports += _imports(tree, module, source, eager=True)
    for stub in sorted(root.rglob("*/__init__.pyi")):
        module = ".".join([root.name, *stub.parent.relative_to(root).parts])
        parsed = ast.parse(stub.read_text("utf-8"), str(stub))
        tree.imports += _imports(tree, module, parsed, eager=False)
    return tree


def _stub_names(tree: Tree, package: str, stub: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(stub.read_text("utf-8"), str(stub))):
        if isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.module else package
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found = inner if inner in tree.sources else base
                yield alias.asname or alias.name, found


def _imports(
    tree: Tree, module: str, source: ast.Module, *, eager: bool
) -> Iterator[Import]:
    aliases: dict[str, str] = {}
    for node in ast.walk(source):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                aliases[alias.asname or top] = alias.name if alias.asname else top
    late = _late_nodes(source)
    for node in ast.walk(source):
        now = eager and id(node) not in late
        for target in _targets(tree, module, node, aliases):
            yield Import(module, tree.resolve(target), node.lineno, now)


def _late_nodes(source: ast.Module) -> set[int]:
    """The nodes that do not run on import: function bodies and `TYPE_CHECKING`."""
    late: set[int] = set()
    for node in ast.walk(source):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            body = node.body if isinstance(node.body, list) else [node.body]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            body = node.body
        else:
            continue
        late.update(id(inner) for part in body for inner in ast.walk(part))
    return late


def _targets(
    tree: Tree, module: str, node: ast.AST, aliases: dict[str, str]
) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parts = module.split(".")
            kept = len(parts) - node.level + (module in tree.packages)
            base = ".".join([*parts[:kept], *filter(None, [node.module])])
        yield from (base if a.name == "*" else f"{base}.{a.name}" for a in node.names)
    elif isinstance(node, ast.Attribute):
        dotted = ast.unparse(node)
        top, _, rest = dotted.partition(".")
        if top in aliases and rest.replace(".", "").isidentifier():
            yield f"{aliases[top]}.{rest}"
    elif isinstance(node, ast.Call) and node.args:
        called = ast.unparse(node.func).rpartition(".")[2]
        first = node.args[0]
        if called in ("import_module", "__import__") and isinstance(
            first, ast.Constant
        ):
            yield str(first.value)


def upward(tree: Tree) -> list[str]:
    """Imports that go up a floor, or hide where they go."""
    faults = []
    for item in tree.imports:
        if not tree.inside(item.target):
            continue
        here, there = tree.floor(item.importer), tree.floor(item.target)
        for floor in (here, there):
            if floor and floor not in FLOORS:
                faults.append(f"{item}: `{floor}` is no floor of the house")
        rank = {"": -1} | {floor: k for k, floor in enumerate(FLOORS)}
        if rank.get(there, 0) > rank.get(here, 0):
            faults.append(f"{item}: up from {here or 'the root'} to {there}")
        # Above training there is nothing the whole surface could hide.
        if item.target == tree.name and rank.get(here, 0) < rank["training"]:
            faults.append(f"{item}: the lazy surface hides which floor is meant")
    return faults


def edges(tree: Tree) -> dict[str, set[str]]:
    """Module -> the modules it names, with the packages Python imports on the way."""
    graph: dict[str, set[str]] = {module: set() for module in tree.sources}
    for item in tree.imports:
        if item.target not in tree.sources or item.target == tree.name:
            continue
        parts = item.target.split(".")
        for k in range(2, len(parts)):
            package = ".".join(parts[:k])
            if not f"{item.importer}.".startswith(f"{package}."):
                graph[item.importer].add(package)
        graph[item.importer].add(item.target)
    return {module: targets - {module} for module, targets in graph.items()}


def cycles(tree: Tree) -> list[str]:
    """A cycle between modules, if there is one."""
    try:
        TopologicalSorter(edges(tree)).prepare()
    except CycleError as error:
        # graphlib lists it from the imported to the importer.
        return [" -> ".join(reversed(error.args[1]))]
    return []


def forbidden(tree: Tree) -> list[str]:
    """Uses of pickle in any form, and of other libraries' private parts."""
    faults = [
        str(item)
        for item in tree.imports
        if any(f"{item.target}.".startswith(f"{name}.") for name in FORBIDDEN)
    ]
    for module, source in tree.sources.items():
        for node in ast.walk(source):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                if ast.unparse(node.value) != "False":
                    faults.append(f"{module}:{node.lineno} allows pickle")
    return faults


def kernel(tree: Tree) -> list[str]:
    """What floors 1-3 import beyond arrays and modules: other libraries, files."""
    allowed = (sys.stdlib_module_names - FILE_MODULES) | KERNEL_PACKAGES
    faults = []
    for item in tree.imports:
        top = item.target.partition(".")[0]
        local = item.importer.partition(".")[2]
        if tree.inside(item.target) or tree.floor(item.importer) not in KERNEL:
            continue
        known = {
            name
            for adapter, names in ADAPTERS.items()
            if f"{local}.".startswith(f"{adapter}.")
            for name in names
        }
        if top not in allowed | known:
            faults.append(f"{item}: a kernel floor knows no {top}")
    return faults
