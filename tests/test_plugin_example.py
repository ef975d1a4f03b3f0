"""The example of a package that extends lstmgen: installed, listed, built with, and tested by its own tests.

Installed here means what an installer leaves behind: the modules, and metadata beside them. The project's CI has pip
install it for real.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lstmgen import api, testing

EXAMPLE = Path(__file__).resolve().parent / "plugin_example"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
Python = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the example as an installer would have left it."""
    folder = tmp_path_factory.mktemp("installed")
    shutil.copytree(
        EXAMPLE / "lstmgen_example", folder / "lstmgen_example", ignore=shutil.ignore_patterns("__pycache__")
    )
    info = folder / f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {PROJECT['name']}\nVersion: {PROJECT['version']}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    entries = [
        line
        for group, names in PROJECT["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join([*entries, ""]), encoding="utf-8")
    return folder


@pytest.fixture
def python(installed: Path, tmp_path: Path) -> Python:
    """`python` with these arguments, where the example is installed and in an empty folder; it must succeed."""
    path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended

    return call


def test_it_is_listed_beside_the_built_in_ones(python: Python) -> None:
    lines = python("-m", "lstmgen.cli", "list", "--verbose").stdout.splitlines()
    for group, name in (("cells", "tide"), ("backends", "loops"), ("notations", "tidal"), ("formats", "rst")):
        (line,) = [line.split() for line in lines if line.split()[0] == name]
        assert line == [name, PROJECT["name"], PROJECT["entry-points"][f"lstmgen.{group}"][name]]
    assert not [line for line in lines if "BROKEN" in line or "CONFLICT" in line]


def test_its_cell_is_built_and_proven_with_both_back_ends(python: Python, tmp_path: Path) -> None:
    told = python("-m", "lstmgen.cli", "build", "tide", "--backend", "numpy", "--backend", "loops").stdout
    for backend in ("numpy", "loops"):
        assert f"tide for {backend}: proven at level device" in told
    assert sorted(each.name for each in tmp_path.glob("generated/*")) == ["tide_loops.py", "tide_numpy.py"]
    checked = python("-m", "lstmgen.cli", "build", "--check").stdout
    assert checked.count("is current") == 2


def test_both_back_ends_compute_the_same(python: Python) -> None:
    code = """
import numpy as np, lstmgen
results = []
for backend in ("numpy", "loops"):
    tide = lstmgen.load("tide", backend, leak=0.3)
    p = tide.Parameters.initialize(features=3, hidden=4, dtype=np.float64, seed=0)
    x = np.random.default_rng(0).standard_normal((5, 2, 3))
    outputs, final, residuals = tide.forward(p, x)
    results.append([outputs, *final, tide.backward(p, residuals, outputs).parameters.flat])
for one, other in zip(*results, strict=True):
    np.testing.assert_allclose(one, other, 1e-12, 1e-12)
print(len(results[0]))
"""
    assert python("-c", code).stdout == "4\n"


def test_what_its_back_end_writes_shows_every_loop_under_its_equation(python: Python) -> None:
    source = python("-m", "lstmgen.cli", "show", "tide", "--backend", "loops").stdout
    assert (
        "        # m = 0.9 * m_prev + 0.1 * h  (slow average)\n"
        "        for _a in range(_n_hidden):\n"
        "            for _z in range(_batch):\n"
        "                m[_t + 1, _a, _z] = (0.9 * m[_t, _a, _z]) + (0.1 * h[_t + 1, _a, _z])\n"
    ) in source
    kernels = python("-m", "lstmgen.cli", "show", "tide", "--backend", "loops", "--stage", "kernel").stdout
    assert [line for line in kernels.splitlines() if line.startswith("kernel ")] == [
        "kernel forward",
        "kernel backward",
        "kernel rebuild",
    ]


def test_its_derivation_is_printed_in_its_notation_and_its_format(python: Python) -> None:
    printed = python("-m", "lstmgen.cli", "derive", "tide", "--notation", "tidal", "--format", "rst").stdout
    assert ".. math::\n\n   v_t = \\sigma(a_{v,t})\n" in printed
    assert r"\bar v_t" in printed and r"\mu_{t - 1}" in printed and "valve" in printed


def test_the_page_on_plugins_quotes_its_notation_and_its_format() -> None:
    page = (EXAMPLE.parent.parent / "docs/plugins.md").read_text(encoding="utf-8")
    for name in ("tidal", "rst"):
        _, code = (EXAMPLE / f"lstmgen_example/{name}.py").read_text(encoding="utf-8").split("\n\n", 1)
        assert f"```python\n{code}```" in page


def test_its_own_tests_pass(python: Python, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "conftest.py"):
        shutil.copy(EXAMPLE / name, tmp_path)
    told = python("-m", "pytest", "-q", "-p", "no:cacheprovider").stdout
    assert "passed" in told
    assert "skipped" not in told


# -- what it stands on -------------------------------------------------------------------------------------------------

PERMITTED = {"lstmgen_example": {"lstmgen"}, "tests": {"lstmgen", "lstmgen_example", "numpy", "pytest"}, ".": set()}
SURFACE = {"lstmgen_example": {"lstmgen.api"}, "tests": {"lstmgen.testing"}, ".": set()}


@pytest.mark.parametrize("file", sorted(EXAMPLE.rglob("*.py")), ids=lambda file: file.name)
def test_it_imports_the_stable_surface_alone(file: Path) -> None:
    part = file.relative_to(EXAMPLE).parent.as_posix()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = ["." * node.level + (node.module or "")]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            assert top in sys.stdlib_module_names or top in PERMITTED[part], f"line {node.lineno}: {module}"
            assert top != "lstmgen" or module in SURFACE[part], f"line {node.lineno}: {module}"


@pytest.mark.parametrize("module", [api, testing], ids=lambda module: module.__name__)
def test_what_a_surface_imports_late_is_what_it_tells_type_checkers(module: ModuleType) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    told = {alias.name: node.module for node in block.body for alias in node.names}  # type: ignore[attr-defined]
    (late,) = [each for name, each in vars(module).items() if name in ("_LATER", "_HOMES")]
    found = {name: home if "." in home else f"{module.__name__}.{home}" for home in late for name in late[home]}
    assert found == told
    assert set(told) <= set(module.__all__)


def test_it_is_short_enough_to_be_copied_from() -> None:
    assert len((EXAMPLE / "lstmgen_example/loops.py").read_text(encoding="utf-8").splitlines()) < 400
