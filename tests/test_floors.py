"""Imports go down the floors; the same checks are fed trees that are known to break."""

from collections.abc import Callable
from pathlib import Path

import pytest

from floors import cycles, forbidden, kernel, read_tree, Tree, upward


PACKAGE = Path(__file__).resolve().parent.parent / "eqprop"

Check = Callable[[Tree], list[str]]


def plant(folder: Path, files: dict[str, str]) -> Tree:
    root = folder / "eqprop"
    for name, text in {"__init__.py": "", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        for parent in path.relative_to(root).parents:
            (root / parent / "__init__.py").touch()
    return read_tree(root)


@pytest.mark.parametrize("check", [upward, cycles, forbidden, kernel])
def test_the_house_stands(check: Check):
    tree = read_tree(PACKAGE)
    assert tree.sources, "no source was read, so nothing was checked"
    assert check(tree) == []


UPWARD = {
    "plain": {"energies/_a.py": "import eqprop.training\n", "training/_b.py": ""},
    "relative": {"energies/_a.py": "from ..learning import f\n", "learning/_b.py": ""},
    "module": {"data/_a.py": "from ..training._b import f\n", "training/_b.py": ""},
    "named": {"learning/_a.py": "from .. import data\n", "data/_b.py": ""},
    "same level of the design, wrong order": {
        "data/_a.py": "from ..diagnostics._b import f\n",
        "diagnostics/_b.py": "",
    },
    "nothing may import apps": {
        "training/_a.py": "from ..apps.cli import main\n",
        "apps/cli.py": "",
    },
    "in a function": {
        "energies/_a.py": "def f():\n    from ..relaxation import relax\n",
        "relaxation/_b.py": "",
    },
    "in a method": {
        "energies/_a.py": "class A:\n    def f(self):\n        import eqprop.data\n",
        "data/_b.py": "",
    },
    "under TYPE_CHECKING": {
        "relaxation/_a.py": (
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from ..learning._b import B\n"
        ),
        "learning/_b.py": "",
    },
    "by import_module": {
        "energies/_a.py": (
            "import importlib\nf = importlib.import_module('eqprop.apps')\n"
        ),
        "apps/_b.py": "",
    },
    "in a lazy stub": {
        "energies/__init__.pyi": "from ..apps import main as main\n",
        "apps/_b.py": "",
    },
    "through the lazy surface": {
        "__init__.pyi": "from .training._fit import fit as fit\n",
        "learning/_a.py": "from eqprop import fit\n",
        "training/_fit.py": "",
    },
    "through an attribute of the lazy surface": {
        "__init__.pyi": "from . import apps as apps\n",
        "training/_a.py": "import eqprop as ep\nmain = ep.apps.main\n",
        "apps/_b.py": "",
    },
    "the whole surface": {"energies/_a.py": "import eqprop as ep\n"},
    "from the root's helpers": {
        "_misc.py": "from .energies import Network\n",
        "energies/_b.py": "",
    },
    "a package on no floor": {
        "extras/_a.py": "from ..energies._b import f\n",
        "energies/_b.py": "",
    },
}


@pytest.mark.parametrize("case", UPWARD)
def test_an_upward_import_is_caught(case: str, tmp_path: Path):
    assert len(upward(plant(tmp_path, UPWARD[case]))) >= 1


CYCLES = {
    "two modules": {
        "energies/_a.py": "from ._b import f\n",
        "energies/_b.py": "from ._a import g\n",
    },
    "three modules, one import in a function": {
        "energies/_a.py": "from . import _b\n",
        "energies/_b.py": "from ._c import f\n",
        "energies/_c.py": "def f():\n    from ._a import g\n",
    },
    "hidden under TYPE_CHECKING": {
        "energies/_a.py": "from ._b import f\n",
        "energies/_b.py": (
            "import typing\nif typing.TYPE_CHECKING:\n    from ._a import g\n"
        ),
    },
    "with the own package": {
        "energies/__init__.py": "from ._a import f as f\n",
        "energies/_a.py": "from . import g\n",
    },
    "with a package on the way": {
        "energies/nets/__init__.py": "from ._mlp import mlp as mlp\n",
        "energies/nets/_mlp.py": "from .._network import Network\n",
        "energies/nets/_init.py": "",
        "energies/_network.py": "from .nets._init import uniform\n",
    },
}


@pytest.mark.parametrize("case", CYCLES)
def test_a_cycle_is_caught(case: str, tmp_path: Path):
    tree = plant(tmp_path, CYCLES[case])
    assert upward(tree) == [], "the case must break nothing but the rule it is about"
    assert len(cycles(tree)) == 1


FORBIDDEN = {
    "pickle": "import pickle\n",
    "one of its functions": "from pickle import loads\n",
    "in a function": "def f():\n    import cloudpickle\n",
    "equinox.internal": "import equinox.internal as eqxi\n",
    "from equinox": "from equinox import internal\n",
    "by attribute": "import equinox as eqx\nloop = eqx.internal.while_loop\n",
    "jax._src": "from jax._src.core import Tracer\n",
    "allow_pickle": "import numpy as np\nx = np.load('x', allow_pickle=True)\n",
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_a_forbidden_import_is_caught(case: str, tmp_path: Path):
    tree = plant(tmp_path, {"training/_a.py": FORBIDDEN[case]})
    assert len(forbidden(tree)) >= 1


KERNEL = {
    "another library": {"energies/_a.py": "import optax\n"},
    "files in learning": {"learning/_a.py": "from pathlib import Path\n"},
    "optimistix beside its adapter": {"relaxation/_a.py": "import optimistix\n"},
    "lineax outside the references": {"learning/_a.py": "import lineax\n"},
}


@pytest.mark.parametrize("case", KERNEL)
def test_a_foreign_import_in_the_kernel_is_caught(case: str, tmp_path: Path):
    assert len(kernel(plant(tmp_path, KERNEL[case]))) == 1


def test_a_sound_tree_passes(tmp_path: Path):
    files = {
        "__init__.pyi": "from . import energies as energies\n",
        "_misc.py": "import math\n",
        "energies/__init__.py": "from ._network import Network as Network\n",
        "energies/_network.py": "import jax\nfrom .._misc import f\n",
        "relaxation/__init__.py": "from ._relax import relax as relax\n",
        "relaxation/_relax.py": "from ..energies import Network\n",
        "relaxation/_optimistix.py": "import optimistix\nfrom ._relax import relax\n",
        "learning/references/_implicit.py": "import lineax\n",
        "training/_rundir.py": "import os\nfrom eqprop import __version__\n",
        "training/_config.py": "import eqprop\nnames = dir(eqprop)\n",
        "apps/cli.py": "import eqprop as ep\nnetwork = ep.energies.Network\n",
    }
    tree = plant(tmp_path, files)
    assert [*upward(tree), *cycles(tree), *forbidden(tree), *kernel(tree)] == []


def test_eager_and_late_imports_are_told_apart(tmp_path: Path):
    text = "import jax\nif True:\n    import numpy\ndef f():\n    import optax\n"
    tree = plant(tmp_path, {"training/_a.py": text})
    assert {i.target: i.eager for i in tree.imports} == {
        "jax": True,
        "numpy": True,
        "optax": False,
    }
