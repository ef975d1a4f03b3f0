"""The matrix form: all gates that read the same vectors at once, as the kernels compute them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sympy import Add

from lstmgen.calculus.graph import Dependence, operands_of
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

MATRICES, BIASES, VECTORS = ("W", "A", "K", "M", "B"), ("b", "e", "k"), ("a", "s", "p", "v")
"""Letters of what is stacked, in the order in which they are tried."""


@dataclass(frozen=True)
class _Stack:
    """Affine maps of the same operands, and the letters of what lies one below the other."""

    members: tuple[AffineMap, ...]
    operands: tuple[Value, ...]
    vector: Symbol
    matrices: dict[Value, Symbol]
    bias: Symbol

    @property
    def biases(self) -> tuple[Value, ...]:
        return tuple(each.bias for each in self.members if each.bias is not None)

    @property
    def targets(self) -> tuple[Value, ...]:
        return tuple(each.equation.target for each in self.members)

    def weights(self, operand: Value) -> tuple[Value, ...]:
        return _weights(self.members, operand)


def _weights(members: Sequence[AffineMap], operand: Value) -> tuple[Value, ...]:
    return tuple(each.weights[each.operands.index(operand)] for each in members)


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
        if stack is stacks[0] and "stacked" in page.notation.remarks:
            blocks.append(Paragraph((page.notation.remarks["stacked"],)))
        blocks += _backward(page, stack)
    return Section("matrix", "All gates at once", tuple(blocks))


def _stacks(page: Page) -> list[_Stack]:
    groups: dict[tuple[Value, ...], list[AffineMap]] = {}
    for each in affine_maps(page.gradient.primal).values():
        apart = set(each.operands).isdisjoint(value for term in each.rest for value in operands_of(term))
        if apart and len(set(each.operands)) == len(each.operands):
            groups.setdefault(each.operands, []).append(each)
    several = [(operands, _in_order(page, members)) for operands, members in groups.items() if len(members) > 1]
    return [
        _lettered(page, members, operands, str(index) if len(several) > 1 else "")
        for index, (operands, members) in enumerate(several, 1)
        if all(each.equation.target in page.gradient.adjoints for each in members)
    ]


def _in_order(page: Page, members: list[AffineMap]) -> list[AffineMap]:
    """Members in the order of the notation, by the roles of the gates they are for; all others after these."""
    order = {role: place for place, role in enumerate(page.notation.stacked)}
    readers = page.gradient.primal.uses()

    def place(member: AffineMap) -> int:
        target = member.equation.target
        gates = (target, *(each.target for each in readers.get(target, ())))
        return min(order.get(page.roles.get(gate, ""), len(order)) for gate in gates)

    return sorted(members, key=place)


def _lettered(page: Page, members: Sequence[AffineMap], operands: tuple[Value, ...], index: str) -> _Stack:
    """The stack with letters that name nothing else: for matrices their own where they share one, else one for all."""
    names = page.write.names
    known = [*names.stems.values(), *(each.matrix for each in page.write.joined.values())]
    taken = {(stem.base, stem.below) for stem in known}
    numbered: tuple[Formula, ...] = (Number(index),) if index else ()

    def letter(*bases: str, below: tuple[Formula, ...] = numbered) -> Symbol:
        return Symbol(_free(taken, bases, [below]), below=below, bold=True)

    shared = [{names.stems[weight].base.split("_")[0] for weight in _weights(members, each)} for each in operands]
    own = [bases.pop() for bases in shared if len(bases) == 1]
    if len(set(own)) == len(operands) and all((base, _spelled(numbered)) not in taken for base in own):
        matrices = {each: letter(base) for each, base in zip(operands, own, strict=True)}
    else:
        lowered = [(replace(names.symbol(each), below=(), above=()), *numbered) for each in operands]
        first = own[0] if own and len(set(own)) == 1 else "W"
        base = _free(taken, (first, *MATRICES), lowered)
        matrices = {each: letter(base, below=below) for each, below in zip(operands, lowered, strict=True)}
    vector = letter(page.notation.preactivation or "a", *VECTORS)
    return _Stack(tuple(members), operands, at_time(vector, page.notation.time), matrices, letter("b", *BIASES))


def _free(taken: set[tuple[str, tuple[str, ...]]], bases: Sequence[str], below: Sequence[tuple[Formula, ...]]) -> str:
    """The first of ``bases`` that names nothing else with any of what is to stand below it."""
    free = (base for base in bases if not any((base, _spelled(each)) in taken for each in below))
    return next(free, bases[0])


def _spelled(below: tuple[Formula, ...]) -> tuple[str, ...]:
    return tuple(
        each.base if isinstance(each, Symbol) else each.text for each in below if isinstance(each, Symbol | Number)
    )


def _forward(page: Page, stack: _Stack) -> Iterator[Block]:
    matrix = page.notation.matrix
    definitions: list[Formula] = [_defined(stack.vector, tuple(map(page.write, stack.targets)))]
    terms: list[Formula] = []
    for operand in stack.operands:
        letter = stack.matrices[operand]
        definitions.append(_defined(letter, tuple(map(page.write, stack.weights(operand)))))
        terms.append(Product((letter, page.write(operand)), matrix))
    if stack.biases:
        biases = [each.bias for each in stack.members]
        entries = tuple(Number("0") if each is None else page.write(each) for each in biases)
        definitions.append(_defined(stack.bias, entries))
        terms.append(stack.bias)
    yield Paragraph(
        (*listed([page.write(target) for target in stack.targets]), " read the same vectors. One below the other,")
    )
    yield beside([Equation(definition) for definition in definitions])
    besides = ", and what is added to it" if any(each.rest for each in stack.members) else ""
    yield Paragraph((f"they are one affine map{besides}:",))
    if any(each.rest for each in stack.members):
        terms.append(Column(tuple(_rest(page, each) for each in stack.members)))
    total = Sum(tuple(("+", term) for term in terms)) if len(terms) > 1 else terms[0]
    evidence = tuple(part for each in stack.members for part in page.telling.parts(each.equation))
    yield Equation(Relation((stack.vector, total), ("=",)), evidence=evidence)
    dependence = page.gradient.primal.dependence()
    early = [operand for operand in stack.operands if dependence[operand] == Dependence.INPUT_ONLY]
    late = [operand for operand in stack.operands if dependence[operand] == Dependence.RECURRENT]
    if early:
        pieces = listed([Product((stack.matrices[each], page.write(each)), matrix) for each in early])
        alone = {weight for each in late for weight in stack.weights(each)} == _recurrent_matrices(page)
        rest = ", so that a step has one product left to compute" if len(late) == 1 and alone else ""
        yield Paragraph((*pieces, f" waits for no state: the kernels compute it for many steps in one product{rest}."))


def _rest(page: Page, member: AffineMap) -> Formula:
    """What is added to an affine map as it is."""
    return page.write(Add(*member.rest, evaluate=False)) if member.rest else Number("0")


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
    back = Product((Transposed(stack.matrices[told.value]), _adjoint(page, stack)), page.notation.matrix)
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
            left = _adjoint_of(page, stack.matrices[operand])
            yield Equation(Relation((left, Total(product, time())), ("=",)), evidence=_evidence(told, weights))
    biases = stack.biases
    if len(biases) == len(stack.members) and all(bias in told for bias in biases):
        left = _adjoint_of(page, stack.bias)
        yield Equation(Relation((left, Total(_adjoint(page, stack), time())), ("=",)), evidence=_evidence(told, biases))


def _evidence(told: dict[Value, Told], values: tuple[Value, ...]) -> tuple[CellEquation, ...]:
    return tuple(part for value in values for part in told[value].evidence)


def _defined(symbol: Formula, entries: tuple[Formula, ...]) -> Relation:
    return Relation((symbol, Column(entries)), ("=",))


def _adjoint(page: Page, stack: _Stack) -> Formula:
    return _adjoint_of(page, stack.vector)


def _adjoint_of(page: Page, symbol: Symbol) -> Formula:
    match page.notation.adjoints:
        case Adjoints.PARTIAL:
            return Derivative(page.write.names.loss, symbol)
        case Adjoints.DELTA:
            return Delta(symbol)
        case Adjoints.BAR:
            return replace(symbol, accent=Accent.BAR)
    return replace(symbol, base=f"d_{symbol.base}", style=Style.UPRIGHT)
