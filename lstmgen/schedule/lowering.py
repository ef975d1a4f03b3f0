"""Plan in, kernel out: values become views on buffers, equations become statements.

SymPy's trees end here: what comes out is the kernel's own small set of statements and scalar expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sympy import Add, Expr, Mul, Number, NumberSymbol, Pow
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.calculus.operations import Contract, FirstMaximum, Total, Unflatten
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.text import Text, inlined_products, split_quotient, split_sign
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import last_index
from lstmgen.declare.operations import Flatten, MaxOver, Operation, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.kernel import (
    BATCH,
    STEPS,
    Apply,
    Assign,
    Block,
    Chunks,
    Clear,
    Const,
    Kernel,
    Loop,
    Move,
    Note,
    Product,
    Reduce,
    Ref,
    Scalar,
    Size,
    Statement,
    Use,
    View,
)
from lstmgen.schedule.scaling import as_packed
from lstmgen.schedule.storage import Storage, assign_storage
from lstmgen.schedule.work import Plan, Region, Schedule, Work

_COMPARE = {
    "StrictGreaterThan": "greater",
    "GreaterThan": "greater_equal",
    "StrictLessThan": "less",
    "LessThan": "less_equal",
    "Equality": "equal",
    "Unequality": "not_equal",
}


def lower(gradient: Gradient, schedule: Schedule, plan: Plan, text: Text) -> Kernel:
    """The kernel of one pass. ``text`` prints the equations that its notes carry."""
    return _Lowering(gradient, plan, assign_storage(gradient, schedule, plan), text).run()


def lower_passes(gradient: Gradient, schedule: Schedule) -> tuple[Kernel, Kernel, Kernel]:
    """The kernels of forward, of backward and of rebuilding residuals, with elementwise work as fused blocks."""
    primal_text = Text(inlined_products(gradient.primal) | as_packed(schedule.forward.scales))
    adjoint_text = Text(inlined_products(gradient.adjoint))
    return (
        lower(gradient, schedule, schedule.forward, primal_text),
        lower(gradient, schedule, schedule.backward, adjoint_text),
        lower(gradient, schedule, schedule.rebuild, primal_text),
    )


@dataclass(frozen=True)
class _Lowering:
    gradient: Gradient
    plan: Plan
    storage: Storage
    text: Text

    def run(self) -> Kernel:
        plan, declaration, storage = self.plan, self.gradient.declaration, self.storage
        body = self._statements(Region.LOOP)
        swaps = []
        for each in plan.carried:
            incoming, outgoing = (self._view(value, True) for value in (each.incoming, each.outgoing))
            if incoming == outgoing:  # nothing depends on the step before: it receives nothing
                body.append(Clear(incoming))
            elif incoming.buffer != outgoing.buffer:
                swaps.append((incoming, outgoing))
        loop = (Loop(plan.reverse, tuple(body), tuple(swaps)),) if plan.carried else ()
        after = self._statements(Region.AFTER)
        chunk = (*self._statements(Region.BEFORE), *loop, *after)
        statements = (
            *storage.setup,
            *self._statements(Region.ONCE),
            *self._cleared(after),
            Chunks(plan.reverse, chunk),
            *self._statements(Region.END),
        )
        # After the last exchange of names, what was handed on last is known as the incoming value.
        carried = tuple(
            (state.name, self._view(each.incoming, True))
            for each, state in zip(plan.carried, declaration.states, strict=bool(plan.carried))
        )
        return Kernel(
            plan.name,
            plan.reverse,
            storage.parameters,
            storage.constants,
            storage.inputs,
            statements,
            carried,
            self._results(),
            storage.saved,
            storage.checkpoints,
            storage.with_ones,
        )

    def _cleared(self, statements: Sequence[Statement]) -> list[Statement]:
        """Sets to zero what chunks add to, but for results, which are zeros when they come."""
        outs = [each.out for each in statements if isinstance(each, Product | Reduce) and each.onto]
        buffers = dict.fromkeys(out.buffer for out in outs if out.buffer.use is not Use.RESULT)
        return [Clear(View(buffer.name, buffer, buffer.axes)) for buffer in buffers]

    def _view(self, value: Value, in_loop: bool) -> View:
        return self.storage.view(value, in_loop=in_loop)

    def _results(self) -> tuple[tuple[str, View], ...]:
        """What is returned: outputs, or the gradients of parameters and inputs."""
        declaration = self.gradient.declaration
        if self.plan.name == "rebuild":
            return ()
        if not self.plan.reverse:
            return tuple((value.name, self._view(value, False)) for value in declaration.outputs)
        wanted = [*(each.value for each in declaration.parameters), *declaration.inputs]
        return tuple(
            (value.name, self._view(self.gradient.adjoints[value], False))
            for value in wanted
            if value in self.gradient.adjoints
        )

    # -- statements --------------------------------------------------------------------------------------------------

    def _statements(self, region: Region) -> list[Statement]:
        in_loop = region is Region.LOOP
        found: list[Statement] = []
        for each in self.plan.in_region(region):
            found += [self._note(each), self._compute(each, in_loop)]
        return found

    def _note(self, work: Work) -> Note:
        shown = [each for each in work.sources if each.target not in self.text.inline]
        if not shown:  # a product that lstmgen named: what it computes says more than its name
            return Note((", ".join(self.text(each.expression) for each in work.sources),))
        # Of parameters that were joined, those of one kind come together.
        by_kind: dict[str, list[Equation]] = {}
        for each in shown:
            by_kind.setdefault(each.target.name.rpartition("_")[0], []).append(each)
        orders = (shown, [each for kind in by_kind.values() for each in kind])
        told = [_alike([self._line(each) for each in order], [each.target.name for each in order]) for order in orders]
        shown, runs = min(zip(orders, told, strict=True), key=lambda pair: len(pair[1]))
        lines = []
        for run in runs:
            what = ", ".join(filter(None, map(self._description, shown[run.start : run.stop])))
            lines.append(f"{run.line}  ({what})" if what else run.line)
        return Note(tuple(lines))

    def _line(self, equation: Equation) -> str:
        line = self.text.equation(equation)
        return f"{line} = {self.text(equation.written)}" if equation.written is not None else line

    def _description(self, equation: Equation) -> str:
        return "" if equation.target.role in (Role.ADJOINT, Role.PREACTIVATION) else equation.description

    def _compute(self, work: Work, in_loop: bool) -> Statement:
        target, expression = work.target, work.expression
        out = self._view(target, in_loop)
        totalled = isinstance(expression, Total)
        if isinstance(expression, Total):
            expression = expression.args[0]
        if isinstance(expression, Contract):
            return replace(self._product(out, expression, in_loop), onto=totalled)
        if totalled:
            value = self._view(expression, in_loop)
            axes = tuple(index for index, axis in enumerate(value.axes) if axis in (STEPS, BATCH))
            return Reduce("total", out, value, axes, onto=True)
        if isinstance(expression, Operation):
            return self._structural(out, expression, in_loop)
        return Block((Assign(out, self._scalar(expression, in_loop)),))

    def _product(self, out: View, expression: Contract, in_loop: bool) -> Product:
        left, right = (self._view(value, in_loop) for value in expression.values)
        of_left, of_right, of_out = expression.axes
        return Product(out, left, right, (_labels(left, of_left), _labels(right, of_right), _labels(out, of_out)))

    def _structural(self, out: View, expression: Operation, in_loop: bool) -> Statement:
        value = self._view(expression.values[0], in_loop)
        if isinstance(expression, SumOver | MaxOver | FirstMaximum):
            kind = {SumOver: "sum", MaxOver: "max", FirstMaximum: "first maximum"}[type(expression)]
            # Of a name that a parameter repeats, the last: see SumOver.
            return Reduce(kind, out, value, (last_index(value.axes, expression.dim),))
        kinds = {Transpose: "transpose", Flatten: "flatten", Unflatten: "unflatten"}
        return Move(kinds.get(type(expression), "copy"), out, value)

    def _scalar(self, expression: Expr, in_loop: bool) -> Scalar:
        if isinstance(expression, Value):
            if expression.role == Role.SIZE:
                return Size(expression.name)
            return Ref(self._view(expression, in_loop))
        if isinstance(expression, Number | NumberSymbol):
            return Const(float(expression))
        if isinstance(expression, Add):
            return self._sum(expression, in_loop)
        if isinstance(expression, Mul):
            return self._product_of_factors(expression, in_loop)
        if isinstance(expression, Pow):
            return self._power(expression, in_loop)
        arguments = tuple(self._scalar(arg, in_loop) for arg in expression.args)
        if isinstance(expression, Relational):
            return Apply(_COMPARE[type(expression).__name__], arguments)
        if isinstance(expression, And | Or):
            name = "logical_and" if isinstance(expression, And) else "logical_or"
            return _fold(name, arguments)
        if isinstance(expression, Not):
            return Apply("logical_not", arguments)
        return Apply(type(expression).__name__, arguments)

    def _sum(self, expression: Add, in_loop: bool) -> Scalar:
        result: Scalar | None = None
        for term in expression.args:
            sign, body = split_sign(term)
            value = self._scalar(body, in_loop)
            if result is None:
                result = Apply("negative", (value,)) if sign == "-" else value
            else:
                result = Apply("add" if sign == "+" else "subtract", (result, value))
        assert result is not None
        return result

    def _product_of_factors(self, expression: Mul, in_loop: bool) -> Scalar:
        sign, body = split_sign(expression)
        above, below = split_quotient(body) if isinstance(body, Mul) else ([body], [])
        if isinstance(body, Pow):
            value = self._power(body, in_loop)
        else:
            numerator = _fold("multiply", tuple(self._scalar(each, in_loop) for each in above)) if above else Const(1.0)
            value = numerator
            if below:
                denominator = _fold("multiply", tuple(self._scalar(each, in_loop) for each in below))
                value = Apply("divide", (numerator, denominator))
        return Apply("negative", (value,)) if sign == "-" else value

    def _power(self, expression: Pow, in_loop: bool) -> Scalar:
        base, exponent = self._scalar(expression.base, in_loop), expression.exp
        if exponent == -1:
            return Apply("divide", (Const(1.0), base))
        if exponent.is_negative:
            return Apply("divide", (Const(1.0), _raised(base, -exponent)))
        return _raised(base, exponent)


@dataclass(frozen=True)
class _Run:
    start: int
    stop: int
    line: str


def _alike(lines: Sequence[str], names: Sequence[str]) -> list[_Run]:
    """One line for every run of lines of one pattern, and the others as they are."""
    runs: list[_Run] = []
    start = 0
    while start < len(lines):
        stops = range(len(lines), start, -1)
        patterns = ((stop, common_pattern(lines[start:stop], names[start:stop])) for stop in stops)
        stop, line = next((each for each in patterns if each[1]), (start + 1, lines[start]))
        runs.append(_Run(start, stop, line))
        start = stop
    return runs


def common_pattern(lines: Sequence[str], names: Sequence[str]) -> str:
    """One line for several that differ in one word: ``k = sigmoid(a_k)  for k = f, i, o``; empty if they do not."""
    if len(lines) < 2:
        return ""
    keys = [
        key
        for name in names
        for key in name.split("_")
        if all(key not in other.split("_") for other in names if other != name)
    ]
    if len(keys) != len(names):
        return ""
    words = {word for line in lines for name in re.findall(r"[A-Za-z]\w*", line) for word in name.split("_")}
    letter = next((each for each in ("k", "q", "s", "u", "any") if each not in words), "")

    def generalize(line: str, key: str) -> str:
        return re.sub(
            r"[A-Za-z]\w*", lambda m: "_".join(letter if word == key else word for word in m[0].split("_")), line
        )

    patterns = {generalize(line, key) for line, key in zip(lines, keys, strict=True)}
    if not letter or len(patterns) != 1:
        return ""
    return f"{patterns.pop()}  for {letter} = {', '.join(keys)}"


def _labels(view: View, labels: Sequence[int]) -> tuple[str, ...]:
    """One label per axis: the contraction's for dimensions, ``t`` for steps and ``z`` for the batch."""
    names = iter(labels)
    fixed = {STEPS: "t", BATCH: "z"}
    return tuple(fixed[axis] if axis in fixed else chr(97 + next(names)) for axis in view.axes)


def _fold(function: str, arguments: tuple[Scalar, ...]) -> Scalar:
    result = arguments[0]
    for argument in arguments[1:]:
        result = Apply(function, (result, argument))
    return result


def _raised(base: Scalar, exponent: Expr) -> Scalar:
    if exponent == 1:
        return base
    if exponent == 2:
        return Apply("square", (base,))
    return Apply("power", (base, Const(float(exponent))))
