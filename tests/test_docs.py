"""The pages of `docs/`: their cells are proven, their links lead somewhere, and what they list is complete."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from lstmgen import api, pipeline, plugins, stages
from lstmgen.backends.numpy import backend
from lstmgen.declare.builder import Equations
from lstmgen.declare.cell import Cell
from lstmgen.declare.functions import known_functions
from lstmgen.finding import find_cell

DOCS = Path(__file__).resolve().parent.parent / "docs"
DECLARING = (DOCS / "declaring.md").read_text(encoding="utf-8")
CELLS = (DOCS / "cells.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"^```python\n(.*?)^```$", DECLARING, re.DOTALL | re.MULTILINE))
def test_a_quoted_cell_is_proven_without_a_warning(code: str, tmp_path: Path) -> None:
    (tmp_path / "quoted.py").write_text(code, encoding="utf-8")
    made = find_cell(str(tmp_path / "quoted.py"))
    assert isinstance(made, Cell)
    compiled = pipeline.compile_cell(made, backend, {})
    assert compiled.declaration.warnings == ()
    assert pipeline.prove(compiled).passed


def test_the_page_holds_the_whole_language() -> None:
    methods = [name for name, member in vars(Equations).items() if callable(member) and not name.startswith("_")]
    assert {f"eq.{name}" for name in methods if name != "report"} <= set(re.findall(r"eq\.\w+", DECLARING))
    quoted = next(line for line in DECLARING.splitlines() if line.startswith("> "))
    assert sorted(quoted[2:].split(", ")) == list(known_functions())
    operations = {"outer", "sum_over", "mean_over", "max_over", "transpose", "flatten", "stop_gradient", "softmax"}
    for name in (*operations, "layer_norm", "OptionError", "Uniform", "Normal", "equal"):
        assert hasattr(api, name) and re.search(rf"\b{name}\b", DECLARING), name


def test_the_table_lists_every_built_in_cell_with_its_publication_and_options() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", CELLS, re.MULTILINE))
    built_in = [plugin.name for plugin in plugins.available("cells") if plugin.target.startswith("lstmgen.cells.")]
    assert list(rows) == built_in
    for name in built_in:
        made = find_cell(name)
        what, options, reference = (cell.strip() for cell in rows[name].split(" | "))
        assert what and reference == made.reference
        assert re.findall(r"`(\w+)`", options) == [option.name for option in made.options], name


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


CODE = (DOCS / "code.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("quoted", re.findall(r"^```text\n(.*?)^```$", CODE, re.DOTALL | re.MULTILINE))
def test_the_page_on_code_quotes_what_stages_print(quoted: str) -> None:
    command, _, passage = quoted.partition("\n")
    match = re.fullmatch(r"\$ lstmgen show (\w+) --stage (\w+)", command)
    assert match and passage in stages.describe(pipeline.compile_cell(find_cell(match[1]), backend, {}), match[2])


def test_the_page_on_code_quotes_the_cell() -> None:
    (quoted,) = re.findall(r"^```python\n(.*?)^```$", CODE, re.DOTALL | re.MULTILINE)
    assert quoted in textwrap.dedent(
        (DOCS.parent / "lstmgen/cells/rnn.py").read_text(encoding="utf-8").split('"""')[-1]
    )
