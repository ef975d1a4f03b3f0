"""The forward part: the symbols and what they mean, the equations of a step, and the recurrence they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from sympy import Expr

from lstmgen.calculus.graph import Dependence, is_call, operands_of
from lstmgen.calculus.operations import Contract
from lstmgen.declare.declaration import Equation as CellEquation
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Operation
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.document import Block, Equation, Inline, Paragraph, Section, Table
from lstmgen.derivation.formula import Call, Formula, Number, Relation, Row
from lstmgen.derivation.naming import NOW, time
from lstmgen.derivation.notation import BIAS, GAIN, INPUT, INPUT_WEIGHTS, PEEPHOLE, RECURRENT_WEIGHTS, UPDATE_GATE, Time
from lstmgen.derivation.page import Page, anchor, listed
from lstmgen.derivation.paths import direct_path
from lstmgen.derivation.ranges import ALL
from lstmgen.derivation.roles import is_preactivation, partners

_MOST = 5  # operands of a state's equation that is shown over two steps


def forward_sections(page: Page) -> tuple[Section, ...]:
    """Symbols, equations, and the recurrence over all steps."""
    spelled = page.notation.time is Time.SPELLED
    where = () if spelled else (" Step ", NOW, " reads what step ", time(-1), " has left behind.")
    return (
        Section("forward", "Forward", (Paragraph(("One step of the cell, in the order of its computation.", *where)),)),
        Section("symbols", "Symbols", (symbol_table(page),), 2),
        Section("equations", "Equations of one step", tuple(_equations(page)), 2),
        *([] if spelled else [Section("unrolled", "Over all steps", tuple(_unrolled(page)), 2)]),
    )


def symbol_table(page: Page) -> Table:
    """Every symbol with its dimensions and its meaning; symbols alike but for a letter share a row."""
    rows: dict[tuple[str, tuple[Inline, ...]], list[Formula]] = {}
    for value, meaning in _meanings(page):
        dims = " × ".join(value.dims) or "number"
        rows.setdefault((dims, meaning), []).extend(page.write.symbols(value))
    head = (("symbol",), ("dimensions",), ("meaning",))
    return Table(head, tuple((listed(symbols, ", "), (dims,), meaning) for (dims, meaning), symbols in rows.items()))


def _meanings(page: Page) -> Iterator[tuple[Value, tuple[Inline, ...]]]:
    declaration, primal = page.gradient.declaration, page.gradient.primal
    several = len(declaration.inputs) > 1
    for value in declaration.inputs:
        yield value, ("input" if page.roles.get(value) == INPUT or not several else "another input",)
    if declaration.step_index is not None:
        yield declaration.step_index, ("index of the step, from 0",)
    previous = {state.next: state.previous for state in declaration.states}
    readers = primal.uses()
    for equation in page.telling.forward:
        value, what = equation.target, page.words(equation.description)
        if is_preactivation(value, primal):
            what = (
                "pre-activation" if any(is_call(each.expression) for each in readers.get(value, ())) else "affine map"
            )
        elif value in previous:
            what = f"{what}, carried to the next step" if what else "carried to the next step"
        elif value in declaration.outputs and "output" not in what:
            what = f"{what}, the output" if what else "the output"
        yield value, (what or "intermediate value",)
    for parameter in declaration.parameters:
        known = (
            (page.words(parameter.description),) if parameter.description else _parameter_meaning(page, parameter.value)
        )
        yield parameter.value, ("parameters", *(": " if known else "",), *known)
    for constant in declaration.constants:
        yield constant.value, (f"constant: {constant.description}" if constant.description else "constant",)
    for value in primal.free:
        if value.role == Role.SIZE:
            yield value, (f"size of {value.name}",)


def _parameter_meaning(page: Page, value: Value) -> tuple[Inline, ...]:
    match page.roles.get(value, ""):
        case role if role in (INPUT_WEIGHTS, RECURRENT_WEIGHTS):
            return _meaning_of_weights(page, value)
        case role if role == BIAS:
            return ("biases",)
        case role if role in (PEEPHOLE, GAIN):
            return ("weights, unit by unit",)
    return ()


def _meaning_of_weights(page: Page, value: Value) -> tuple[Inline, ...]:
    """What a parameter is multiplied with: the input, a state of the step before, or what else depends on them."""
    gradient = page.gradient
    dependence = gradient.primal.dependence()
    operands = dict.fromkeys(each for equation in gradient.primal.equations for each in partners(equation, value))
    if all(dependence[each] is Dependence.INPUT_ONLY for each in operands):
        return ("weights of the input",)
    if operands.keys() <= {state.previous for state in gradient.declaration.states}:
        return ("recurrent weights",)
    return ("weights of ", *listed([page.write(operand) for operand in operands]))


def _equations(page: Page) -> Iterator[Block]:
    for equation in page.telling.forward:
        target = equation.target
        number = f"({page.numbers[target]})"
        formula = page.write.equation(equation)
        yield Equation(formula, anchor(target), number, _note(page, equation), page.telling.parts(equation))
    if page.write.joined:
        yield Paragraph(_blocks_of_joined(page))
    yield from _alignment(page)
    gradient, remarks = page.gradient, page.notation.remarks
    kept = [direct_path(gradient, state) for state in gradient.declaration.states]
    if "affine" in remarks and any(role == BIAS for role in page.roles.values()):
        yield Paragraph((remarks["affine"],))
    if "kept by the update gate" in remarks and any(page.roles.get(each) == UPDATE_GATE for each in kept if each):
        yield Paragraph((remarks["kept by the update gate"],))


def _alignment(page: Page) -> Iterator[Block]:
    """How dimensions meet, where they are not all the same."""
    gradient = page.gradient
    expressions = [each.expression for each in (*gradient.primal.equations, *gradient.adjoint.equations)]
    batch = dict.fromkeys(dim for each in expressions if isinstance(each, Contract) for dim in _batch_of(each))
    told = []
    if batch:
        where = " and ".join(batch)
        told.append(f"Products with matrices are taken for every index of {where} by itself.")
    if any(_repeats(each) for each in expressions):
        told.append("Entries meet by the names of their dimensions; what lacks a dimension is repeated along it.")
    if told:
        yield Paragraph((" ".join(told),))


def _batch_of(product: Contract) -> Iterator[str]:
    """The dimensions that both operands and the result of a product have."""
    left, right, out = product.axes
    yield from (
        dim for label, dim in zip(left, dims_of(product.values[0]), strict=True) if label in right and label in out
    )


def _repeats(expression: Expr) -> bool:
    """Whether an elementwise expression has operands of different dimensions, numbers aside."""
    if isinstance(expression, Operation):
        return False
    return len({value.dims for value in operands_of(expression) if value.dims}) > 1


def _note(page: Page, equation: CellEquation) -> tuple[Inline, ...]:
    """The description and the range of the activation."""
    target, expression = equation.target, equation.expression
    if is_preactivation(target, page.gradient.primal):
        return ()
    words = page.words(equation.description)
    span = _span(page, target, expression)
    return tuple(filter(None, [", ".join(filter(None, [words, span and f"in {span}"]))]))


def _span(page: Page, target: Value, expression: Expr) -> str:
    """Between which bounds a value lies: always for what an activation gives, else where there are two."""
    written = DEFINITIONS[type(expression)].range if is_call(expression) else ""
    if written.startswith("{"):
        return written.replace("-", "−")
    found = page.ranges(target)
    return str(found) if found.bounded or (written and found != ALL) else ""


def _blocks_of_joined(page: Page) -> tuple[Inline, ...]:
    """What the one matrix of an affine map is made of: the gradients are told block by block."""
    made = [
        Relation((page.write.stem(each.matrix), Row(tuple(map(page.write, each.weights)))), ("=",))
        for each in page.write.joined.values()
    ]
    return ("One matrix holds the weights of both operands side by side: ", *listed(made), ".")


def _unrolled(page: Page) -> Iterator[Block]:
    declaration, names = page.gradient.declaration, page.write.names
    states = declaration.states
    equations, last = names.unused("F", "G", "S"), names.unused("T", "N", "M")

    def all_of(values: Sequence[Value], now: Formula) -> tuple[Formula, ...]:
        return tuple(replace(names, now=now).symbol(value) for value in values)

    def together(symbols: tuple[Formula, ...]) -> Formula:
        return symbols[0] if len(symbols) == 1 else Row(symbols)

    def step(now: Formula) -> Relation:
        after = together(all_of([state.next for state in states], now))
        before = together(all_of([state.previous for state in states], now))
        return Relation((after, Call(equations, (*all_of(declaration.inputs, now), before))), ("=",))

    states_word = "state" if len(states) == 1 else "states"
    yield Paragraph(
        (
            "Call the equations above ",
            equations,
            ". They are the same at every step",
            ", with the same parameters" if declaration.parameters else "",
            ", but for the index of the step" if declaration.step_index else "",
            f"; only the {states_word} pass{'es' if len(states) == 1 else ''} from one step to the next:",
        )
    )
    yield Equation(step(Number("1")))
    yield Equation(step(Number("2")))
    yield Equation(step(last), note=("and so on, to the last step",))
    yield from _two_steps(page)


def _two_steps(page: Page) -> Iterator[Block]:
    """The equation of a state that reads itself directly, with its own equation of the step before put in."""
    definitions = page.gradient.primal.definitions()
    for state in page.gradient.declaration.states:
        equation = definitions[state.next]
        expression = page.write.resolve(equation.expression)
        operands = operands_of(expression)
        if state.previous not in operands or len(operands) > _MOST or is_call(expression):
            continue
        if page.gradient.declaration.step_index in operands:  # it is another at the step before
            continue
        before = replace(page.write, shift=-1)(expression)
        twice = replace(page.write, instead={state.previous: before})(expression)
        yield Paragraph(("Over two steps, ", page.write(state.next), " is"))
        yield Equation(Relation((page.write(state.next), twice), ("=",)))
