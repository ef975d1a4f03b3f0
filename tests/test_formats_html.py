"""Documents in HTML: well-formed, self-contained, with MathML that browsers set without help."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree

import pytest
from sample_document import DOCUMENT, LONG, NODES, UNUSUAL, before, by, equals, f, function, i, plus, product

from lstmgen.derivation.document import Derived, Document, Equation, Listing, Table
from lstmgen.derivation.formats.breaking import rows
from lstmgen.derivation.formats.html import NARROW, render, running, unstyled
from lstmgen.derivation.formats.mathml import MathMl, display_math
from lstmgen.derivation.formats.measure import piece_width
from lstmgen.derivation.formula import Cases, Formula, Fraction, Power, Several, Symbol

PRINTED = render(DOCUMENT)
ROOT = ElementTree.fromstring(PRINTED.removeprefix("<!DOCTYPE html>\n"))

# Elements of MathML Core, with how many children they have; 0 for any number.
ELEMENTS = {
    "mi": 0, "mn": 0, "mo": 0, "mtext": 0, "mspace": 0, "mrow": 0, "mfrac": 2, "msqrt": 0, "msub": 2, "msup": 2,
    "msubsup": 3, "mover": 2, "munder": 2, "munderover": 3, "mtable": 0, "mtr": 0, "mtd": 0,
}  # fmt: skip


def words(element: ElementTree.Element) -> str:
    return "".join(element.itertext())


@pytest.mark.parametrize("inline", [False, True])
@pytest.mark.parametrize("formula", [LONG, *NODES])
def test_mathml_is_well_formed(formula: Formula, inline: bool) -> None:
    root = ElementTree.fromstring(MathMl(inline)(formula))
    for element in root.iter():
        assert element.tag in ELEMENTS
        children = ELEMENTS[element.tag]
        assert len(element) == children or not children
        assert len(element) == 0 or not (element.text or "").strip(), "letters stand in leaves alone"


def test_signs_in_scripts_have_no_space_around_them() -> None:
    root = ElementTree.fromstring(f"<math>{MathMl()(equals(before('h'), plus(f, Power(f, plus(f, i)))))}</math>")
    scripts = [sign for kind in ("msub", "msup", "msubsup") for script in root.iter(kind) for sign in script.iter("mo")]
    assert {(sign.text, sign.get("lspace"), sign.get("rspace")) for sign in scripts} >= {
        ("−", "0", "0"),
        ("+", "0", "0"),
    }
    assert all(sign.get("lspace") == sign.get("rspace") == "0" for sign in scripts)
    assert [sign.get("lspace") for sign in root.iter("mo") if sign not in scripts] == [None, None]


@pytest.mark.parametrize("limit", [8.0, NARROW, 100.0])
@pytest.mark.parametrize("formula", [LONG, *NODES])
def test_brackets_that_are_torn_apart_stay_in_pairs(formula: Formula, limit: float) -> None:
    broken = rows(formula, limit, piece_width, 1.0)
    printed = words(ElementTree.fromstring(display_math([broken], limit)))
    if UNUSUAL.split()[0] not in printed:
        assert printed.count("(") == printed.count(")")
    assert len(list(ElementTree.fromstring(display_math([broken], limit)).iter("mtr"))) >= len(broken.rows)


def test_nothing_is_requested_and_nothing_runs() -> None:
    assert not list(ROOT.iter("script")) and not list(ROOT.iter("link")) and not list(ROOT.iter("img"))
    for element in ROOT.iter():
        assert not set(element.attrib) & {"src", "srcset", "onclick", "onload"}
        assert element.get("href", "#").startswith("#")
    assert "url(" not in PRINTED and "@import" not in PRINTED


def test_links_have_targets_and_targets_are_one() -> None:
    names = [element.get("id") for element in ROOT.iter() if element.get("id")]
    assert len(names) == len(set(names))
    links = [element.get("href", "")[1:] for element in ROOT.iter("a")]
    assert set(links) <= set(names)
    assert {"eq-4", "eq-5", "line-2", "line-3"} <= set(links)


def test_it_can_be_read_aloud() -> None:
    assert ROOT.get("lang") == "en"
    assert ROOT.find("head/title") is not None
    levels = [int(element.tag[1]) for element in ROOT.iter() if re.fullmatch(r"h[1-6]", element.tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    (picture,) = [element for element in ROOT.iter() if element.get("role") == "img"]
    assert picture.get("aria-label") == "A circle of fₜ, " + UNUSUAL
    entries = [words(each) for each in ROOT.findall(".//nav//a")]
    assert entries == [section.title for section in DOCUMENT.sections]


def test_users_words_are_words() -> None:
    assert not list(ROOT.iter("b")) and not list(ROOT.iter("i"))
    headings = [words(element) for element in ROOT.iter("h1")]
    assert headings == [DOCUMENT.title]
    assert "&amp;amp;" not in PRINTED


def test_a_long_equation_has_rows_for_narrow_pages() -> None:
    equation = next(element for element in ROOT.iter() if element.get("id") == "eq-b2")
    wide, narrow = equation.findall(".//math")
    assert (wide.get("class"), narrow.get("class")) == ("wide", "narrow")
    assert len(narrow.findall("mtable/mtr")) > len(wide.findall("mtable/mtr"))
    torn = words(narrow).replace("\u00a0", "")
    assert torn == words(wide).replace("\u00a0", "")


def test_no_line_begins_with_a_comma_or_ends_with_a_bracket() -> None:
    printed = running(("a (", f, ") and ", i, ", then ", f, " again"))
    root = ElementTree.fromstring(f"<p>{printed}</p>")
    held = [words(each) for each in root.iter("span")]
    assert held == ["(ft)", "it,"]


def test_a_note_never_leaves_a_number_alone() -> None:
    few, many = (Derived((), (), Equation(f, f"b{n}"), ("s",) * n) for n in (2, 5))
    source = Equation(i, "s", "(1)")
    printed = render(Document("", "", (source, few, many), ()), fragment=True)
    assert re.search(r'<span class="together">from <a[^>]*>\(1\)</a>, <a[^>]*>\(1\)</a></span>', printed)
    assert "from\u00a0<a" in printed


def test_lines_of_formulas_are_aligned_as_equations_are() -> None:
    table = Table((), (((equals(f, i),),), ((equals(i, f),),)))
    printed = render(Document("", "", (table,), ()), fragment=True)
    root = ElementTree.fromstring(f"<div>{printed}</div>")
    assert [words(head) for head in root.iter("mtd") if head.get("class") == "head"] == ["ft", "it"]
    assert not list(root.iter("table"))


def test_relations_beside_each_other_break_alike() -> None:
    def beside(name: str) -> Derived:
        relations = (equals(f, i), equals(i, Symbol(name)), equals(f, Symbol(name)))
        return Derived((), (), Equation(Several(relations)))

    printed = render(Document("", "", (beside("x"), beside("a_long_name_of_a_quantity_that_is_told")), ()), True)
    rows_of = [
        len(math.findall("mtable/mtr"))
        for math in ElementTree.fromstring(f"<div>{printed}</div>").iter("math")
        if math.get("class") != "wide"
    ]
    assert rows_of == [3, 3]


def test_what_fits_below_its_left_side_is_not_torn() -> None:
    long = Fraction(product(f, i, f, i, f, i, f), plus(f, i))
    left = by(Symbol("L"), Symbol("a_long_name"))
    broken = rows(equals(left, long), NARROW, piece_width, 1.0)
    assert not broken.head and [len(row) for row in broken.rows] == [1, 1]
    printed = render(Document("", "", (Equation(Several((equals(left, long), equals(left, f)))),), ()), True)
    narrow = next(
        each for each in ElementTree.fromstring(f"<div>{printed}</div>").iter("math") if each.get("class") == "narrow"
    )
    assert len(narrow.findall("mtable/mtr")) == 3
    assert not [each for each in narrow.iter("mtd") if each.get("class") == "head"], "all at the left"


def test_conditions_stand_below_their_values_on_narrow_pages_alone() -> None:
    cases = Cases(((function("max", f, plus(f, i)), equals(f, i)), (function("max", i, plus(f, i)), None)))
    printed = render(Document("", "", (Equation(equals(f, cases)),), ()), fragment=True)
    wide, narrow = ElementTree.fromstring(f"<div>{printed}</div>").iter("math")
    assert [len(each.findall(".//mtable[@class='cases']/mtr")) for each in (wide, narrow)] == [2, 4]
    assert wide.get("style") is None and narrow.get("style") is None, "neither is made smaller"


def test_code_that_has_no_room_is_set_further_in_than_its_line() -> None:
    inner = "    " * 2 + "word " * 30
    printed = render(Document("", "", (Listing(("short", inner), "python"),), ()), fragment=True)
    short, long = ElementTree.fromstring(f"<div>{printed}</div>").iter("span")
    assert (short.get("style"), long.get("style")) == (None, "--in: 12ch")
    assert (short.text, long.text) == ("short\n", inner + "\n")


def test_a_fragment_stands_within_a_page() -> None:
    printed = render(DOCUMENT, fragment=True)
    assert "<html" not in printed and "<nav" not in printed
    ElementTree.fromstring(f"<div>{printed}</div>")
    assert unstyled(DOCUMENT) == printed.partition("</style>\n")[2]
    style = re.sub(r"@media[^{]*\{", "", printed[printed.index("<style>") + 7 : printed.index("</style>")])
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", style)
    assert all(each.strip().startswith(".derivation") for rule in rules for each in rule.split(",")), "nothing leaks"
