"""Documents in HTML as a browser shows them, on a wide screen and on a telephone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import CHROMIUM, Measured, measure
from sample_document import DOCUMENT
from whole_documents import whole_documents

from lstmgen.derivation.formats.html import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

WIDTHS = (1200, 400)
ENTITY = re.compile(r"&(#\w+|\w+);")
PLANTED = """<!DOCTYPE html><html><head></head><body>
<p>5 &amp;lt; 6 <span id="unassigned">&#x379;</span> <img src="https://example.org/a.png"/></p>
<div class="formula" style="overflow: hidden; width: 40px; height: 9px">
<math><mi mathvariant="normal">a rather long name</mi></math></div>
<p style="width: 500px">wide</p>
</body></html>"""


def faults(page: Measured) -> list[str]:
    """What is wrong with a page."""
    found = [f"sticks out of the page: {each}" for each in page.wide]
    found += [f"must be scrolled: {each}" for each in page.scrolling]
    found += [f"is cut off: {each}" for each in page.cut]
    found += [f"no font has U+{ord(each):04X}" for each in page.missing]
    found += [f"asks for {each}" for each in page.requests]
    found += [f"shows {each[0]}" for each in ENTITY.finditer(page.text)]
    found += ["shows & in a formula"] * ("&" in page.mathematics)
    return found


def test_every_page_is_set_well(tmp_path: Path) -> None:
    documents = whole_documents("html")
    assert not [name for name, page in documents.items() if "<script" in page]
    asked = [(name, width) for name in documents for width in WIDTHS]
    measured = measure([(documents[name], width) for name, width in asked], tmp_path)
    assert [page.width for page in measured] == [width for _, width in asked]
    told = [
        f"{name} at {width} px: {fault}"
        for (name, width), page in zip(asked, measured, strict=True)
        for fault in faults(page)
    ]
    assert not told, "\n".join(told)


def test_unusual_words_and_formulas_stay_on_the_page(tmp_path: Path) -> None:
    page = render(DOCUMENT)
    for measured in measure([(page, width) for width in WIDTHS], tmp_path):
        assert not measured.wide and not measured.requests
        assert DOCUMENT.title in measured.text  # as written: nothing is taken for markup, nothing escaped twice


def test_faults_are_found(tmp_path: Path) -> None:
    (page,) = measure([(PLANTED, 400)], tmp_path)
    for expected in (
        "sticks out",
        "must be scrolled",
        "is cut off",
        "no font has U+0379",
        "asks for https://example.org",
        "shows &lt;",
    ):
        assert any(each.startswith(expected) for each in faults(page)), (expected, faults(page))
