"""Plugins: cells, back ends, notations and formats of other packages, found as the built-in ones are.

The packages are real ones: modules beside a `.dist-info` folder on the path, all that `importlib.metadata` asks for.
"""

from __future__ import annotations

import ast
import importlib
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lstmgen import plugins
from lstmgen.backends.base import Backend
from lstmgen.declare.cell import Cell
from lstmgen.derivation.format import Format
from lstmgen.derivation.notation import Letter, Notation, Weight
from lstmgen.errors import PluginError

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., Result]
Package = Callable[..., Path]

CELL = """
from lstmgen.api import cell, tanh

@cell("{0}")
def {0}(eq):
    h = eq.next("h", tanh(eq.affine("h", W=eq.input("x"), U=eq.state("h"))))
    eq.output(h)
"""
BACKEND = """
from lstmgen.backends.numpy import NumpyBackend

class Theirs(NumpyBackend):
    name = "theirs"

backend = Theirs()
"""

# -- another package's plugins ----------------------------------------------------------------------------------------


def test_a_cell_of_another_package_is_built_and_checked_by_name(run: Run, package: Package, folder: Path) -> None:
    package(
        "their_cells",
        "[lstmgen.cells]\ntheir_cell = their_cell_module:their_cell\n",
        their_cell_module=CELL.format("their_cell"),
    )
    assert "their_cell" in run("list", "cells").output
    assert run("build", "their_cell").exit_code == 0
    assert "    lstmgen build their_cell\n" in (folder / "generated/their_cell_numpy.py").read_text(encoding="utf-8")
    assert run("build", "--check").exit_code == 0


def test_a_back_end_of_another_package_builds_and_is_named_in_file_and_header(
    run: Run, package: Package, folder: Path
) -> None:
    package(
        "their_backend", "[lstmgen.backends]\ntheirs = their_backend_module:backend\n", their_backend_module=BACKEND
    )
    assert run("build", "lstm", "--backend", "theirs", "--backend", "numpy").exit_code == 0
    assert sorted(each.name for each in folder.glob("generated/*")) == ["lstm_numpy.py", "lstm_theirs.py"]
    header = (folder / "generated/lstm_theirs.py").read_text(encoding="utf-8")
    assert "    lstmgen build lstm --backend theirs\n" in header
    assert run("build", "--check").exit_code == 0


def test_formats_and_notations_of_another_package_are_used(run: Run, package: Package) -> None:
    package(
        "their_print",
        "[lstmgen.formats]\nnames = their_print_module:names\n[lstmgen.notations]\nplain = their_print_module:plain\n",
        their_print_module="from lstmgen.api import Format, Letter, Notation, document\n"
        "Equation = document.Equation\n"
        "plain = Notation('plain', 'a letter of its own', letters={'forget gate': Letter('phi')})\n"
        "def render(document, fragment):\n"
        "    (equations,) = (each for each in document.sections if each.name == 'equations')\n"
        "    return ' '.join(each.formula.sides[0].base for each in equations.blocks if isinstance(each, Equation))\n"
        "names = Format(render)",
    )
    result = run("derive", "lstm", "--format", "names", "--notation", "plain")
    assert result.output.split() == ["a", "phi", "a", "i", "a", "g", "c", "a", "o", "h"]


# -- listing ----------------------------------------------------------------------------------------------------------


def test_listing_imports_nothing_and_is_sorted(run: Run, package: Package) -> None:
    package(
        "unsorted",
        "[lstmgen.cells]\nzebra = never_imported:z\nanteater = never_imported:a\n",
        never_imported="raise AssertionError('imported')",
    )
    names = [plugin.name for plugin in plugins.available("cells")]
    assert names == sorted(names)
    assert {"anteater", "zebra"} < set(names)
    lines = run("list", "cells").output.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert lines[0].split() == ["anteater", "unsorted"]
    assert "never_imported" not in sys.modules


def test_everything_is_listed_by_group(run: Run) -> None:
    lines = run("list").output.splitlines()
    assert [line[:-1] for line in lines if line.endswith(":")] == list(plugins.GROUPS)
    assert run("list", "-v").exit_code == 0


def test_a_package_whose_metadata_is_lost_is_listed_and_used(run: Run, package: Package) -> None:
    package(
        "nameless",
        "[lstmgen.cells]\nfound = nameless_module:found\n",
        metadata=False,
        nameless_module=CELL.format("found"),
    )
    assert "an unknown package" in run("list", "cells").output
    assert run("build", "found").exit_code == 0


# -- broken ones ------------------------------------------------------------------------------------------------------

BROKEN = {
    "imports what is missing": ("broken_1", "import no_such_module", "No module named 'no_such_module'"),
    "is not there": ("no_such_plugin", None, "No module named 'no_such_plugin'"),
    "lacks the object": ("broken_2", "", "has no attribute 'cell'"),
    "raises": ("broken_3", "1 / 0", "ZeroDivisionError"),
    "exits": ("broken_4", "raise SystemExit(0)", "SystemExit"),
    "has no syntax": ("broken_5", "def (", "SyntaxError"),
}


@pytest.mark.parametrize(("module", "source", "cause"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_plugin_is_shown_with_its_cause_and_harms_no_other(
    run: Run, package: Package, module: str, source: str | None, cause: str
) -> None:
    target = f"{module}:cell"
    package("breaker", f"[lstmgen.cells]\nbroken = {target}\n", **({} if source is None else {module: source}))
    assert "BROKEN" not in run("list", "cells").output  # nothing is known of a plugin that was not loaded
    listed = run("list", "-v", "cells")
    assert listed.exit_code == 0
    lines = {line.split()[0]: line for line in listed.output.splitlines()}
    assert "BROKEN" in lines["broken"]
    assert cause in lines["broken"]
    assert "BROKEN" not in lines["lstm"]
    refused = run("build", "broken")
    assert refused.exit_code == 2
    assert all(each in refused.output for each in ("LG203", cause, "breaker", target))
    assert "Traceback" not in refused.output
    assert run("build", "lstm").exit_code == 0


def test_a_cell_that_is_no_cell_is_refused(run: Run, package: Package) -> None:
    package("impostor", "[lstmgen.cells]\nimpostor = impostor_module:impostor\n", impostor_module="impostor = 3")
    result = run("build", "impostor")
    assert result.exit_code == 2
    assert "LG203" in result.output
    assert "no cell" in result.output


def test_a_format_of_a_part_that_there_is_not_is_broken() -> None:
    with pytest.raises(ValueError, match="there is no part 'pictures'"):
        Format(lambda made, fragment: "", only="pictures")


@pytest.mark.parametrize(("group", "option"), [("formats", "--format"), ("notations", "--notation")])
def test_a_format_or_notation_that_is_none_is_refused_and_listed_as_broken(
    run: Run, package: Package, group: str, option: str
) -> None:
    package("forger", f"[lstmgen.{group}]\nforged = forged_{group}:forged\n", **{f"forged_{group}": "forged = print"})
    result = run("derive", "rnn", option, "forged")
    assert result.exit_code == 2
    assert "LG203" in result.output and "builtin_function_or_method, not lstmgen.api." in result.output
    (line,) = [each for each in run("list", "-v", group).output.splitlines() if each.startswith("forged")]
    assert "BROKEN" in line


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["contested", "lstm"])
def test_two_packages_that_claim_one_name_are_both_named(run: Run, package: Package, name: str) -> None:
    others = ["thief"] if name == "lstm" else ["thief", "owner"]
    for index, other in enumerate(others):
        package(other, f"[lstmgen.cells]\n{name} = {name}_claimed_{index}:cell\n")
    both = sorted([*others, *(["lstmgen"] if name == "lstm" else [])])
    with pytest.raises(PluginError) as caught:
        plugins.load("cells", name)
    assert caught.value.code == "LG202"
    assert " and ".join(both) in str(caught.value)
    assert run("build", name).exit_code == 2
    listed = run("list", "-v", "cells")
    (line,) = [line for line in listed.output.splitlines() if line.split()[0] == name]
    assert ", ".join(both) in line
    assert "CONFLICT" in line
    assert plugins.load("backends", "numpy")  # other names are as they were


def test_one_package_seen_twice_is_no_conflict(package: Package) -> None:
    for _ in range(2):  # a checkout on the path, and its installed metadata
        package("twice", "[lstmgen.cells]\nonce = once_module:cell\n")
    (plugin,) = [each for each in plugins.available("cells") if each.name == "once"]
    assert plugin.packages == ("twice",)


@pytest.mark.parametrize("group", plugins.GROUPS)
def test_an_unknown_name_is_told_the_nearest_or_all(group: str) -> None:
    known = plugins.available(group)[0].name
    with pytest.raises(PluginError, match=f"did you mean '{known}'"):
        plugins.load(group, f"{known}x")
    with pytest.raises(PluginError, match=f"there are: .*{known}"):
        plugins.load(group, "?")


# -- the built-in ones ------------------------------------------------------------------------------------------------


def declared() -> dict[str, dict[str, str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {group.removeprefix("lstmgen."): found for group, found in project["entry-points"].items()}


def test_installed_entry_points_are_those_of_pyproject() -> None:
    installed = {
        group: {
            entry.name: entry.value
            for entry in entry_points(group=f"lstmgen.{group}")
            if entry.dist is not None and entry.dist.name == "lstmgen"
        }
        for group in plugins.GROUPS
    }
    assert installed == declared(), "entry points freeze at install; again: python -m pip install -e ."


def test_every_built_in_cell_and_back_end_is_registered_as_a_third_partys_is() -> None:
    cells = {path.stem for path in (ROOT / "lstmgen/cells").glob("*.py")} - {"__init__"}
    backends = {path.parent.name for path in (ROOT / "lstmgen/backends").glob("*/__init__.py")}
    assert {target.partition(":")[0] for target in declared()["cells"].values()} == {
        f"lstmgen.cells.{c}" for c in cells
    }
    assert {target.partition(":")[0] for target in declared()["backends"].values()} == {
        f"lstmgen.backends.{backend}" for backend in backends
    }
    for name in declared()["cells"]:
        cell = plugins.load("cells", name)
        assert isinstance(cell, Cell)
        assert cell.name == name
    for name in declared()["backends"]:
        backend: Backend = plugins.load("backends", name)
        assert backend.name == backend.target.name == name


def test_a_built_in_cell_imports_the_stable_surface_alone() -> None:
    for path in (ROOT / "lstmgen/cells").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        assert not [node for node in nodes if isinstance(node, ast.Import)]
        assert {node.module for node in nodes if isinstance(node, ast.ImportFrom)} <= {
            "lstmgen.api",
            "typing",
            "mpmath",
        }


def test_every_registered_object_loads() -> None:
    for group in plugins.GROUPS:
        for plugin in plugins.available(group):
            assert plugins.broken(plugin) == ""
            module, _, name = plugin.target.partition(":")
            assert plugins.load(group, plugin.name) is getattr(importlib.import_module(module), name)


def test_what_goes_wrong_in_a_format_of_another_package_is_told_as_that(run: Run, package: Package) -> None:
    package(
        "their_faults",
        "[lstmgen.formats]\n"
        + "".join(f"{name} = their_faults_module:{name}\n" for name in ("fails", "empty", "ends", "odd", "built_in")),
        their_faults_module="from lstmgen.api import Format\n"
        "def render(document, fragment):\n"
        "    return document.no_such_thing\n"
        "def nothing(document, fragment):\n"
        "    pass\n"
        "def end(document, fragment):\n"
        "    raise SystemExit\n"
        "fails, empty, ends = Format(render), Format(nothing), Format(end)\n"
        "odd, built_in = Format(lambda document, fragment: '\\udcff'), Format(pow)",
    )
    for name, why in (
        ("fails", "AttributeError"),
        ("empty", "it gives a NoneType, no text"),
        ("ends", "SystemExit"),
        ("odd", "it gives what is no Unicode"),
        ("built_in", "TypeError"),
    ):
        result = run("derive", "rnn", "--format", name)
        assert result.exit_code == 2
        assert f"error LG203: the format '{name}' is broken: {why}" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        {"letters": {"input": "u"}},
        {"weights": {"bias": Letter("b")}},
        {"elementwise": "?"},
        {"time": "now"},
        {"words": {"gate": 7}},
        {"remarks": {"affine": 5}},
        {"stacked": (1,)},
        {"preactivation": None},
    ],
)
def test_a_notation_of_the_wrong_types_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="of the notation 'their' is"):
        Notation("their", "words", **arguments)


def test_letters_and_formats_of_the_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match="base of a letter is 3, no str"):
        Letter(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="operand of a weight is None"):
        Weight("W", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="which cannot be called"):
        Format("text")  # type: ignore[arg-type]
