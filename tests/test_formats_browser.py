"""Documents in HTML as a browser shows them, on a wide screen and on a telephone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from browser import CHROMIUM, Measured, measure
from sample_document import DOCUMENT, UNUSUAL
from unusual_cell import unusual
from whole_documents import whole_document, whole_documents

from lstmgen.derivation.formats.html import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WIDTHS = (1200, 400)
ENTITY = re.compile(r"&(#\w+|\w+);")
PLANTED = """<!DOCTYPE html><html><head></head><body>
<p>5 &amp;lt; 6 <span id="unassigned">&#x379;</span> <img src="https://example.org/a.png"/></p>
<div class="formula" style="overflow: hidden; width: 40px; height: 9px">
<math><mi mathvariant="normal">a rather long name</mi></math></div>
<div class="formula"><math><mtable><mtr><mtd class="head" style="width: 90px; text-align: left"><mi>a</mi></mtd>
<mtd><mo>=</mo></mtd></mtr></mtable></math></div>
<p style="width: 500px">wide</p>
</body></html>"""
EXPECTED = (
    "sticks out of the page",
    "must be scrolled",
    "is cut off",
    "stands apart from its sign",
    "no font has U+0379",
    "asks for https://example.org",
    "shows &lt;",
)


def faults(page: Measured) -> list[str]:
    """What is wrong with a page."""
    found = [f"sticks out of the page: {each}" for each in page.wide]
    found += [f"must be scrolled: {each}" for each in page.scrolling]
    found += [f"is cut off: {each}" for each in page.cut]
    found += [f"stands apart from its sign: {each}" for each in page.apart]
    found += [f"no font has U+{ord(each):04X}" for each in page.missing]
    found += [f"asks for {each}" for each in page.requests]
    found += [f"shows {each[0]}" for each in ENTITY.finditer(page.text)]
    found += ["shows & in a formula"] * ("&" in page.mathematics)
    return found


def test_every_page_is_set_well(tmp_path: Path) -> None:
    documents = whole_documents("html")
    assert not [name for name, page in documents.items() if "<script" in page]
    told = []
    for name, page in zip(documents, measure(list(documents.values()), WIDTHS, tmp_path), strict=True):
        assert [measured.width for measured in page] == list(WIDTHS)
        told += [f"{name} at {measured.width} px: {fault}" for measured in page for fault in faults(measured)]
    assert not told, "\n".join(told)


def test_unusual_words_and_formulas_stay_on_the_page(tmp_path: Path) -> None:
    pages = [render(DOCUMENT), whole_document(unusual, "html")]
    for page in pages:
        ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    for page in measure(pages, WIDTHS, tmp_path):
        for measured in page:
            assert not measured.wide and not measured.requests
            assert UNUSUAL in measured.text  # as written: nothing is taken for markup, nothing escaped twice


def test_faults_are_found(tmp_path: Path) -> None:
    ((page,),) = measure([PLANTED], [400], tmp_path)
    found = faults(page)
    for expected in EXPECTED:
        assert any(each.startswith(expected) for each in found), (expected, found)
