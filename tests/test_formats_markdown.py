"""Documents in Markdown: mathematics that GitHub and Jupyter both leave alone."""

from __future__ import annotations

import re

import pytest
from sample_document import DOCUMENT, LONG, NODES, UNUSUAL
from whole_documents import whole_document

from lstmgen.derivation.document import Equation, Listing, Paragraph, Section
from lstmgen.derivation.formats.markdown import render, text
from lstmgen.derivation.formats.tex import MARKDOWN, Tex
from lstmgen.derivation.formula import Formula

PRINTED = render(DOCUMENT)
DISPLAY = re.compile(r"^\$\$\n(.*?)\n\$\$$", re.DOTALL | re.MULTILINE)


def outside_code(markdown: str) -> str:
    return re.sub(r"^(`{3,}).*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)


def test_displays_have_empty_lines_around_them() -> None:
    found = list(DISPLAY.finditer(PRINTED))
    equations = [each for section in DOCUMENT.sections for each in section.blocks if isinstance(each, Equation)]
    assert len(found) == len(equations) + 3  # steps and the result of the one quantity that is derived
    for each in found:
        assert PRINTED[: each.start()].endswith("\n\n")
        assert PRINTED[each.end() :].startswith("\n\n")
        assert "\n\n" not in each[1]


def test_norms_of_jacobians_are_a_table() -> None:
    printed = whole_document("lstm", "markdown")
    assert re.search(r"^\| the gate's bias \|.*\n\|[- :|]*\n\| bias 0 \| \$", printed, re.MULTILINE)


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("formula", [LONG, *NODES])
def test_mathematics_has_nothing_that_markdown_takes_for_its_own(formula: Formula, inline: bool) -> None:
    printed = Tex(MARKDOWN, inline)(formula)
    assert not re.search(r"\\[^A-Za-z ]", printed), "a backslash before punctuation is lost"
    assert not re.search(r"[^\w\s]_\S", printed), "a low line after punctuation may begin emphasis"
    assert not re.search(r"[*|<>`$]", printed)
    assert "operatorname" not in printed  # GitHub refuses it
    assert printed.count("{") == printed.count("}")
    assert printed == printed.strip()


def test_inline_mathematics_is_closed_at_once() -> None:
    running = outside_code(DISPLAY.sub("", PRINTED)).replace("<span>$</span>", "")
    for line in running.splitlines():
        assert line.count("$") % 2 == 0
        for inside in re.findall(r"\$([^$]*)\$", line):
            assert inside == inside.strip() != ""


def test_users_words_are_words() -> None:
    printed = text(UNUSUAL)
    assert "&lt;b&gt;&amp;" in printed
    assert r"\[x\](y)" in printed
    assert "<b>" not in outside_code(PRINTED)
    assert text("- no list") == "&#8203;- no list"


def test_links_have_targets() -> None:
    assert "[(4)](#eq-4), [(5)](#eq-5)" in PRINTED
    for target in re.findall(r"\]\(#([^)]*)\)", PRINTED):
        assert f'<a id="{target}"></a>' in PRINTED


def test_tables_have_as_many_cells_in_every_row() -> None:
    rows = [each for each in PRINTED.splitlines() if each.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", each)) for each in rows} == {4, 3}
    assert "| --- | ---: | --- |" in rows


def test_code_that_has_fences_is_fenced_by_more() -> None:
    listing = Listing(("```", "x"), "python")
    document = DOCUMENT.__class__("t", "", (Paragraph(("x",)),), (Section("s", "S", (listing,)),))
    assert "````python\n```\nx\n````" in render(document)
