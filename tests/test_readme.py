"""The README quotes the cell, its derivation and its kernel; all three must be what lstmgen has today."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

import lstmgen
import lstmgen.errors
from lstmgen.calculus.text import Text
from lstmgen.finding import find_cell

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_the_cell_is_the_built_in_one(tmp_path: Path) -> None:
    """The built-in one has options besides; its equations are the quoted ones."""
    file = tmp_path / "quoted.py"
    file.write_text(blocks("python")[0])
    quoted, built_in = (find_cell(origin).trace() for origin in (str(file), "lstm"))
    text = Text()
    assert [text.equation(each) for each in quoted.equations] == [text.equation(each) for each in built_in.equations]
    assert [each.description for each in quoted.equations] == [each.description for each in built_in.equations]
    assert [each.value for each in quoted.parameters] == [each.value for each in built_in.parameters]
    assert (quoted.name, quoted.outputs) == (built_in.name, built_in.outputs)


def test_the_derivation_is_what_derive_prints() -> None:
    passages = blocks("text")[0].strip("\n").split("\n\n")
    printed = str(lstmgen.derive("lstm"))
    assert len(passages) == 3
    assert all(passage in printed for passage in passages)


def test_the_kernel_lines_are_those_of_the_generated_module() -> None:
    assert blocks("python")[1] in (ROOT / "generated/lstm_numpy.py").read_text(encoding="utf-8")


def test_the_example_of_use_runs() -> None:
    namespace: dict[str, object] = {}
    exec(blocks("python")[2], namespace)
    assert np.shape(namespace["output"]) == (2, 5)


def test_the_mistake_is_told_as_quoted(tmp_path: Path) -> None:
    message = blocks("text")[1].splitlines()
    cell = tmp_path / "my_cell.py"
    cell.write_text(
        "from lstmgen.api import cell, tanh\n\n\n"
        '@cell("mine")\ndef mine(eq):\n    """A trial."""\n    x = eq.input("x")\n    h_prev = eq.state("h")\n'
        '    W = eq.parameter("W", "hidden", "features")\n\n\n\n\n'
        + message[1]
        + '\n    h = eq.next("h", tanh(W @ x + q))\n    eq.output(h)\n'
    )
    try:
        lstmgen.load(str(cell))
    except lstmgen.errors.DeclarationError as error:
        told = str(error).replace(f"{tmp_path}/", "")
    assert "\n".join(message) + "\n" in f"{told}\n"
