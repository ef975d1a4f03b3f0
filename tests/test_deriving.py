"""Derivations with everything that other stages add: every cell, every format, and links that lead somewhere."""

from __future__ import annotations

import re

import pytest

import lstmgen
from lstmgen import deriving, finding, plugins
from lstmgen.derivation.additions import listing_section
from lstmgen.derivation.document import Derived, Figure, Listing

BUILT_IN = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
NOTATIONS = [each.name for each in plugins.available("notations")]
SOURCE = '''
def _before(): ...


def _backward(
    a: int,
) -> int:
    """Backward."""
    # d_a_k = d_c * dc_da_k  for k = i, f
    multiply(d_c, dc_da, d_a)
    # k = tanh(a_k)  for k = z, r  (update gate)
    # d_b = total(d_a)
    add(d_b)


def _after(): ...
'''


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_cell_prints(name: str) -> None:
    printed = deriving.derive(finding.find_cell(name), finding.find_notation("standard"), {})
    assert "A worked example" in str(printed)


@pytest.mark.parametrize("form", ["markdown", "latex", "html"])
@pytest.mark.parametrize("name", ["lstm", "gru", "mlstm", "lstm_layernorm"])
def test_a_cell_prints_in_every_format(name: str, form: str) -> None:
    assert "A worked example" in lstmgen.derive(name).render(form)


@pytest.mark.parametrize("notation", NOTATIONS)
def test_the_lstm_prints_in_every_notation(notation: str) -> None:
    assert len(str(lstmgen.derive("lstm", notation=notation))) > 5000


def test_equations_link_to_lines_of_code_that_are_there() -> None:
    document = lstmgen.derive("lstm").document(form="html")
    blocks = [block for section in document.sections for block in section.blocks]
    (listing,) = (block for block in blocks if isinstance(block, Listing))
    anchors = {anchor: number for number, anchor in listing.anchors}
    derived = {block.result.anchor: block for block in blocks if isinstance(block, Derived)}
    (line,) = derived["backward-a_f"].lines
    assert "d_a_k = d_c * dc_da_k  for k = i, f, g" in listing.lines[anchors[line]]
    assert {anchor for block in derived.values() for anchor in block.lines} <= anchors.keys()
    page = lstmgen.derive("lstm").render("html")
    targets = set(re.findall(r'id="([^"]*)"', page))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= targets


def test_pictures_are_drawn_for_formats_that_show_them() -> None:
    assert [type(block) for block in lstmgen.derive("gru").document(form="html").lead].count(Figure) == 1
    assert Figure not in [type(block) for block in lstmgen.derive("gru").document(form="text").lead]


def test_a_line_of_code_stands_for_every_value_that_it_names() -> None:
    section, lines = listing_section(SOURCE, "_backward")
    (listing,) = section.blocks
    assert isinstance(listing, Listing)
    assert listing.lines[0] == "def _backward("
    assert listing.lines[-1] == "    add(d_b)"
    assert set(lines) == {"d_a_i", "d_a_f", "z", "r", "d_b"}
    assert lines["d_a_i"] == lines["d_a_f"]
    assert {anchor for _, anchor in listing.anchors} == {anchor for each in lines.values() for anchor in each}
