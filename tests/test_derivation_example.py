"""The worked example: its gradients are the differences beside them, and its lines say what the calculus computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from formulas_for_tests import equation_translator, name_of

from lstmgen import plugins
from lstmgen.api import cell, relu, stop_gradient, tanh
from lstmgen.derivation.document import Paragraph, Section, Table
from lstmgen.derivation.example import STEPS, section, smallest_sizes, work_out
from lstmgen.derivation.formula import Number, Power, Product, Relation, Row, Sum, Symbol, Times, Transposed
from lstmgen.derivation.narration import Derivation, narrate
from lstmgen.derivation.numbers import put_in, rounded, written
from lstmgen.finding import find_cell
from lstmgen.pipeline import derive_gradient

CELLS = [each.name for each in plugins.available("cells")]


def derivation_of(name: Any) -> Derivation:
    return narrate(derive_gradient(find_cell(name), {}))


def section_of(name: str) -> Section:
    told = derivation_of(name)
    return section(told, name_of, equation_translator(told.inlined_forward | told.inlined_backward))


@pytest.mark.parametrize("name", CELLS)
def test_every_cells_gradients_agree_with_the_differences(name: str) -> None:
    example = work_out(derive_gradient(find_cell(name), {}))
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


def test_every_equation_has_a_line_at_every_step() -> None:
    told, found = derivation_of("lstm"), section_of("lstm")
    tables = [block for block in found.blocks if isinstance(block, Table)]
    given, *steps, gradients = tables
    assert [len(each.rows) for each in steps] == [11] * STEPS + [len(told.backward)] * STEPS
    assert len(gradients.rows) == 12 + STEPS + 2
    assert len([cell for row in given.rows for cell in row if cell != ("",)]) == 12 + 2 + 1
    assert isinstance(found.blocks[0], Paragraph) and found.name == "example"


def test_a_line_shows_the_numbers_that_give_its_value() -> None:
    """The last line of the forward pass, evaluated again by hand, gives its own value to the digits shown."""
    found = section_of("lstm")
    tables = [block for block in found.blocks if isinstance(block, Table)]
    (((line,),),) = (tables[1].rows[-1],)
    assert isinstance(line, Relation)
    target, product, value = line.sides
    assert target == name_of(derivation_of("lstm").gradient.declaration.states[0].next)
    assert isinstance(product, Product) and product.times is Times.NUMBERS and isinstance(value, Number)
    factors = [float(each.text) for each in product.factors if isinstance(each, Number)]
    assert np.prod(factors) == pytest.approx(float(value.text), abs=2e-4)


def test_the_numbers_keep_clear_of_kinks_and_hold_what_is_held() -> None:
    @cell("kinked")
    def kinked(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.let("a", eq.parameter("w", "hidden", "features") @ x + h_prev)
        held = stop_gradient(tanh(a * eq.parameter("v", "hidden")))
        eq.output(eq.next("h", relu(a) + tanh(a) * held))

    entries = {each.of.name: each for each in work_out(derive_gradient(kinked, {})).entries}
    assert entries["v"].gradient == entries["v"].difference == 0.0
    assert entries["w"].gradient == pytest.approx(entries["w"].difference, rel=1e-6)


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
    untouched = Product((Symbol("a"), Symbol("b")), Times.MATRIX)
    assert put_in(untouched, values) == untouched
