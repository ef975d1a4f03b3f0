"""The command line: every command and option, by whose fault it fails, and what it leaves on disk.

Exit codes are 0, 1 where a check or a proof failed, 2 where the user made a mistake; 3 is a defect of lstmgen. Nobody
but the last is shown a traceback.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import Result

import lstmgen
from lstmgen import files, finding, pipeline
from lstmgen.cli import STAGES, main

ROOT = Path(__file__).resolve().parent.parent
Run = Callable[..., Result]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]
Package = Callable[..., Path]

MY_CELL = '''
from typing import Literal

from lstmgen.api import cell, relu, sigmoid, tanh


@cell("mine")
def mine(eq, *, gated=True, squash: Literal["tanh", "relu"] = "tanh", scale=1.0, power=1):
    """A cell with an option of every kind."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.affine("n", W=x, U=h_prev)
    n = eq.let("n", scale * (tanh(a) if squash == "tanh" else relu(a)) ** power)
    if gated:
        z = eq.let("z", sigmoid(eq.affine("z", W=x, U=h_prev)))
        n = z * h_prev + (1 - z) * n
    eq.output(eq.next("h", n))
'''

FIVE_MISTAKES = """
from lstmgen.api import cell, sigmoid, tanh

@cell("five")
def five(eq):
    x, h_prev = eq.input("x"), eq.state("h")
    unused = eq.input("unused")
    f = eq.let("d_f", sigmoid(eq.affine("f", W=x, U=h_prev)))
    i = eq.let("i", sigmoid(x))
    g = eq.let("i", tanh(eq.affine("g", W=x)))
    h = eq.next("k", h_prev)
    eq.output(3)
"""

FILES = {
    "my_cell.py": MY_CELL,
    "five.py": FIVE_MISTAKES,
    "two.py": MY_CELL + MY_CELL.replace("mine", "yours"),
    "none.py": "",
    "no_syntax.py": "x = 1\ndef (\n",
    "raises.py": "x = 1\n\nraise ValueError('not today')\n",
    "exits.py": "raise SystemExit(0)\n",
    "imports.py": "import no_such_module\n",
    "bytes.py": "x = '\udcff'\n",
    "bad_name.py": MY_CELL.replace('"mine"', '"1x"'),
    "bad_option.py": MY_CELL.replace("gated=True", "gated"),
    "no_sample.py": MY_CELL.replace("import cell", "import cell, log").replace("tanh(a)", "log(-1 - a**2)"),
    "at_a_kink.py": MY_CELL.replace('n = eq.let("n", ', 'n = eq.let("n", relu(0.01 * tanh(h_prev)) + '),
    "ambiguous.py": MY_CELL.replace(
        "    n = eq", "    a = a + x * eq.parameter('R', 'features', 'hidden').T @ x\n    n = eq"
    ),
    "cell.txt": MY_CELL,
    "taken": "a file where a folder is wanted",
    "generated/lstm_numpy.py": "# older\n",
}


@pytest.fixture
def desk(folder: Path) -> Path:
    """A folder with files to name in commands."""
    for name, text in FILES.items():
        place = folder / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(text, encoding="utf-8", errors="surrogateescape")
    return folder


def imported(place: Path) -> ModuleType:
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(f"imported_{place.stem}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too; what Python itself leaves there is not ours."""
    found = [each for each in folder.rglob("*") if each.is_file() and "__pycache__" not in each.parts]
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in found}


# -- what goes well ---------------------------------------------------------------------------------------------------


def test_build_proves_writes_and_says_so(run: Run, folder: Path) -> None:
    result = run("build", "lstm")
    assert result.exit_code == 0
    assert "proven at level device" in result.output
    assert "wrote generated/lstm_numpy.py" in result.output
    assert list(contents(folder)) == ["generated/lstm_numpy.py"]
    module = imported(folder / "generated/lstm_numpy.py")
    p = module.Parameters.initialize(features=2, hidden=3, seed=0)
    assert module.infer(p, np.zeros((4, 1, 2), np.float32))[0].shape == (4, 1, 3)


BUILT = {
    "a name": (["lstm"], ["generated/lstm_numpy.py"]),
    "several": (["lstm", "./my_cell.py"], ["generated/lstm_numpy.py", "generated/mine_numpy.py"]),
    "a back end": (["lstm", "--backend", "numpy"], ["generated/lstm_numpy.py"]),
    "a folder": (["lstm", "--out", "deep/er"], ["deep/er/lstm_numpy.py"]),
    "a module's name": (["lstm", "--name", "kernels"], ["generated/kernels.py"]),
    "a file": (["my_cell.py"], ["generated/mine_numpy.py"]),
    "a file by path": (["./my_cell.py"], ["generated/mine_numpy.py"]),
    "one of two": (["./two.py:yours"], ["generated/yours_numpy.py"]),
    "a proof required": (["lstm", "--require", "device"], ["generated/lstm_numpy.py"]),
    "a weaker proof required": (["lstm", "--require", "derivation"], ["generated/lstm_numpy.py"]),
    "a switch off": (["my_cell.py", "--set", "gated=false"], ["generated/mine__gated_false_numpy.py"]),
    "a switch as it was": (["my_cell.py", "--set", "gated=Yes"], ["generated/mine_numpy.py"]),
    "a choice": (["my_cell.py", "--set", "squash=relu"], ["generated/mine__squash_relu_numpy.py"]),
    "a number": (["my_cell.py", "--set", "scale=0.5"], ["generated/mine__scale_0_5_numpy.py"]),
    "several options": (
        ["my_cell.py", "--set", "power=3", "--set", "gated=no"],
        ["generated/mine__gated_false__power_3_numpy.py"],
    ),
}


@pytest.mark.parametrize(("arguments", "written"), BUILT.values(), ids=BUILT.keys())
def test_build_writes_one_module_for_each_cell_and_keeps_it_current(
    run: Run, desk: Path, arguments: list[str], written: list[str]
) -> None:
    before = contents(desk)
    built = run("build", *arguments)
    assert built.exit_code == 0, built.output
    changed = {name: data for name, data in contents(desk).items() if before.get(name) != data}
    assert sorted(changed) == written
    for name, data in changed.items():
        # The header's own command, from the folder of the cell, makes the file again.
        match = re.search(r"^    lstmgen (build .+)$", data.decode(), re.MULTILINE)
        assert match is not None
        assert run(*match[1].split(), "--out", "again").exit_code == 0
        assert (desk / "again" / Path(name).name).read_bytes() == data
    checked = run("build", *arguments, "--check")
    assert checked.exit_code == 0
    assert checked.output.count("is current") == len(written)


def test_a_module_is_built_from_another_folder_too(run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk / "elsewhere").mkdir()
    monkeypatch.chdir(desk / "elsewhere")
    assert run("build", desk / "my_cell.py").exit_code == 0
    module = (desk / "elsewhere/generated/mine_numpy.py").read_text(encoding="utf-8")
    assert str(desk) not in module


def test_a_file_that_was_just_edited_is_read_anew(run: Run, desk: Path) -> None:
    for sign in "+-+":  # of one length, within a second: Python's cache of modules would not tell them apart
        (desk / "my_cell.py").write_text(MY_CELL.replace("(1 - z)", f"(1 {sign} z)"), encoding="utf-8")
        assert f"(1 {sign} z)" in run("show", "my_cell.py", "--stage", "graph").output
    assert not (desk / "__pycache__").exists()


def test_messages_quote_the_file_as_it_is_now(run: Run, folder: Path) -> None:
    for name in ("unused", "never_used"):  # in one process, as in a notebook
        (folder / "five.py").write_text(FIVE_MISTAKES.replace("unused", name), encoding="utf-8")
        assert f"\n    {name} = eq.input(" in run("show", "five.py").output


def test_the_header_quotes_what_a_shell_would_split(run: Run, desk: Path) -> None:
    text = MY_CELL.replace("power=1", "power=1, tag='a'")
    (desk / "my cell.py").write_text(text, encoding="utf-8")
    assert run("build", "my cell.py", "--set", "tag=two words").exit_code == 0
    (place,) = (desk / "generated").glob("mine*")
    assert "    lstmgen build 'my cell.py' --set 'tag=two words'\n" in place.read_text(encoding="utf-8")
    (desk / "generated/lstm_numpy.py").unlink()
    assert run("build", "--check").exit_code == 0


def test_a_suspicion_is_told_and_stops_nothing(run: Run, desk: Path) -> None:
    result = run("build", "ambiguous.py")
    assert result.exit_code == 0
    assert "warning LG114" in result.output


def test_derive_prints_or_writes(run: Run, desk: Path) -> None:
    whole = run("derive", "lstm")
    assert whole.exit_code == 0
    assert whole.output == str(lstmgen.derive("lstm"))
    sums = run("derive", "lstm", "--part", "sums").output
    assert "Sums over time" in sums
    assert "Backward" not in sums
    brief = run("derive", "lstm", "--detail", "brief").output
    assert len(brief) < len(whole.output)
    named = run("derive", "lstm", "--format", "text", "--notation", "standard", "--out", "notes/lstm.txt")
    assert named.exit_code == 0
    assert (desk / "notes/lstm.txt").read_text(encoding="utf-8") == whole.output
    in_code = ("derive", "my_cell.py", "--notation", "code")
    assert "d_z" in run(*in_code).output
    assert "d_z" not in run(*in_code, "--set", "gated=false").output


def test_verify_prints_the_proof_and_writes_nothing(run: Run, desk: Path) -> None:
    before = contents(desk)
    result = run("verify", "./my_cell.py", "--set", "gated=false", "--backend", "numpy", "--require", "device")
    assert result.exit_code == 0
    assert all(each in result.output for each in ("W_n", "initial h", "Taylor test", "float32", "\nproven in "))
    assert contents(desk) == before


LANDMARKS = {
    "graph": ["a_f = W_f_x + U_f_h_prev + b_f", "input-only W_f_x = W_f @ x", "recurrent  tanh_c = tanh(c)"],
    "gradient": ["d_a_f = d_f * f * (1 - f)", "d_outputs, from the loss", "d_c_next, from the next step"],
    "schedule": [
        *("exchanges a step: 1", "residuals: x, h_prev, c_prev", "checkpoints", "chunks of", "side by side"),
        *("\nforward\n", "\nbackward, last step first\n", "\nrebuild, last step first\n", "  before the loop\n"),
    ],
    "kernel": ["kernel forward", "kernel backward", "kernel rebuild", "for each chunk of steps, last to first:"],
    "source": ["def forward(", "def backward(", "class Parameters:"],
}


@pytest.mark.parametrize("stage", STAGES)
def test_show_prints_every_stage(run: Run, stage: str) -> None:
    result = run("show", "lstm", "--stage", stage)
    assert result.exit_code == 0
    for landmark in LANDMARKS[stage]:
        assert landmark in result.output, landmark


def test_show_prints_the_source_unless_told_otherwise(run: Run, desk: Path) -> None:
    assert (
        run("show", "lstm").output
        == pipeline.compile_cell(finding.find_cell("lstm"), finding.find_backend("numpy"), {}).source
    )
    shown = run("show", "my_cell.py", "--set", "power=2", "--backend", "numpy", "--stage", "graph")
    assert "**2" in shown.output


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], *([name, "--help"] for name in main.commands)], ids=" ".join)
def test_every_command_explains_itself(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


def test_the_version(run: Run) -> None:
    assert lstmgen.__version__ in run("--version").output


# -- lstmgen new ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [[], ["leaky=true"], ["leaky=false"]], ids=str)
def test_a_new_cell_builds_as_it_stands(run: Run, folder: Path, settings: list[str]) -> None:
    made = run("new", "minimal")
    assert made.exit_code == 0
    assert "lstmgen build ./minimal.py" in made.output
    built = run("build", "./minimal.py", *(f"--set={each}" for each in settings))
    assert built.exit_code == 0
    assert "warning" not in built.output
    (place,) = (folder / "generated").iterdir()
    assert "Parameters" in vars(imported(place))


@pytest.mark.parametrize("name", ["x", "h", "eq", "leaky", "features", "minimal_2"])
def test_a_new_cell_may_have_any_name_that_it_uses_itself(run: Run, folder: Path, name: str) -> None:
    assert run("new", name).exit_code == 0
    assert run("verify", f"./{name}.py").exit_code == 0


@pytest.mark.parametrize("name", ["class", "1x", "d_x", "h_prev", "../x", "a/b", "a b", "", "é", "tanh", "cell"])
def test_a_new_cell_needs_a_name_that_code_can_use(run: Run, folder: Path, name: str) -> None:
    result = run("new", name)
    assert result.exit_code == 2
    assert "hint:" in result.output
    assert not list(folder.iterdir())


def test_new_overwrites_nothing(run: Run, desk: Path) -> None:
    result = run("new", "my_cell")
    assert result.exit_code == 2
    assert (desk / "my_cell.py").read_text(encoding="utf-8") == MY_CELL


def test_a_plugin_that_is_no_cell_is_listed_as_broken(run: Run, package: Package) -> None:
    package("mistaken", "[lstmgen.cells]\nmistaken = mistaken_module:mistaken\n", mistaken_module="mistaken = {}")
    (line,) = [each for each in run("list", "-v").output.splitlines() if each.split()[0] == "mistaken"]
    assert "BROKEN: the plugin 'mistaken' is a dict, no cell" in line


# -- a user's mistakes ------------------------------------------------------------------------------------------------

MISTAKES = {
    "unknown cell": ("build ltsm", "LG201", "did you mean 'lstm'?"),
    "far from any cell": ("derive something", "LG201", "(lstmgen list cells shows all "),
    "a file without its suffix": ("build my_cell", "LG201", "did you mean ./my_cell.py?"),
    "a path without its suffix": ("build ./my_cell", "LG204", "did you mean ./my_cell.py?"),
    "a path elsewhere without its suffix": ("build generated/lstm_numpy", "LG204", "mean generated/lstm_numpy.py?"),
    "empty name": ("build ''", "LG201", "there is no cell ''"),
    "unknown back end": ("build lstm --backend nunpy", "LG201", "did you mean 'numpy'?"),
    "far from any back end": ("show lstm --backend vhdl", "LG201", "there are: cupy, numpy"),
    "unknown format": ("derive lstm --format tex", "LG201", "did you mean 'text'?"),
    "unknown notation": ("derive lstm --notation cod", "LG201", "did you mean 'code'?"),
    "unknown part": ("derive lstm --part back", "LG401", "forward, backward, sums, matrix"),
    "unknown level": ("build lstm --require best", "--require", "'device', 'host'"),
    "unknown stage": ("show lstm --stage tree", "--stage", "'graph', 'gradient'"),
    "unknown group": ("list cell", "", "'cells', 'backends'"),
    "unknown command": ("biuld lstm", "", "biuld"),
    "missing file": ("build ./missing.py", "LG204", "lstmgen new"),
    "no Python file": ("build ./cell.txt", "LG204", ".py"),
    "a folder": ("build ./", "LG204", "./ is a folder"),
    "a folder in it": ("build ./generated", "LG204", "generated/ is a folder"),
    "two cells": ("build two.py", "LG205", "two.py:mine"),
    "no cell": ("build none.py", "LG205", "none.py declares no cell"),
    "one of no cells": ("build none.py:mine", "LG205", "none.py declares no cell"),
    "no such cell": ("build two.py:theirs", "LG205", "it has: mine, yours"),
    "no syntax": ("build no_syntax.py", "LG204", "no_syntax.py:2: SyntaxError"),
    "raises": ("verify raises.py", "LG204", "raises.py:3: ValueError: not today"),
    "exits": ("build exits.py", "LG204", "exits.py:1: SystemExit: 0"),
    "one of a name": ("build lstm:one", "LG205", "name it alone: lstm"),
    "imports what is missing": ("derive imports.py", "LG204", "imports.py:1: ModuleNotFoundError"),
    "not UTF-8": ("build bytes.py", "LG204", "bytes.py"),
    "bad name": ("build bad_name.py", "LG109", "bad_name.py:7: error LG109: '1x' cannot name a cell"),
    "option without default": ("build bad_option.py", "LG113", "bad_option.py:8: error LG113: option 'gated'"),
    "wrong equations": ("build five.py", "LG108", "five.py:8"),
    "nowhere defined": ("verify no_sample.py", "LG303", "is not finite in 400 of 400 draws"),
    "at a kink everywhere": ("verify at_a_kink.py", "LG303", "relu_n_part is close to a kink in 400 of 400 draws"),
    "no option": ("build ugrnn --set peephole=true", "LG113", "it has none"),
    "nearly an option": ("build my_cell.py --set gate=true", "LG113", "did you mean 'gated'?"),
    "no value": ("build my_cell.py --set gated", "LG113", "KEY=VALUE"),
    "two values": ("build my_cell.py --set scale=2 --set scale=3", "LG113", "--set gives 'scale' twice"),
    "no truth": ("build my_cell.py --set gated=maybe", "LG113", "true or false"),
    "no choice": ("build my_cell.py --set squash=cubic", "LG113", "one of tanh, relu"),
    "no number": ("build my_cell.py --set scale=wide", "LG113", "a number"),
    "no whole number": ("show my_cell.py --set power=0.5", "LG113", "a whole number"),
    "one name, two cells": ("build lstm my_cell.py --name both", "LG301", "one by one"),
    "one name, two back ends": ("build lstm --backend numpy --backend numpy --name both", "LG301", "one by one"),
    "no module name": ("build lstm --name 'a b'", "LG307", "a Python name"),
    "a path for a name": ("build lstm --name ../kernels", "LG307", "--out"),
    "a keyword for a name": ("build lstm --name class", "LG307", "'class'"),
    "out is a file": ("build lstm --out taken", "LG002", "taken"),
    "out is below a file": ("build lstm --out taken/deeper", "LG002", "taken"),
    "text below a file": ("derive lstm --out taken/lstm.txt", "LG002", "taken"),
    "text is a folder": ("derive lstm --out generated", "--out", "is a directory"),
    "no folder to check": ("build --check --out missing", "LG302", "missing"),
}


@pytest.mark.parametrize(("line", "code", "says"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_told_with_code_and_remedy_and_changes_nothing(
    run: Run, desk: Path, line: str, code: str, says: str
) -> None:
    before = contents(desk)
    result = run(*[each.strip("'") for each in re.findall(r"'[^']*'|\S+", line)])
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert code in result.output
    assert says in result.output
    assert contents(desk) == before


def test_all_mistakes_of_a_cell_are_told_at_once_each_with_its_line(run: Run, desk: Path) -> None:
    result = run("build", "five.py")
    lines = FILES["five.py"].splitlines()
    told = [(int(line), code) for line, code in re.findall(r"five\.py:(\d+): error (LG\d+)", result.output)]
    assert {(7, "LG115"), (8, "LG108"), (10, "LG110"), (11, "LG111"), (12, "LG117")} <= set(told)
    assert f"has {len(told)} mistakes" in result.output
    assert told == sorted(told)
    assert all(lines[line - 1].strip() in result.output for line, _ in told)
    assert result.output.count("hint:") == len(told)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is closed to the superuser")
def test_a_folder_that_cannot_be_written_is_a_mistake(run: Run, folder: Path) -> None:
    (folder / "closed").mkdir(mode=0o500)
    result = run("build", "lstm", "--out", "closed")
    assert result.exit_code == 2
    assert "LG002: Permission denied" in result.output


# -- [tool.lstmgen] ---------------------------------------------------------------------------------------------------


def test_build_without_a_cell_takes_the_projects(run: Run, desk: Path) -> None:
    (desk / "pyproject.toml").write_text(
        '[tool.lstmgen]\ncells = ["lstm", "./my_cell.py"]\nbackends = ["numpy"]\nout = "kernels"\n', encoding="utf-8"
    )
    assert run("build").exit_code == 0
    assert sorted(each.name for each in (desk / "kernels").iterdir()) == ["lstm_numpy.py", "mine_numpy.py"]
    assert run("build", "--check").exit_code == 0
    assert run("build", "--out", "other").exit_code == 0  # what is said on the line goes before
    assert (desk / "other/mine_numpy.py").is_file()
    assert "LG301" in run("build", "--name", "both").output


@pytest.mark.parametrize("text", ["", "[tool.other]\nx = 1\n", None], ids=["empty", "other", "none"])
def test_build_without_cells_anywhere_prints_help(run: Run, folder: Path, text: str | None) -> None:
    if text is not None:
        (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    result = run("build")
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")
    assert not (folder / "generated").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[tool.lstmgen", "hint: it must be TOML"),
        (b"# \xff", "hint: it must be TOML"),
        (b"tool.lstmgen = 3", "tool.lstmgen must be a table"),
        (b'[tool.lstmgen]\ncells = "lstm"', 'cells = ["..."]'),
        (b"[tool.lstmgen]\nbackends = [1]", 'backends = ["..."]'),
        (b'[tool.lstmgen]\ncells = ["lstm"]\nout = 3', 'out = "..."'),
        (b'[tool.lstmgen]\ncell = ["lstm"]', "cells, backends and out"),
    ],
    ids=["cut short", "not UTF-8", "no table", "no list", "no names", "no folder", "unknown key"],
)
def test_a_malformed_configuration_is_told(run: Run, folder: Path, text: bytes, says: str) -> None:
    (folder / "pyproject.toml").write_bytes(text)
    result = run("build")
    assert result.exit_code == 2
    assert "LG306" in result.output
    assert says in result.output
    assert "Traceback" not in result.output


# -- build --check ----------------------------------------------------------------------------------------------------


def test_check_tells_current_from_changed_from_missing_and_writes_nothing(run: Run, folder: Path) -> None:
    assert run("build", "lstm").exit_code == 0
    place = folder / "generated/lstm_numpy.py"
    current = place.read_bytes()
    place.write_bytes(current.replace(b"np.subtract", b"np.add"))
    spoiled = contents(folder)
    for arguments in (["lstm"], []):
        result = run("build", *arguments, "--check")
        assert result.exit_code == 1
        assert "would change generated/lstm_numpy.py" in result.output
    assert contents(folder) == spoiled
    place.unlink()
    result = run("build", "lstm", "--check")
    assert result.exit_code == 1
    assert "would create generated/lstm_numpy.py" in result.output
    assert not contents(folder)
    assert run("build", "ltsm", "--check").exit_code == 2


def test_check_without_a_cell_makes_each_file_again_by_its_own_header(run: Run, desk: Path) -> None:
    for arguments in (
        ["my_cell.py", "--set", "squash=relu"],
        ["./two.py:yours", "--set", "gated=false"],
        ["lstm", "--name", "other"],
        ["lstm"],
    ):
        assert run("build", *arguments).exit_code == 0
    (desk / "generated/by_hand.py").write_bytes(b"# not ours, \xff\n    lstmgen build nothing\n")
    result = run("build", "--check")
    assert result.exit_code == 0, result.output
    assert result.output.count("is current") == 4
    assert "by_hand" not in result.output
    (desk / "my_cell.py").write_text(MY_CELL.replace("scale *", "2 * scale *"), encoding="utf-8")
    result = run("build", "--check")
    assert result.exit_code == 1
    assert result.output.count("would change") == 1
    (desk / "my_cell.py").unlink()
    result = run("build", "--check")
    assert result.exit_code == 2
    assert "LG204" in result.output


def test_check_of_an_empty_folder_says_that_it_is(run: Run, folder: Path) -> None:
    (folder / "generated").mkdir()
    result = run("build", "--check")
    assert result.exit_code == 0
    assert "no generated files" in result.output


@pytest.mark.parametrize(
    "command", ["", "lstm --sett a=b", "a b", "lstm --backend numpy --backend numpy", "'"], ids=str
)
def test_a_header_that_no_command_wrote_is_told(run: Run, folder: Path, command: str) -> None:
    run("build", "lstm")
    place = folder / "generated/lstm_numpy.py"
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace("lstmgen build lstm", f"lstmgen build {command or '--check'}", 1), encoding="utf-8")
    result = run("build", "--check")
    assert result.exit_code == 2
    assert "LG308" in result.output
    assert result.output.count("lstm_numpy.py") == 1


# -- proofs -----------------------------------------------------------------------------------------------------------

BACKENDS = """
from lstmgen.backends.numpy import NumpyBackend

class Wrong(NumpyBackend):
    name = "wrong"
    def emit(self, *arguments):
        return {{name: text.replace("{0}", "{1}") for name, text in super().emit(*arguments).items()}}

class Hosted(NumpyBackend):
    name = "hosted"
    def levels(self):
        return ("host", "derivation")

wrong, hosted = Wrong(), Hosted()
"""


@pytest.fixture
def backends(package: Package) -> Iterator[None]:
    """Two more back ends: `wrong` plants a sign error in what it emits, `hosted` reaches the level `host`."""
    source = BACKENDS.format("np.subtract(", "np.add(")
    package(
        "proof_backends",
        "[lstmgen.backends]\nwrong = proof_backends_module:wrong\nhosted = proof_backends_module:hosted\n",
        proof_backends_module=source,
    )
    yield
    sys.modules.pop("proof_backends_module", None)


@pytest.mark.usefixtures("backends")
def test_a_failed_proof_writes_nothing_and_leaves_the_older_file(run: Run, folder: Path) -> None:
    (folder / "generated").mkdir()
    (folder / "generated/lstm_wrong.py").write_text("# older\n", encoding="utf-8")
    for command in (["build", "lstm", "--backend", "wrong"], ["verify", "lstm", "--backend", "wrong"]):
        result = run(*command)
        assert result.exit_code == 1
        assert "the proof failed; nothing was written" in result.output
        assert "NOT PROVEN" in result.output
        assert "FAILED" in result.output
        assert "Traceback" not in result.output
        assert contents(folder) == {"generated/lstm_wrong.py": b"# older\n"}


@pytest.mark.usefixtures("backends")
def test_what_was_built_before_a_failed_proof_stays(run: Run, folder: Path) -> None:
    assert run("build", "lstm", "--backend", "numpy", "--backend", "wrong").exit_code == 1
    assert list(contents(folder)) == ["generated/lstm_numpy.py"]


@pytest.mark.usefixtures("backends")
@pytest.mark.parametrize(("level", "code"), [("device", 2), ("host", 0), ("compiled", 0), ("derivation", 0)])
def test_a_required_level_refuses_less(run: Run, folder: Path, level: str, code: int) -> None:
    for command in ("verify", "build"):
        result = run(command, "lstm", "--backend", "hosted", "--require", level)
        assert result.exit_code == code
        assert ("LG304" in result.output) == bool(code)
        assert "level host" in result.output or "level 'host'" in result.output
    assert bool(contents(folder)) == (code == 0)


# -- writing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["replace", "chmod", "fdopen"])
def test_a_full_disk_leaves_the_older_file_and_no_other(
    run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def fails(*arguments: object, **keywords: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = contents(desk)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, fails)
        result = run("build", "lstm")
    assert result.exit_code == 2
    assert result.output.startswith(f"error LG002: {os.strerror(errno.ENOSPC)}\n  hint: ")
    assert contents(desk) == before


def test_several_files_are_staged_before_the_first_is_put_in_place(folder: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        files.write_files(folder, {"first.py": "1\n", "second.py": "\udcff"})
    assert not contents(folder)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_have_the_permissions_that_the_user_asks_for(folder: Path) -> None:
    before = os.umask(0o027)
    try:
        files.write_files(folder, {"file.py": "1\n"})
    finally:
        os.umask(before)
    assert (folder / "file.py").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
def test_a_link_stays_a_link_and_a_pipe_a_pipe(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "link.txt").symlink_to(Path("elsewhere") / "target.txt")
    files.write_files(folder, {"link.txt": "text"})
    assert (folder / "link.txt").is_symlink()
    assert (folder / "elsewhere" / "target.txt").read_text(encoding="utf-8") == "text"
    os.mkfifo(folder / "pipe")
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_files(folder, {"pipe": "text"})
    assert os.read(reader, 10) == b"text" and not (folder / "pipe").is_file()
    os.close(reader)


def test_an_encoding_that_lacks_signs_is_told_as_that() -> None:
    command = [sys.executable, "-m", "lstmgen.cli", "derive", "rnn"]
    surroundings = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    found = subprocess.run(command, capture_output=True, env=surroundings, check=False)
    assert found.returncode == 2 and not found.stdout
    assert b"error LG003: latin-1 cannot print" in found.stderr and b"Traceback" not in found.stderr
    found = subprocess.run([*command, "--format", "html"], capture_output=True, env=surroundings, check=True)
    assert "charset" in found.stdout.decode("utf-8")


# -- defects, and the process -----------------------------------------------------------------------------------------


def test_a_defect_says_so_and_asks_for_a_report(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **keywords: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(pipeline, "compile_cell", fails)
    result = run("build", "lstm")
    assert result.exit_code == 3
    assert "internal error: ZeroDivisionError: of all things" in result.output
    assert "Please report it" in result.output
    assert "in fails" in result.output  # a report needs the traceback
    assert not contents(folder)


def test_results_and_complaints_go_to_their_own_streams(shell: Shell, desk: Path) -> None:
    shown = shell("-m", "lstmgen.cli", "show", "ambiguous.py")
    assert shown.returncode == 0
    assert shown.stdout.startswith('"""')
    assert "warning LG114" in shown.stderr
    refused = shell("-m", "lstmgen.cli", "build", "ltsm")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "LG201" in refused.stderr


def loaded(shell: Shell, code: str) -> set[str]:
    """Which of the slow libraries a fresh interpreter holds after `code`."""
    ended = shell(
        "-c", f"{code}\nimport sys\nprint('\\n', *({{'sympy', 'numpy', 'jinja2', 'click'}} & set(sys.modules)))"
    )
    assert ended.returncode == 0, ended.stderr
    return set(ended.stdout.splitlines()[-1].split())


def test_importing_lstmgen_is_cheap(shell: Shell) -> None:
    assert loaded(shell, "import lstmgen, lstmgen.plugins, lstmgen.errors") == set()


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["build", "--help"], ["--version"]], ids=" ".join)
def test_what_needs_no_mathematics_imports_none(shell: Shell, arguments: list[str]) -> None:
    code = f"from lstmgen.cli import main\ntry:\n    main({arguments})\nexcept SystemExit:\n    pass"
    assert loaded(shell, code) == {"click"}


def test_list_answers_at_once(shell: Shell) -> None:
    assert seconds(lambda: shell("-m", "lstmgen.cli", "list")) < 0.3


def test_the_lstm_is_built_and_proven_in_seconds(shell: Shell) -> None:
    # 3 s are promised; twice that still tells a regression from a busy machine.
    assert seconds(lambda: shell("-m", "lstmgen.cli", "build", "lstm"), attempts=2) < 6


def seconds(call: Callable[[], subprocess.CompletedProcess[str]], attempts: int = 3) -> float:
    """The best of some attempts: a busy machine must not fail a test."""
    took = []
    for _ in range(attempts):
        start = time.perf_counter()
        assert call().returncode == 0
        took.append(time.perf_counter() - start)
    return min(took)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal to look at")
def test_long_work_shows_progress_on_a_terminal_and_takes_it_away(folder: Path) -> None:
    slow = "import time\ntime.sleep(1.2)\n" + MY_CELL
    (folder / "slow.py").write_text(slow, encoding="utf-8")
    terminal, end = os.openpty()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "lstmgen.cli", "build", "slow.py"], stderr=end, stdout=subprocess.PIPE, timeout=60
        )
        shown = os.read(terminal, 10_000).decode()
    finally:
        os.close(terminal)
        os.close(end)
    assert ended.returncode == 0
    assert "building slow.py for numpy ... 1 s" in shown
    assert shown.endswith("\r\x1b[K")
    assert b"building" not in ended.stdout
