"""Documents as text for a terminal: brackets, breaks, alignment."""

from __future__ import annotations

import pytest
from sample_document import DOCUMENT, LISTING, LONG, NODES, SUMS, UNUSUAL, affine, at, function, matrix, plus, product

from lstmgen.derivation.document import Document, Table
from lstmgen.derivation.formats.breaking import rows, spread
from lstmgen.derivation.formats.measure import piece_width
from lstmgen.derivation.formats.pieces import pieces
from lstmgen.derivation.formats.plain import line, plain
from lstmgen.derivation.formats.text import WIDTH, columns, render
from lstmgen.derivation.formula import (
    Angled,
    Delta,
    Derivative,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Row,
    Several,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
)

a, b, c = Symbol("a"), Symbol("b"), Symbol("c")
RAISED, LATER = Symbol("a", above=(Symbol("t"),)), Symbol("L", above=(Number("+"),))
LONG_SUM = plus(*(Symbol("x", below=(Number(str(number)),)) for number in range(6)))


def minus(*terms: Formula) -> Sum:
    return Sum((("+", terms[0]), *(("-", term) for term in terms[1:])))


@pytest.mark.parametrize(
    ("formula", "printed"),
    [
        (product(plus(a, b), c), "(a + b) ⊙ c"),
        (plus(product(a, b), c), "a ⊙ b + c"),
        (minus(a, minus(b, c)), "a − (b − c)"),
        (plus(a, minus(b, c)), "a + b − c"),
        (minus(a, Number("-2")), "a − (−2)"),
        (minus(a, product(Number("-2"), b, times=Times.SCALAR)), "a − (−2 b)"),
        (product(a, product(b, c)), "a ⊙ b ⊙ c"),
        (product(a, product(b, c, times=Times.MATRIX), times=Times.MATRIX), "a b c"),
        (product(a, product(b, c), times=Times.MATRIX), "a (b ⊙ c)"),
        (product(product(a, b, times=Times.MATRIX), c), "(a b) ⊙ c"),
        (product(product(Number("2"), a, times=Times.SCALAR), c), "2 a ⊙ c"),
        (product(a, Fraction(Number("1"), b)), "a ⊙ (1 / b)"),
        (Fraction(plus(a, b), product(a, b)), "(a + b) / (a ⊙ b)"),
        (Power(Power(a, Number("2")), Number("3")), "(a²)³"),
        (Power(Number("-1"), Number("2")), "(−1)²"),
        (Transposed(Power(a, Number("2"))), "(a²)ᵀ"),
        (plus(a, Total(b, c)), "a + Σ_c b"),
        (plus(Total(b, c), a), "Σ_c b + a"),
        (product(Total(b, c), a), "(Σ_c b) ⊙ a"),
        (Total(product(a, b), c), "Σ_c a ⊙ b"),
        (Sum((("-", plus(a, b)), ("+", c))), "−(a + b) + c"),
        (Delta(RAISED), "δa^t"),
        (Derivative(LATER, RAISED), "∂L⁺/∂a^t"),
        (Derivative(plus(a, b), Power(a, b)), "∂(a + b)/∂(a^b)"),
        (Power(RAISED, Number("2")), "(a^t)²"),
        (Transposed(Delta(a)), "(δa)ᵀ"),
        (Symbol("L", above=(Angled(Symbol("t")), Number("+"))), "L^{⟨t⟩,+}"),
    ],
)  # fmt: skip
def test_brackets_stand_where_precedence_asks_for_them(formula: Formula, printed: str) -> None:
    assert plain(formula) == printed


def test_subscripts_are_small_letters_only_where_all_of_them_are() -> None:
    assert plain(at("c")) == "cₜ"
    assert plain(matrix("W", "f")) == "W_f"
    assert plain(matrix("W", "i")) == "W_i"  # there is a small i, but W_f would look different
    assert plain(at("a", "f")) == "a_{f,t}"


@pytest.mark.parametrize("limit", [10.0, 18.0, 30.0, 200.0])
@pytest.mark.parametrize("formula", [LONG, *NODES])
def test_a_broken_formula_loses_nothing(formula: Formula, limit: float) -> None:
    broken = rows(formula, limit, piece_width, 2.0)
    kept = line((*broken.head, *(piece for row in broken.rows for piece in row)))
    assert kept == line(pieces(formula))


def test_a_formula_is_broken_at_its_outermost_signs() -> None:
    broken = rows(LONG, 30.0, piece_width, 2.0)
    assert [line(row).strip()[:4] for row in broken.rows] == ["= U_", "+ U_", "+ U_", "+ U_"]


def test_relations_stand_beside_each_other_where_there_is_room() -> None:
    one = pieces(SUMS.relations[0])
    whole = sum(map(piece_width, pieces(SUMS)))
    assert spread(SUMS, whole, piece_width) == (SUMS,)
    halves = spread(SUMS, whole - 1, piece_width)
    assert halves == (Several(SUMS.relations[:2]), Several(SUMS.relations[2:])), "as many in each row"
    assert spread(SUMS, sum(map(piece_width, one)) / 2, piece_width) == SUMS.relations
    assert line(pieces(SUMS)) == "    ".join(line(pieces(each)) for each in SUMS.relations)


def test_a_fraction_that_no_row_has_room_for_is_torn_at_its_stroke() -> None:
    wide = plus(*(Symbol("x", below=(Number(str(number)),)) for number in range(20)))
    broken = rows(Fraction(wide, product(a, Fraction(b, c))), 20.0, piece_width, 2.0, inline=True)
    printed = "".join(line(row) for row in broken.rows)
    assert broken.broken
    assert printed.startswith("(x₀ + x₁ + ")
    assert printed.endswith(" + x₁₉) / (a ⊙ (b / c))")


@pytest.mark.parametrize(
    ("formula", "printed"),
    [
        (Total(product(LONG_SUM, b), Symbol("t")), ["Σ_t (x₀ + x₁ + x₂", "+ x₃ + x₄ + x₅)", "⊙ b"]),
        (function("tanh", LONG_SUM), ["tanh(x₀ + x₁ + x₂", "+ x₃ + x₄ + x₅)"]),
        (Row((a, LONG_SUM, b)), ["[a, x₀ + x₁ + x₂", "+ x₃ + x₄ + x₅, b]"]),
    ],
)
def test_what_no_row_has_room_for_is_torn_within_its_brackets(formula: Formula, printed: list[str]) -> None:
    broken = rows(formula, 8.0, piece_width, 0.0)
    assert [line(row).strip() for row in broken.rows] == printed


WIDE = plus(*(Symbol("x", below=(Number(str(number)),)) for number in range(20)))


@pytest.mark.parametrize(
    ("formula", "begins", "ends"),
    [
        (Total(WIDE, c), "Σ_c (x₀ + x₁ + ", " + x₁₉)"),
        (Total(Total(WIDE, b), c), "Σ_c Σ_b (x₀ + x₁ + ", " + x₁₉)"),
        (function("sigma", WIDE), "σ(x₀ + x₁ + ", " + x₁₉)"),
        (function("max", a, WIDE), "max(a, x₀ + x₁ + ", " + x₁₉)"),
        (product(a, function("sigma", Total(WIDE, c))), "a ⊙ σ(Σ_c (x₀ + x₁ + ", " + x₁₉))"),
    ],
)
def test_totals_and_calls_that_no_row_has_room_for_are_broken_inside(formula: Formula, begins: str, ends: str) -> None:
    broken = rows(formula, 20.0, piece_width, 2.0, inline=True)
    printed = "".join(line(row) for row in broken.rows)
    assert printed == plain(formula)
    assert printed.startswith(begins) and printed.endswith(ends)
    assert all(sum(map(piece_width, row)) <= 20.0 for row in broken.rows)


def test_a_formula_in_a_table_is_broken_as_one() -> None:
    table = Table((), (((Relation((a, WIDE), ("=",)),), ("words",)),))
    printed = render(Document("", "", (table,), ()), fragment=True).splitlines()
    assert printed[0].startswith("  a = x₀ + x₁") and printed[0].endswith("words")
    assert printed[1].startswith("        + x")


def test_no_formula_is_wider_than_the_terminal() -> None:
    listed = {f"  {number + 1}  {code}".rstrip() for number, code in enumerate(LISTING.lines)}
    wide = [each for each in render(DOCUMENT).splitlines() if columns(each) > WIDTH and each not in listed]
    assert not wide


def test_equations_are_aligned_and_numbered() -> None:
    lines = render(DOCUMENT).splitlines()
    forward = [each for each in lines if each.startswith("  (") and " = " in each][:5]
    assert [each.split(")")[0].strip(" (") for each in forward] == ["1", "2", "3", "4", "5"]
    assert len({columns(each[: each.index(" = ")]) for each in forward}) == 1
    assert forward[0] == "  (1)  fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)   forget gate, in [0, 1]"


def test_what_comes_from_where_is_said_if_it_is_there() -> None:
    printed = render(DOCUMENT)
    assert "from (4), (5); lines 2, 3 of the listing" in printed
    assert "eq-of-another-part" not in printed


def test_users_words_stand_as_they_are() -> None:
    assert UNUSUAL in render(DOCUMENT)
    assert not render(DOCUMENT, fragment=True).startswith(DOCUMENT.title)


def test_a_call_of_a_sum_has_one_pair_of_brackets() -> None:
    assert plain(function("sigma", affine("f"))) == "σ(W_f xₜ + U_f hₜ₋₁ + b_f)"
    assert plain(Product((a, b), Times.CONTRACTION)) == "contract(a, b)"
