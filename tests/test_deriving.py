"""Derivations with everything that other stages add: every cell, every format, and links that lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

import lstmgen
from lstmgen import deriving, finding, plugins
from lstmgen.derivation.document import Derived, Figure, Listing
from lstmgen.derivation.formats.text import WIDTH, columns
from lstmgen.errors import UserError

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


@pytest.mark.parametrize(("form", "shown"), [("latex", 1), ("html", 1), ("markdown", 1), ("text", 0)])
def test_pictures_are_drawn_for_formats_that_show_them(form: str, shown: int) -> None:
    found = lstmgen.derive("gru").document(form=form)
    assert [type(block) for block in found.lead].count(Figure) == shown


@pytest.mark.parametrize("form", [each.name for each in plugins.available("formats")])
def test_every_format_prints_the_picture_alone(form: str) -> None:
    made = lstmgen.derive("gru")
    (section,) = made.document("picture", form=form).sections
    assert [type(block) for block in section.blocks] == [Figure]
    assert "tanh" in made.render(form, part="picture")


def test_a_format_that_prints_the_picture_alone_needs_no_part_and_takes_no_other() -> None:
    made = lstmgen.derive("gru")
    assert made.render("dot") == made.render("dot", part="picture")
    with pytest.raises(UserError, match="cannot print the part 'sums'") as caught:
        made.render("dot", part="sums")
    assert caught.value.code == "LG402"
    with pytest.raises(UserError, match="there is no part 'all'") as caught:
        made.render("dot", part="all")
    assert caught.value.code == "LG401"


def test_only_what_is_asked_for_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    for module, name in ((deriving.worked, "section"), (deriving.jacobian, "section"), (deriving.picture, "draw")):
        inner = getattr(module, name)

        def noted(*arguments: object, inner: Callable[..., object] = inner) -> object:
            made.append(f"{inner.__module__.rpartition('.')[2]}")
            return inner(*arguments)

        monkeypatch.setattr(module, name, noted)
    monkeypatch.setattr(deriving, "_curves", lambda *arguments: made.append("curves"))
    for part, form, expected in (
        ("forward", "html", []),
        ("example", "html", ["worked"]),
        ("jacobian", "text", ["curves", "jacobian"]),
        ("picture", "text", ["picture"]),
        ("jacobian", "html", ["curves", "jacobian"]),
        ("", "text", ["worked", "jacobian"]),
        ("", "markdown", ["worked", "curves", "jacobian", "picture"]),
    ):
        made.clear()
        lstmgen.derive("gru").render(form, part=part)
        assert made == expected, (part, form)


def test_what_several_formats_show_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    inner = deriving.worked.section
    monkeypatch.setattr(deriving, "_curves", lambda *arguments: made.append("curves"))
    monkeypatch.setattr(deriving.worked, "section", lambda *arguments: (made.append("example"), inner(*arguments))[1])
    gru = lstmgen.derive("gru")
    for form in ("html", "latex", "text", "html"):
        gru.render(form)
    assert sorted(made) == ["curves", "example"]


def test_the_code_can_be_had_alone() -> None:
    assert "def _backward(" in lstmgen.derive("gru").render("text", part="code")


def test_derivations_in_one_notebook_have_names_and_links_of_their_own() -> None:
    derived = [lstmgen.derive("rnn"), lstmgen.derive("rnn", notation="torch"), lstmgen.derive("indrnn")]
    pages = [each._repr_html_() for each in derived]
    names = [re.findall(r'\bid="([^"]*)"', page) for page in pages]
    assert len(set().union(*names)) == sum(map(len, names))
    for page, own in zip(pages, names, strict=True):
        assert "<h1>" in page and set(re.findall(r'href="#([^"]*)"', page)) <= set(own)


def test_a_derivation_is_named_in_a_line() -> None:
    assert repr(lstmgen.derive("lstm", notation="olah")) == "<the derivation of lstm in the notation olah>"


def test_a_detail_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="there is no detail 'long'"):
        lstmgen.derive("rnn").render("text", detail="long")
