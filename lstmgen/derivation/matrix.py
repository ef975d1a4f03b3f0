"""The matrix form: all gates that read the same vectors at once, as the kernels compute them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lstmgen.calculus.graph import Dependence
from lstmgen.calculus.operations import Contract
from lstmgen.declare.declaration import Equation as CellEquation
from lstmgen.declare.symbols import Value
from lstmgen.derivation.affine import AffineMap, affine_maps
from lstmgen.derivation.backward import beside, contribution
from lstmgen.derivation.document import Block, Equation, Paragraph, Section
from lstmgen.derivation.formula import (
    Accent,
    Column,
    Delta,
    Derivative,
    Formula,
    Number,
    Product,
    Relation,
    Style,
    Sum,
    Symbol,
    Total,
    Transposed,
)
from lstmgen.derivation.naming import at_time, time
from lstmgen.derivation.notation import Adjoints
from lstmgen.derivation.page import Page, listed
from lstmgen.derivation.telling import Told, Way


@dataclass(frozen=True)
class _Stack:
    """Affine maps of the same operands. ``letters`` name what lies one below the other, a letter an operand."""

    members: tuple[AffineMap, ...]
    operands: tuple[Value, ...]
    index: str

    @property
    def biased(self) -> bool:
        return all(each.bias is not None for each in self.members)

    @property
    def targets(self) -> tuple[Value, ...]:
        return tuple(each.equation.target for each in self.members)

    def weights(self, operand: Value) -> tuple[Value, ...]:
        return tuple(each.weights[each.operands.index(operand)] for each in self.members)


def matrix_section(page: Page) -> Section:
    """Every group of gates that read the same vectors, forward and backward."""
    stacks = _stacks(page)
    blocks: list[Block] = []
    if not stacks:
        blocks.append(
            Paragraph(
                ("No two sums of this cell are made of products with the same vectors: none have a stacked form.",)
            )
        )
    for stack in stacks:
        blocks += _forward(page, stack)
        blocks += _backward(page, stack)
    return Section("matrix", "All gates at once", tuple(blocks))


def _stacks(page: Page) -> list[_Stack]:
    groups: dict[tuple[Value, ...], list[AffineMap]] = {}
    for each in affine_maps(page.gradient.primal).values():
        if not each.rest and len(set(each.operands)) == len(each.operands):
            groups.setdefault(each.operands, []).append(each)
    several = [(operands, members) for operands, members in groups.items() if len(members) > 1]
    return [
        _Stack(tuple(members), operands, str(index) if len(several) > 1 else "")
        for index, (operands, members) in enumerate(several, 1)
        if all(each.equation.target in page.gradient.adjoints for each in members)
    ]


def _forward(page: Page, stack: _Stack) -> Iterator[Block]:
    matrix = page.notation.matrix
    definitions: list[Formula] = [_defined(_vector(page, stack), tuple(map(page.write, stack.targets)))]
    terms: list[Formula] = []
    for operand in stack.operands:
        letter = _matrix(page, stack, operand)
        definitions.append(_defined(letter, tuple(map(page.write, stack.weights(operand)))))
        terms.append(Product((letter, page.write(operand)), matrix))
    if stack.biased:
        biases = [each.bias for each in stack.members if each.bias is not None]
        definitions.append(_defined(_bias(stack), tuple(map(page.write, biases))))
        terms.append(_bias(stack))
    yield Paragraph(
        (*listed([page.write(target) for target in stack.targets]), " read the same vectors. One below the other,")
    )
    yield beside([Equation(definition) for definition in definitions])
    yield Paragraph(("they are one affine map:",))
    total = Sum(tuple(("+", term) for term in terms)) if len(terms) > 1 else terms[0]
    evidence = tuple(part for each in stack.members for part in page.telling.parts(each.equation))
    yield Equation(Relation((_vector(page, stack), total), ("=",)), evidence=evidence)
    dependence = page.gradient.primal.dependence()
    early = [operand for operand in stack.operands if dependence[operand] == Dependence.INPUT_ONLY]
    late = [operand for operand in stack.operands if dependence[operand] == Dependence.RECURRENT]
    if early:
        pieces = listed([Product((_matrix(page, stack, each), page.write(each)), matrix) for each in early])
        alone = {weight for each in late for weight in stack.weights(each)} == _recurrent_matrices(page)
        rest = ", so that a step has one product left to compute" if len(late) == 1 and alone else ""
        yield Paragraph((*pieces, f" waits for no state: the kernels compute it for many steps in one product{rest}."))


def _recurrent_matrices(page: Page) -> set[Value]:
    """The matrices that are multiplied with what depends on states."""
    primal = page.gradient.primal
    dependence = primal.dependence()
    products = (each.expression for each in primal.equations if isinstance(each.expression, Contract))
    return {each.values[0] for each in products if dependence[each.values[1]] is Dependence.RECURRENT}


def _backward(page: Page, stack: _Stack) -> Iterator[Block]:
    adjoint = _adjoint(page, stack)
    yield Paragraph(("The gradients come back the same way. With",))
    yield Equation(_defined(adjoint, tuple(page.adjoint(target) for target in stack.targets)))
    told = {each.value: each for each in (*page.telling.backward, *page.telling.sums)}
    members = {each.equation.target for each in stack.members}
    yield Paragraph(("what the vectors receive is",))
    yield beside([_to_operand(page, stack, told[each], members) for each in stack.operands if each in told])
    sums = list(_to_parameters(page, stack, told))
    if sums:
        yield Paragraph(("and the parameters, by one product over all steps,",))
        yield beside(sums)


def _to_operand(page: Page, stack: _Stack, told: Told, members: set[Value]) -> Equation:
    """What a vector receives from all gates at once, and from whatever else reads it."""
    back = Product((Transposed(_matrix(page, stack, told.value)), _adjoint(page, stack)), page.notation.matrix)
    others: list[Formula] = []
    for way in told.ways:
        if way.seed is not None:
            others.append(page.write.names.seed(way.seed))
        elif not _through(way, members):
            others.append(contribution(page, way))
    right = Sum((("+", back), *(("+", each) for each in others))) if others else back
    return Equation(Relation((page.own_adjoint(told.value), right), ("=",)), evidence=told.evidence)


def _through(way: Way, members: set[Value]) -> bool:
    return bool(way.steps) and way.target in members


def _to_parameters(page: Page, stack: _Stack, told: dict[Value, Told]) -> Iterator[Equation]:
    for operand in stack.operands:
        weights = stack.weights(operand)
        if all(weight in told for weight in weights):
            product = Product((_adjoint(page, stack), Transposed(page.write(operand))), page.notation.matrix)
            left = _adjoint_of(page, _matrix(page, stack, operand))
            yield Equation(Relation((left, Total(product, time())), ("=",)), evidence=_evidence(told, weights))
    biases = tuple(each.bias for each in stack.members if each.bias is not None)
    if stack.biased and all(bias in told for bias in biases):
        left = _adjoint_of(page, _bias(stack))
        yield Equation(Relation((left, Total(_adjoint(page, stack), time())), ("=",)), evidence=_evidence(told, biases))


def _evidence(told: dict[Value, Told], values: tuple[Value, ...]) -> tuple[CellEquation, ...]:
    return tuple(part for value in values for part in told[value].evidence)


def _defined(symbol: Formula, entries: tuple[Formula, ...]) -> Relation:
    return Relation((symbol, Column(entries)), ("=",))


def _matrix(page: Page, stack: _Stack, operand: Value) -> Symbol:
    """The letter of the stacked weights: that of its members where they share one, else W and the operand's."""
    letters = {
        page.write.names.stems[weight].base.split("_")[0] for other in stack.operands for weight in stack.weights(other)
    }
    stem = page.write.names.stems[stack.weights(operand)[0]]
    below: tuple[Formula, ...] = (Number(stack.index),) if stack.index else ()
    if len(letters) < len(stack.operands):
        name = page.write.names.symbol(operand)
        below = (replace(name, below=(), above=()), *below)
    return Symbol(stem.base.split("_")[0], below=below, bold=True)


def _bias(stack: _Stack) -> Symbol:
    return Symbol("b", below=(Number(stack.index),) if stack.index else (), bold=True)


def _vector(page: Page, stack: _Stack) -> Symbol:
    base = Symbol(page.notation.preactivation or "a", below=(Number(stack.index),) if stack.index else (), bold=True)
    return at_time(base, page.notation.time)


def _adjoint(page: Page, stack: _Stack) -> Formula:
    return _adjoint_of(page, _vector(page, stack))


def _adjoint_of(page: Page, symbol: Symbol) -> Formula:
    match page.notation.adjoints:
        case Adjoints.PARTIAL:
            return Derivative(page.write.names.loss, symbol)
        case Adjoints.DELTA:
            return Delta(symbol)
        case Adjoints.BAR:
            return replace(symbol, accent=Accent.BAR)
    return replace(symbol, base=f"d_{symbol.base}", style=Style.UPRIGHT)
