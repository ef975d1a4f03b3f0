"""The worked example: its gradients are the differences beside them, and its lines say what the calculus computes."""

from __future__ import annotations

from functools import cache, reduce
from typing import Any

import numpy as np
import pytest

from lstmgen import plugins
from lstmgen.api import cell, relu, sigmoid, sqrt, stop_gradient, tanh
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.derivation.document import Paragraph, Section, Table
from lstmgen.derivation.example import STEPS, Example, smallest_sizes, work_out
from lstmgen.derivation.formats.plain import plain
from lstmgen.derivation.formula import (
    Call,
    Cases,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Size,
    Style,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
)
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.numbers import added, found_in, put_in, rounded, written
from lstmgen.derivation.translate import function_symbol
from lstmgen.derivation.worked import section
from lstmgen.finding import find_cell, find_notation
from lstmgen.pipeline import derive_gradient

CELLS = [each.name for each in plugins.available("cells")]


Array = np.ndarray[Any, Any]


def derivation_of(name: Any) -> Derivation:
    return narrate(derive_gradient(find_cell(name), {}))


def worked_out(gradient: Gradient) -> Example:
    """The example of a cell that has one."""
    found = work_out(gradient)
    assert found is not None
    return found


@cache
def section_of(name: str, notation: str = "standard") -> Section:
    return section(derivation_of(name), find_notation(notation))


def lines_of(found: Section) -> list[Relation]:
    """Every line of the example that computes something: those of both steps and of the sums over them."""
    tables = [block for block in found.blocks if isinstance(block, Table) and len(block.rows[0]) == 1]
    cells = [cell for table in tables for row in table.rows for cell in row]
    return [line for (line,) in cells if isinstance(line, Relation)]


FUNCTIONS = {function_symbol(kind): each.evaluate for kind, each in DEFINITIONS.items() if each.evaluate} | {
    Symbol("log", Style.UPRIGHT): np.log
}


def value_of(formula: Formula) -> Array:
    """What a reader with a pocket calculator makes of a formula of numbers."""
    match formula:
        case Number(text):
            return np.asarray(float(text))
        case Row(entries):
            return np.array([value_of(each) for each in entries])
        case Sum(terms):
            return sum(value_of(term) * (-1 if sign == "-" else 1) for sign, term in terms)
        case Product(factors, times):
            return reduce(np.dot if times in (Times.MATRIX, Times.AT) else np.multiply, map(value_of, factors))
        case Total(of):
            return np.sum(value_of(of))
        case Transposed(of):
            return value_of(of).T
        case Fraction(above, below):
            return value_of(above) / value_of(below)
        case Power(base, exponent):
            return value_of(base) ** np.round(value_of(exponent))  # whole, also where the test below has moved it
        case Root(of):
            return value_of(of) ** 0.5
        case Size(of):
            return np.abs(value_of(of))
        case Call(function, arguments):
            return FUNCTIONS[function](*map(value_of, arguments))
        case Symbol("1", below=(condition,)):
            return holds(condition).astype(float)
        case Cases(((value, Relation() as condition), (other, None))):
            return np.where(holds(condition), value_of(value), value_of(other))
    raise AssertionError(f"not a number: {plain(formula)}")


def rounding_of(formula: Formula, value: Array) -> Array:
    """By how much the value of a formula can be wrong because its numbers are rounded to four digits."""
    numbers = found_in(formula, lambda part: isinstance(part, Number))
    texts = {each.text for each in numbers if isinstance(each, Number)}
    moved = [put_in(formula, {Number(text): Number(repr(float(text) * (1 + SLACK)))}) for text in texts]
    return 1e-9 + sum(np.abs(value_of(each) - value) for each in moved)


SLACK = 5e-4  # half of the last of four digits, of the smallest number that has them


def holds(condition: Formula) -> Array:
    assert isinstance(condition, Relation)
    (left, right), (sign,) = map(value_of, condition.sides), condition.signs
    compare = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal, "=": np.equal}[sign]
    return np.asarray(compare(left, right))


@pytest.mark.parametrize("name", CELLS)
def test_every_cells_gradients_agree_with_the_differences(name: str) -> None:
    example = worked_out(derive_gradient(find_cell(name), {}))
    gradients = np.array([each.gradient for each in example.entries])
    differences = np.array([each.difference for each in example.entries])
    assert np.allclose(gradients, differences, rtol=1e-5, atol=1e-6)
    assert np.mean(np.abs(gradients) > 1e-5) > 0.8, "hardly anything reaches the loss"


def test_an_example_is_as_small_as_works() -> None:
    def sizes(name: str) -> dict[str, int]:
        gradient = derive_gradient(find_cell(name), {})
        return smallest_sizes(gradient.declaration, gradient.primal)

    assert sizes("lstm") == {"features": 1, "hidden": 1}
    assert sizes("lstm_layernorm") == {"features": 1, "hidden": 2}


def test_every_quantity_has_a_line_at_every_step() -> None:
    found = section_of("lstm")
    tables = [block for block in found.blocks if isinstance(block, Table)]
    given, *steps, sums, gradients = tables
    # The adjoint of tanh(c) stands in that of c, which puts all its numbers in: it needs no line.
    assert [len(each.rows) for each in steps] == [11] * STEPS + [13] * STEPS
    assert len(sums.rows) == 12
    assert len(gradients.rows) == 12 + STEPS + 2
    assert len([cell for row in given.rows for cell in row if cell != ("",)]) == 12 + 2 + STEPS
    assert isinstance(found.blocks[0], Paragraph) and found.name == "example"


@pytest.mark.parametrize("name", CELLS)
def test_the_numbers_of_a_line_give_its_value(name: str) -> None:
    lines = [line for line in lines_of(section_of(name)) if len(line.sides) == 3]
    assert lines
    for line in lines:
        _, counted, value = line.sides
        found, expected = value_of(counted), value_of(value)
        assert np.all(np.abs(found - expected) <= rounding_of(counted, found) + SLACK * np.abs(expected)), plain(line)


def test_what_serves_both_steps_is_computed_once_and_its_gradients_are_added() -> None:
    lines = [plain(line) for line in lines_of(section_of("unicornn"))]
    assert [each for each in lines if each.startswith("s = ")] == ["s = 0.03 · 0.7311 ≈ 0.02193"]
    (total,) = (each for each in lines if each.startswith("∂L/∂s = "))
    assert total.startswith("∂L/∂s = 2.000 · 0.2361 + 1 · 0.2401 + ") and total.endswith(" ≈ 0.6743")
    (parameter,) = (each for each in lines if each.startswith("∂L/∂c = "))
    assert "0.6743" in parameter


def test_raised_numbers_are_told_from_powers() -> None:
    def introduction(notation: str) -> str:
        first = section_of("lstm", notation).blocks[0]
        assert isinstance(first, Paragraph)
        return str(first.pieces[-1])

    assert "no power" in introduction("greff")
    assert "no power" not in introduction("standard")


@pytest.mark.parametrize("name", CELLS)
def test_a_line_in_place_is_referred_to(name: str) -> None:
    """What has no name of its own has a line only where its number is put in as a whole."""
    lines = lines_of(section_of(name))
    numbers = {plain(line.sides[-1]) for line in lines}
    unnamed = [line for line in lines if isinstance(line.sides[0], Product | Sum | Call | Power | Root | Size)]
    for line in unnamed:
        assert len(line.sides) == 3 or plain(line.sides[-1]) in numbers


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("standard", ["h₀ = 0.75", "x₂ = 1", "c₁ ≈ −0.2818", "∂L/∂c₁ ≈ 0.9469"]),
        ("ng", ["a^⟨0⟩ = 0.75", "x^⟨2⟩ = 1", "c^⟨1⟩ ≈ −0.2818"]),
        ("greff", ["y⁰ = 0.75", "x² = 1", "c¹ ≈ −0.2818"]),
        ("code", ["h_prev = 0.75", "x = 1", "c ≈ −0.2818", "d_c ≈ 0.9469"]),
    ],
)
def test_names_have_the_number_of_their_step(notation: str, expected: list[str]) -> None:
    found = section_of("lstm", notation)
    given = next(block for block in found.blocks if isinstance(block, Table))
    relations = [piece for row in given.rows for cell in row for piece in cell if isinstance(piece, Relation)]
    shown = {
        plain(Relation((line.sides[0], line.sides[-1]), (line.signs[-1],))) for line in (*relations, *lines_of(found))
    }
    assert set(expected) <= shown
    assert not [each for each in shown if "ₜ" in each or ",t}" in each or "⟨t" in each or "^t" in each]


def test_code_says_in_words_which_step_a_name_is_of() -> None:
    gradients = [block for block in section_of("lstm", "code").blocks if isinstance(block, Table)][-1]
    assert [cell[-1] for cell, *_ in gradients.rows[-4:]] == [" at step 1", " at step 2", " at step 1", " at step 1"]


def test_the_numbers_keep_clear_of_kinks_and_hold_what_is_held() -> None:
    @cell("kinked")
    def kinked(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.let("a", eq.parameter("w", "hidden", "features") @ x + h_prev)
        held = stop_gradient(tanh(a * eq.parameter("v", "hidden")))
        eq.output(eq.next("h", relu(a) + tanh(a) * held))

    entries = {each.of.name: each for each in worked_out(derive_gradient(kinked, {})).entries}
    assert entries["v"].gradient == entries["v"].difference == 0.0
    assert entries["w"].gradient == pytest.approx(entries["w"].difference, rel=1e-6)


def test_a_state_that_is_held_has_the_difference_that_its_gradient_says() -> None:
    @cell("holding")
    def holding(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        g = eq.let("g", sigmoid(eq.affine("g", W=x)), "gate")
        h = eq.next("h", g * stop_gradient(h_prev) + (1 - g) * tanh(eq.affine("h", W=x, U=h_prev)))
        eq.output(h)

    found = worked_out(derive_gradient(holding, {}))
    assert found.holds and not worked_out(derive_gradient(find_cell("lstm"), {})).holds
    for each in found.entries:
        assert each.gradient == pytest.approx(each.difference, rel=1e-6), each.of.name
    told = section(narrate(derive_gradient(holding, {})), find_notation("standard"))
    assert any("within constant( ) held" in str(block.pieces) for block in told.blocks if isinstance(block, Paragraph))


def test_a_cell_that_no_example_suits_is_told_so() -> None:
    @cell("narrow")
    def narrow(eq: Any) -> None:
        """Defined where the input is larger than any number of an example."""
        x, h_prev = eq.input("x"), eq.state("h", "features")
        eq.output(eq.next("h", sqrt(x**2 - 2) + h_prev / 2))

    assert work_out(derive_gradient(narrow, {})) is None
    (block,) = section(narrate(derive_gradient(narrow, {})), find_notation("standard")).blocks
    assert isinstance(block, Paragraph) and "There is none" in str(block.pieces)


def test_what_is_given_besides_the_input_is_never_negative() -> None:
    for name in ("cfc", "lstm_zoneout", "lstm_dropout"):
        gradient = derive_gradient(find_cell(name), {})
        others = {value.name for value in gradient.declaration.inputs[1:]}
        assert others
        assert all(each.given >= 0 for each in worked_out(gradient).entries if each.of.name in others)


def test_equal_cells_give_equal_examples() -> None:
    assert section_of("gru") == section_of("gru")


def test_numbers_as_they_are_written() -> None:
    assert rounded(0.62249) == Number("0.6225")
    assert rounded(0.0) == Number("0")
    assert rounded(2.5e-7) == Product((Number("2.50"), Power(Number("10"), Number("-7"))), Times.NUMBERS)
    assert written(np.array([[1.0, -0.5]])) == Row((Row((Number("1"), Number("-0.5"))),))


def test_numbers_put_in_for_symbols() -> None:
    x, w = Symbol("x"), Symbol("w")
    values = {x: Number("-0.5"), w: Number("2")}
    assert put_in(Product((Transposed(w), x), Times.MATRIX), values) == Product(
        (Number("2"), Number("-0.5")), Times.NUMBERS
    )
    assert put_in(Sum((("+", w), ("+", x))), values) == Sum((("+", Number("2")), ("-", Number("0.5"))))
    assert put_in(Sum((("+", w), ("-", x))), values) == Sum((("+", Number("2")), ("+", Number("0.5"))))
    assert put_in(Sum((("-", w),)), values) == Number("-2")
    untouched = Product((Symbol("a"), Symbol("b")), Times.MATRIX)
    assert put_in(untouched, values) == untouched


def test_a_name_keeps_its_index_and_an_indicator_its_condition_gets_numbers() -> None:
    x, w = Symbol("x"), Symbol("w")
    values = {x: Number("-0.5"), w: Number("2")}
    assert put_in(Symbol("a", below=(x,)), values) == Symbol("a", below=(x,))
    condition, counted = Relation((x, w), (">",)), Relation((values[x], values[w]), (">",))
    assert put_in(Symbol("1", below=(condition,)), values) == Symbol("1", below=(counted,))
    assert found_in(Symbol("a", below=(x,)), values.__contains__) == ()
    assert found_in(Symbol("1", below=(condition,)), values.__contains__) == (x, w)


def test_a_sum_over_one_index_is_what_it_is_of() -> None:
    x, k = Symbol("x"), Symbol("k")
    values = {x: Number("2")}
    assert put_in(Total(x, k), values, single={k}) == Number("2")
    assert put_in(Total(x, k), values) == Total(Number("2"), k)


def test_the_largest_part_that_has_a_value_is_found() -> None:
    x, w = Symbol("x"), Symbol("w")
    product = Product((x, w), Times.ELEMENTWISE)
    assert found_in(Sum((("+", product), ("-", x))), {product, w, x}.__contains__) == (product, x)


def test_added_numbers_have_one_sign_each() -> None:
    product = Product((Number("-2"), Number("3")), Times.NUMBERS)
    assert plain(added((Number("-1"), product, Number("4")))) == "−1 − 2 · 3 + 4"
