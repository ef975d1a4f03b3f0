"""The backward part: every equation in reverse, and what adds up over time.

For each quantity: the ways by which it reaches the loss, the chain rule with one term a way, the local derivatives, and
what they add up to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sympy import Add, Expr

from lstmgen.calculus.graph import Dependence, is_call
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Origin, Seed
from lstmgen.declare.dims import Dims
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Value
from lstmgen.derivation.affine import MATRIX_TIMES_VECTOR
from lstmgen.derivation.document import Block, Derived, Equation, Inline, Paragraph, Section
from lstmgen.derivation.formula import Derivative, Formula, Product, Relation, Several, Sum, Times, Total, Transposed
from lstmgen.derivation.naming import NOW, at_time, lowered, time
from lstmgen.derivation.notation import Adjoints, Time
from lstmgen.derivation.page import Page, anchor, listed
from lstmgen.derivation.telling import Told, Way
from lstmgen.derivation.translate import product


def backward_section(page: Page, *, brief: bool = False) -> Section:
    """Every equation of the step in reverse, from the last to the first."""
    blocks: list[Block] = [*_incoming(page)]
    blocks += [_derived(page, told, brief=brief) for told in page.telling.backward]
    return Section("backward", "Backward", tuple(blocks))


def sums_section(page: Page) -> Section:
    """The gradients of the parameters."""
    if not page.gradient.declaration.parameters:
        return Section("sums", "Sums over time", (Paragraph(("This cell has no parameters: nothing adds up.",)),))
    lead = Paragraph(
        (
            "A parameter serves every step and every row of the batch. Its gradient is the sum over all of them; the "
            "sums below go over the steps of one row.",
        )
    )
    by_reader: dict[tuple[Value, ...], list[Equation]] = {}
    for told in page.telling.sums:
        by_reader.setdefault(tuple(way.target for way in told.ways if way.steps), []).append(_result(page, told))
    equations = map(beside, by_reader.values())
    return Section("sums", "Sums over time", (lead, *equations))


def beside(equations: Sequence[Equation]) -> Equation:
    """Equations without notes as one that has them beside each other."""
    first, *others = equations
    if not others:
        return first
    relations = tuple(each.formula for each in equations if isinstance(each.formula, Relation))
    evidence = tuple(part for each in equations if isinstance(each.evidence, tuple) for part in each.evidence)
    also = tuple(anchor for each in others for anchor in each.anchors)
    return replace(first, formula=Several(relations), evidence=evidence or None, also=also)


def _incoming(page: Page) -> Iterator[Block]:
    """What the adjoints are, and which of them come in from outside a step."""
    declaration, names = page.gradient.declaration, page.write.names
    example = declaration.states[0].next if declaration.states else declaration.outputs[0]
    yield Paragraph(
        (
            "The steps are gone through from the last to the first, and the equations of a step from the last to the "
            "first. ",
            page.own_adjoint(example),
            " is the gradient of the loss ",
            names.loss,
            " with respect to ",
            page.write(example),
            ".",
            *_of_locals(page),
        )
    )
    rows: list[Inline] = []
    for seed in page.gradient.seeds:
        came = names.seed(seed)
        if seed.origin is Origin.LOSS:
            rows += [came, " from the loss of this step, by the output ", page.write(seed.of), "; "]
        else:
            rows += [came, " from the step after, which reads ", page.write(seed.of), "; "]
    if rows:
        rows[-1] = str(rows[-1]).removesuffix("; ")
        yield Paragraph(
            (
                "Into a step come ",
                *rows,
                ". At the last step there is no step after; what the loss says of the final state takes its place.",
            )
        )
    if page.notation.adjoints is Adjoints.PARTIAL and declaration.states:
        now, later = (at_time(names.loss, page.notation.time), names.seed(next(_later(page))))
        assert isinstance(later, Derivative)
        yield Paragraph(
            (
                "Here ",
                now,
                " is the loss of step ",
                NOW,
                " alone, and ",
                later.of,
                " that of all later steps, as a function of what step ",
                NOW,
                " hands on to them.",
            )
        )


def _later(page: Page) -> Iterator[Seed]:
    return (seed for seed in page.gradient.seeds if seed.origin is Origin.NEXT_STEP)


def _of_locals(page: Page) -> tuple[Inline, ...]:
    """What local derivatives are, by one of them."""
    matrices = any(isinstance(each.expression, Contract) for each in page.gradient.primal.equations)
    for told in page.telling.backward:
        for way in told.ways:
            if len(way.steps) == 1 and way.steps[0].partial is not None:
                local = Derivative(page.write(way.target), page.write(told.value))
                product = "; that of a product with a matrix is the matrix" if matrices else ""
                return (" A local derivative such as ", local, f" is taken unit by unit{product}.")
    return ()


def _derived(page: Page, told: Told, *, brief: bool) -> Derived:
    steps = () if brief else tuple(_steps(page, told))
    sources = tuple(map(anchor, _sources(page, told)))
    return Derived(_lead(page, told), steps, _result(page, told), sources)


def _result(page: Page, told: Told) -> Equation:
    lefts = page.own_adjoints(told.value)
    right = page.adjoint(told.value) if told.borrowed else page.write(told.equation.expression)
    relation = Relation((*lefts, right), ("=",) * len(lefts))
    return Equation(relation, f"backward-{told.value.name}", evidence=None if told.borrowed else told.evidence)


def _lead(page: Page, told: Told) -> tuple[Inline, ...]:
    """``c_t reaches the loss through h_t and through c_{t+1}``: every path is named before it is summed."""
    through: list[Inline] = []
    for way in told.ways:
        if way.seed is None:
            through.append(page.write(way.target))
        elif way.seed.origin is Origin.LOSS:
            through.append("the output")
        else:
            through += _next_step(page, told.value)
    unique = list(dict.fromkeys(through)) or ["the final state alone"]
    last = " and through " if len(unique) == 2 else " and "
    # What reads a state at its own step has been told there, with the state's own equation.
    now: tuple[Inline, ...] = ("this step",) if page.notation.time is Time.SPELLED else ("step ", NOW)
    later: tuple[Inline, ...] = ("From ", *now, " on, ") if told.value in page.write.names.before else ()
    return (*later, page.write(told.value), " reaches the loss through ", *listed(unique, last), ".")


def _sources(page: Page, told: Told) -> tuple[Value, ...]:
    """The targets of the forward equations that a value's ways go through."""
    return tuple(dict.fromkeys(home for way in told.ways if way.steps for home in page.printed_in(way.target)))


def _next_step(page: Page, value: Value) -> tuple[Inline, ...]:
    """What reads a state at the step after, by its symbol there; nothing where no gradient comes back from it."""
    previous = next((state.previous for state in page.gradient.declaration.states if state.next == value), None)
    readers = [told for told in page.telling.backward if told.value == previous]
    if page.notation.time is Time.SPELLED:
        return ("the next step",) if readers else ()
    later = replace(page.write, shift=1)
    targets = dict.fromkeys(way.target for told in readers for way in told.ways if way.steps)
    return tuple(later(target) for target in targets)


def _steps(page: Page, told: Told) -> Iterator[Equation]:
    """The chain rule with one term for every value on the way, then the local derivatives."""
    if told.ways and all(way.seed is not None for way in told.ways):
        return
    groups = _by_target(told)
    dependence = page.gradient.primal.dependence()
    summed = dependence[told.value] is Dependence.SHARED  # it serves all steps
    terms = [
        Total(term, time()) if term and summed and dependence[group[0].target] is not Dependence.SHARED else term
        for group in groups
        for term in [_term(page, told.value, group)]
    ]
    found = [term for term in terms if term is not None]
    if len(found) == len(terms):
        chain = Sum(tuple(("+", term) for term in found)) if len(found) > 1 else found[0]
        rule = Equation(Relation((page.own_adjoint(told.value), chain), ("=",)))
        local = [Equation(_local(page, told.value, group)) for group in groups if group[0].seed is None]
        # One derivative stands beside the rule, so that the result comes right below what it replaces a factor of.
        yield from [beside([rule, *local])] if len(local) == 1 else [rule, beside(local)]
    elif len(told.ways) > 1:
        for way in told.ways:
            if way.seed is None:
                yield Equation(contribution(page, way), note=("through ", page.write(way.target)))


def contribution(page: Page, way: Way) -> Formula:
    """What a way adds to the adjoint: summed over the dimensions that the value does not have."""
    step = way.steps[-1]
    return _summed(page.write(step.contribution), dims_of(step.contribution), step.operand)


def _summed(formula: Formula, dims: Dims, value: Value) -> Formula:
    for dim in dims:
        if dim not in value.dims:
            formula = Total(formula, lowered(dim))
    return formula


def _by_target(told: Told) -> list[list[Way]]:
    """The ways, those through one value together: its local derivative is their sum."""
    groups: dict[object, list[Way]] = {}
    for way in told.ways:
        groups.setdefault(way.seed or way.target, []).append(way)
    return list(groups.values())


def _term(page: Page, value: Value, group: list[Way]) -> Formula | None:
    """The term of the chain rule for the ways through one value; None where no product of two factors says it."""
    way = group[0]
    if way.seed is not None:
        return page.write.names.seed(way.seed)
    adjoint = page.adjoint(way.target)
    derivative = Derivative(page.write(way.target), page.write(value))
    if len(group) == 1 and _matrix(way) is not None:
        return Product((Transposed(derivative), adjoint), page.notation.matrix)
    if any(step.partial is None for each in group for step in each.steps):
        return None
    star = page.notation.elementwise is Times.STAR
    times = page.notation.elementwise if way.target.dims or star else Times.SCALAR
    return _summed(Product((adjoint, derivative), times), way.target.dims, value)


def _local(page: Page, value: Value, group: list[Way]) -> Relation:
    """The local derivative: as the rule gives it, and simplified by what is known already."""
    derivative = Derivative(page.write(group[0].target), page.write(value))
    matrix = _matrix(group[0])
    if matrix is not None:
        return Relation((derivative, page.write(matrix)), ("=",))
    partials = [_partial(way) for way in group]
    partial = partials[0] if len(partials) == 1 else Add(*partials, evaluate=False)
    simple, raw = page.write(partial), _unsimplified(page, group, partial)
    sides = (derivative, simple) if raw is None or raw == simple else (derivative, raw, simple)
    return Relation(sides, ("=",) * (len(sides) - 1))


def _partial(way: Way) -> Expr:
    """The product of the local derivatives along a way."""
    return product([step.partial for step in way.steps if step.partial is not None])


def _unsimplified(page: Page, group: list[Way], partial: Expr) -> Formula | None:
    """The local derivative of a call in terms of its argument, where the calculus has it in terms of its value."""
    equation = group[0].steps[0].equation
    if len(group) > 1 or len(group[0].steps) > 1 or not is_call(equation.expression):
        return None
    return replace(page.write, inline={**page.write.inline, equation.target: equation.expression})(partial)


def _matrix(way: Way) -> Expr | None:
    """The matrix that a vector is multiplied with on its way, if that is all that happens to it."""
    *before, last = way.steps
    product_of = last.equation.expression
    if last.partial is not None or not isinstance(product_of, Contract) or product_of.axes != MATRIX_TIMES_VECTOR:
        return None
    if last.operand != product_of.values[1] or any(step.partial is None or step.partial != 1 for step in before):
        return None
    return product_of.values[0]
