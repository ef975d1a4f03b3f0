"""What is printed is what is computed: every printed formula, read back as numbers, has the calculus' values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lstmgen import deriving, pipeline, plugins
from lstmgen.api import cell, where
from lstmgen.calculus.interpreter import Interpreter
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.calculus.rules import VJP
from lstmgen.declare import functions
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Operation, ShapeMistake
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.document import Derived, Document, Equation
from lstmgen.derivation.formula import Column, Derivative, Formula, Relation, Several, Symbol
from lstmgen.derivation.narration import narrate
from lstmgen.derivation.notation import Notation
from lstmgen.derivation.notations.ad import ad
from lstmgen.derivation.notations.code import code
from lstmgen.derivation.notations.greff import greff
from lstmgen.derivation.notations.ng import ng
from lstmgen.derivation.notations.olah import olah
from lstmgen.derivation.notations.standard import standard
from lstmgen.derivation.notations.torch import torch
from lstmgen.derivation.notations.words import words
from lstmgen.derivation.outline import outline
from lstmgen.derivation.page import Page, open_page
from lstmgen.finding import find_cell
from lstmgen.verify.sample import draw
from tests.formula_values import Named, elementwise, value_of
from tests.plain_formulas import plain

NOTATIONS = [standard, olah, torch, ng, greff, words, ad, code]
CELLS = [plugin.name for plugin in plugins.available("cells") if plugin.packages == ("lstmgen",)]
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CELLS),
    ("lstm", {"peephole": True}),
    ("lstm", {"coupled": True}),
    ("gru", {"reset": "before"}),
    ("lstm_layernorm", {"variant": "per_gate"}),
    ("rnn", {"activation": "relu"}),
]


def known_values(page: Page) -> dict[Formula, Named]:
    """The values of all symbols and adjoints of one step and row, by their formulas, as the interpreter finds them."""
    gradient = page.gradient
    sample = draw(gradient, steps=1, rows=1)
    (primal,) = sample.trajectory.steps
    adjoint = Interpreter(gradient.adjoint, sample.sizes, gradient.primal.dependence())
    free = {value: array for value, array in primal.items() if value in set(gradient.adjoint.free)}
    for seed in gradient.seeds:
        of_loss = seed.origin is Origin.LOSS
        free[seed.adjoint] = sample.d_outputs[seed.of.name][0] if of_loss else sample.d_final[seed.of.name]
    interpreter = Interpreter(gradient.primal, sample.sizes)

    def named(value: Value, array: Any, rows: bool) -> Named:
        return Named(value.dims, np.asarray(array[0] if rows else array))

    found = {}
    for value, array in primal.items():
        if value not in page.telling.inline:
            found[page.write(value)] = named(value, array, interpreter.has_rows(value))
    adjoints = adjoint(free, 1)
    for value, array in adjoints.items():
        if value in page.write.adjoints:
            found[page.write(value)] = named(value, array, adjoint.has_rows(value))
    for told in page.telling.backward:  # a term of a sum that has no name has the sum's adjoint
        symbol = gradient.adjoints[told.value]
        if told.borrowed and symbol in page.telling.inline:
            found[page.own_adjoint(told.value)] = named(symbol, adjoints[symbol], adjoint.has_rows(symbol))
    for bias, paired in page.write.paired.items():
        whole = found[page.write(bias)] = named(bias, primal[bias], False)
        parts = np.linspace(0.2, 0.8, len(paired.stems))
        for stem, part in zip(paired.stems, parts / parts.sum(), strict=True):
            found[page.write.stem(stem)] = Named(bias.dims, part * whole.array)
            found[page.write.names.adjoint(bias, page.write.stem(stem))] = found[page.own_adjoint(bias)]
    for joined in page.write.joined.values():
        blocks = [found[page.write(weight)].array for weight in joined.weights]
        found[page.write.stem(joined.matrix)] = Named(("hidden", "joined"), np.concatenate(blocks, axis=1))
    for size in (value for value in gradient.primal.free if value.role == Role.SIZE):
        found[page.write(size)] = Named((), np.asarray(float(sample.sizes[size.name])))
    return found


def agree(found: Named, expected: Named, what: Formula) -> None:
    """Both have the same entries; what has fewer dimensions is spread."""
    both = elementwise(lambda a, b: np.stack(np.broadcast_arrays(a, b)), expected, found).array
    np.testing.assert_allclose(both[1], both[0], rtol=1e-9, atol=1e-12, err_msg=plain(what))


def check(document: Document, known: dict[Formula, Named]) -> int:
    """Every equation of the document that defines what is known; how many there were."""
    checked = 0
    for section in document.sections:
        for block in section.blocks:
            if isinstance(block, Derived):
                check_steps(block, known)
                block = block.result
            for relation in relations_of(block) if isinstance(block, Equation) else ():
                left, *_, right = relation.sides
                if isinstance(left, Symbol) and isinstance(right, Column):
                    known[left] = value_of(right, known)  # letters of the matrix form
                    known.setdefault(Derivative(Symbol("L"), left), stacked_adjoints(right, known))
                elif isinstance(left, Derivative) and isinstance(right, Column):
                    known[left] = value_of(right, known)
                elif left in known and block.evidence:
                    for side in relation.sides[:-1]:
                        agree(value_of(right, known), known[side], relation)
                    checked += 1
    return checked


def relations_of(equation: Equation) -> tuple[Relation, ...]:
    """The relations that an equation prints, beside each other or alone."""
    match equation.formula:
        case Several(relations):
            return relations
        case Relation() as relation:
            return (relation,)
    return ()


def stacked_adjoints(column: Column, known: dict[Formula, Named]) -> Named:
    """The adjoints of what lies one below the other, one below the other."""
    entries = tuple(Derivative(Symbol("L"), entry) for entry in column.entries)
    return value_of(Column(entries), known) if all(entry in known for entry in entries) else Named((), np.zeros(()))


def check_steps(derived: Derived, known: dict[Formula, Named]) -> None:
    """The local derivatives put into the chain rule give the adjoint; before and after simplification."""
    local = dict(known)
    relations = [relation for step in derived.steps for relation in relations_of(step)]
    for relation in relations:
        if isinstance(relation.sides[0], Derivative) and relation.sides[0] not in known:
            first, *rest = (value_of(side, known) for side in relation.sides[1:])
            for other in rest:
                agree(first, other, relation)
            local[relation.sides[0]] = first
    result = derived.result.formula
    assert isinstance(result, Relation)
    for relation in relations:
        if relation.sides[0] == result.sides[0]:
            agree(value_of(relation.sides[1], local), value_of(result.sides[1], known), relation)


def gradient_of(name: str, options: dict[str, Any] | None = None) -> Gradient:
    return pipeline.derive_gradient(find_cell(name), options or {})


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=lambda each: str(each))
def test_every_printed_equation_has_the_values_of_the_calculus(name: str, options: dict[str, Any]) -> None:
    derivation = narrate(gradient_of(name, options))
    known = known_values(open_page(derivation, standard))
    checked = check(outline(derivation, standard), known)
    assert checked >= len(derivation.sums) + len(derivation.gradient.declaration.states)


@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("name", ["lstm", "gru", "slstm", "lstm_layernorm"])
def test_every_notation_prints_the_same_values(name: str, notation: Notation) -> None:
    derivation = narrate(gradient_of(name))
    document = outline(derivation, notation)
    known = known_values(open_page(derivation, notation))
    kept = [section for section in document.sections if section.name != "matrix"]
    assert check(Document("", "", (), tuple(kept)), known) > len(derivation.sums)


def subclasses(kind: type) -> set[type]:
    return {each for child in kind.__subclasses__() for each in (child, *subclasses(child))}


def an_operation(kind: type[Operation]) -> Operation:
    """An instance of an operation, over values that fit."""
    matrix, vector = Value("A", ("value", "key")), Value("v", ("key",))
    attempts: list[tuple[Any, ...]] = [
        (matrix, vector, (0, 1), (1,), (0,)),
        ((vector,), 0, "", 1e-5),
        ((vector,), 0, ""),
        (matrix, vector),
        (matrix, "joined"),
        (vector, "key"),
        (matrix,),
    ]
    if kind.__name__ == "Unflatten":
        attempts = [(vector, functions.sympy.Tuple(*map(functions.sympy.core.symbol.Str, ("a", "b"))))]
    for arguments in attempts:
        try:
            made = kind(*arguments)
            made.shape([value.dims for value in made.values])
        except (TypeError, ValueError, IndexError, AttributeError, ShapeMistake):
            continue
        return made
    raise AssertionError(f"no instance of {kind.__name__}")


def test_conditions_are_printed_with_their_brackets() -> None:
    @cell("conditions")
    def conditions(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h", "features")
        a = eq.let("a", where(((x > 0) | (h_prev > 0)) & (x < 1), x, h_prev))
        b = eq.let("b", where(~((x > 0) & (h_prev > 0)), 1, 0))
        eq.output(eq.next("h", a * b))

    printed = " ".join(deriving.derive(conditions, standard, {}).render("text", part="forward").split())
    assert "xₜ if (xₜ < 1) ∧ ((hₜ₋₁ > 0) ∨ (xₜ > 0)); hₜ₋₁ otherwise" in printed
    assert "1_{(hₜ₋₁≤0)∨(xₜ≤0)}" in printed
    assert "∧ is read as “and”, ∨ as “or”." in printed
    assert "no gradient goes back through it" in printed


def test_every_function_and_every_operation_has_a_formula() -> None:
    write = open_page(narrate(gradient_of("lstm")), standard).write
    x, y = Value("x", ("hidden",)), Value("y", ("hidden",))
    for kind, definition in DEFINITIONS.items():
        arguments = [x > 0, x, y] if kind is functions.where else [x, y, 1][: definition.arguments]
        assert "\\" not in plain(write(kind(*arguments)))
    kinds = {kind for kind in subclasses(Operation) if not kind.__name__.startswith(("_", "Normalization"))}
    assert {*VJP, Contract} <= kinds
    for kind in kinds:
        assert plain(write(an_operation(kind)))
