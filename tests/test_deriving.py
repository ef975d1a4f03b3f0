"""Derivations with everything that other stages add: every cell, every format, and links that lead somewhere."""

from __future__ import annotations

import re

import pytest

import lstmgen
from lstmgen import deriving, finding, plugins
from lstmgen.derivation.document import Derived, Figure, Listing
from lstmgen.derivation.formats.text import WIDTH, columns

BUILT_IN = [each.name for each in plugins.available("cells") if each.packages == ("lstmgen",)]
NOTATIONS = [each.name for each in plugins.available("notations")]


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_cell_prints_within_the_width_of_a_terminal(name: str) -> None:
    printed = str(deriving.derive(finding.find_cell(name), finding.find_notation("standard"), {}))
    assert "A worked example" in printed
    assert not [line for line in printed.splitlines() if columns(line) > WIDTH]


@pytest.mark.parametrize("notation", NOTATIONS)
def test_long_names_print_within_the_width_of_a_terminal(notation: str) -> None:
    printed = str(lstmgen.derive("lstm_layernorm", notation=notation))
    assert not [line for line in printed.splitlines() if columns(line) > WIDTH]


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
    derived = {anchor: block for block in blocks if isinstance(block, Derived) for anchor in block.result.anchors}
    coefficient, line = (listing.lines[anchors[each]] for each in derived["backward-a_f"].lines)
    assert "dc_da_f = c_prev * f * (1 - f)" in coefficient
    assert "d_a_k = d_c * dc_da_k  for k = i, f, g" in line
    assert not derived["backward-a_f"].within
    assert derived["backward-f"].lines == derived["backward-a_f"].lines  # composed into it
    assert derived["backward-f"].within
    totals = [listing.lines[anchors[each]].strip(" #") for each in derived["backward-U_f"].lines]
    assert "d_U_k = total(outer(d_a_k, h_prev))  for k = o, i, f, g" in totals
    page = lstmgen.derive("lstm").render("html")
    targets = set(re.findall(r'id="([^"]*)"', page))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= targets
    assert 'within lines <a href="#line' in page


def test_pictures_are_drawn_for_formats_that_show_them() -> None:
    assert [type(block) for block in lstmgen.derive("gru").document(form="html").lead].count(Figure) == 1
    assert Figure not in [type(block) for block in lstmgen.derive("gru").document(form="text").lead]
