"""Drawings in SVG and in TikZ: every shape, every role, any words."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from sample_document import DOCUMENT, DRAWING, UNUSUAL

from lstmgen.declare.functions import logsigmoid
from lstmgen.derivation.drawing import CURVES, Anchor, Drawing, Label, Line, Role
from lstmgen.derivation.formats.colours import COLOURS, INK
from lstmgen.derivation.formats.svg import ALONE, STYLE, element, render
from lstmgen.derivation.formats.tikz import STYLES, tikz
from lstmgen.derivation.formula import (
    Accent,
    Angled,
    Formula,
    Number,
    Product,
    Relation,
    Sum,
    Symbol,
    Times,
    Words,
)
from lstmgen.derivation.lettering import runs
from lstmgen.derivation.picture import signs

NAMESPACE = "{http://www.w3.org/2000/svg}"


def test_every_role_has_a_look() -> None:
    assert {shape.role for shape in DRAWING.shapes} == set(Role) == set(STYLES)
    named = set(re.findall(r"\.lg-drawing (?:text|path|circle)?\.([a-z0-9-]+)", STYLE))
    assert named - {"it", "accent"} == set(Role)


def luminance(colour: str) -> float:
    parts = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted(map(luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_curves_can_be_seen_on_light_paper_and_on_dark_and_their_words_have_ink() -> None:
    for role in (*CURVES, Role.REFERENCE):
        assert min(contrast(COLOURS[role], paper) for paper in ("#ffffff", "#16181c")) >= 4.1
        assert not re.search(rf"text\.{role} *{{", STYLE)
        label = Drawing(9.0, 9.0, 12.0, (Label("bias 2", (0.0, 0.0), role),))
        assert "text=black" in tikz(label)
    for role in (Role.GATE, Role.OPERATION, Role.END):
        assert contrast(COLOURS[role], INK) >= 7


def test_svg_is_well_formed_and_words_are_words() -> None:
    root = ElementTree.fromstring(element(DRAWING, UNUSUAL))
    assert root.get("aria-label") == UNUSUAL
    assert len(root) == 1 + len(DRAWING.shapes)
    assert {"".join(each.itertext()) for each in root.iter(f"{NAMESPACE}text")} >= {UNUSUAL}
    assert not list(root.iter("b"))


def test_svg_is_self_contained_and_its_style_leaks_nowhere() -> None:
    printed = element(DRAWING, "").replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"http|url\(|@import|<script|href", printed)
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"@media[^{]*\{", "", STYLE + ALONE))
    assert all(each.strip().startswith(".lg-drawing") for rule in rules for each in rule.split(","))


def test_a_file_has_paper_and_ink_and_a_fragment_has_those_of_its_page() -> None:
    (alone, within) = (render(DOCUMENT, fragment) for fragment in (False, True))
    assert ALONE in alone and ALONE not in within
    assert ElementTree.fromstring(alone).tag == f"{NAMESPACE}svg"


def spelled(formula: Formula) -> str:
    """Runs in order: _ before what is lowered, ^ before what is raised, * before what is slanted."""
    return "".join("^ _"[1 - run.level].strip() + "*" * run.italic + run.text for run in runs(formula))


def test_times_in_angle_brackets_are_written_out() -> None:
    before = Sum((("+", Symbol("t")), ("-", Number("1"))))
    assert spelled(Symbol("c", above=(Angled(before),))) == "*c^⟨^*t^−^1^⟩"


def test_single_letters_slant_and_words_and_digits_stand() -> None:
    assert spelled(Symbol("Gamma", below=(Symbol("f"),))) == "*Γ_*f"
    assert spelled(Symbol("h", below=(Symbol("in"), Symbol("2")))) == "*h_in_,_2"


def test_signs_that_end_in_an_operator_are_lettered_as_they_stand() -> None:
    assert spelled(Relation((Product((Words("if"), Symbol("n")), Times.MATRIX), Number("0")), ("=",))) == "if *n = 0"
    assert spelled(Number("-2")) == "−2"
    assert spelled(Product((Number("2"), Symbol("sigma")), Times.SCALAR)) == "2*σ"
    assert spelled(signs.function(logsigmoid)) == "log\u2009*σ"
    assert [run.text for run in runs("·")] == ["•"]  # the sign of a matrix product: as large as the others


def test_accents_stand_clear_above_their_letters() -> None:
    """They are drawn: a combining sign sinks into a capital in most fonts."""
    for accent in (Accent.TILDE, Accent.BAR, Accent.HAT):
        label = Label(Symbol("C", accent=accent, below=(Symbol("t"),)), (0.0, 0.0), Role.NAME, Anchor.START)
        printed = element(Drawing(50.0, 50.0, 20.0, (label,)), "")
        (path,) = re.findall(r'<path class="accent" d="([^"]*)"', printed)
        places = [tuple(map(float, pair)) for pair in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]
        size = 20.0 * 0.87
        assert all(0.0 <= x <= 0.9 * size and y < -0.72 * size for x, y in places)
        assert not any("\u0300" <= letter <= "\u036f" for letter in printed)


def test_a_bend_takes_no_more_than_half_of_what_lies_between_bends() -> None:
    first, second = Line(((0.0, 0.0), (50.0, 0.0), (50.0, 3.0), (90.0, 3.0)), Role.WIRE, 6.0).bends
    assert (first.start, first.end) == ((48.5, 0.0), (50.0, 1.5))
    assert (second.start, second.end) == ((50.0, 1.5), (51.5, 3.0))


def test_tikz_defines_what_it_uses_and_nothing_more() -> None:
    line = Drawing(9.0, 9.0, 12.0, (Line(((0.0, 0.0), (9.0, 9.0)), Role.REFERENCE),))
    printed = tikz(line)
    assert set(re.findall(r"lg-([a-z0-9-]+)", printed)) == {Role.REFERENCE}
    assert printed.count("/.style") == 2  # of nodes, and of the role
