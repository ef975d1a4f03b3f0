"""Plan in, kernel out: values become views on buffers, equations become statements.

Every array of the loop has ``batch`` as its last axis, so that a stacked product's slots are contiguous and elementwise
calls run over long rows. What is wanted for every step lies in buffers with a ``steps`` axis in front; other values of
the loop share scratch buffers, assigned by when they are last read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sympy import Add, Expr, Mul, Number, NumberSymbol, Pow
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.calculus.graph import Dependence
from lstmgen.calculus.operations import Contract, FirstMaximum, Total, Unflatten
from lstmgen.calculus.reverse import Gradient
from lstmgen.calculus.text import Text, split_quotient, split_sign
from lstmgen.declare.declaration import Equation
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import (
    BATCH,
    NODES,
    STEPS,
    Allocate,
    Apply,
    Assign,
    Axes,
    Bind,
    Block,
    Buffer,
    Clear,
    Const,
    Kernel,
    Loop,
    Move,
    Note,
    Pack,
    Product,
    Reduce,
    Ref,
    Scalar,
    Size,
    Statement,
    Use,
    View,
)
from lstmgen.schedule.stacking import stack_name
from lstmgen.schedule.work import Plan, Region, Schedule, Slot, Stack, Work

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
    return _Lowering(gradient, schedule, plan, text).run()


@dataclass
class _Lowering:
    gradient: Gradient
    schedule: Schedule
    plan: Plan
    text: Text
    stacks: dict[Value, Stack] = field(default_factory=dict)
    stack_buffers: dict[Value, Buffer] = field(default_factory=dict)
    buffers: dict[Value, Buffer] = field(default_factory=dict)
    bound: dict[tuple[Value, bool], View] = field(default_factory=dict)
    prologue: list[Statement] = field(default_factory=list)
    outside: list[Statement] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)

    # -- where values lie --------------------------------------------------------------------------------------------

    def run(self) -> Kernel:
        plan, declaration = self.plan, self.gradient.declaration
        self.dependence = self._dependence()
        self.stacks = {stack.value: stack for stack in plan.stacks}
        self.saved = {value: buffer for value, buffer in self._residual_buffers().items()}
        self.regions = {each.target: each.region for each in plan.work}
        self.loop_reads = {value for each in plan.in_region(Region.LOOP) for value in each.reads}
        self._assign_buffers()
        once = self._statements(Region.ONCE)
        before = self._statements(Region.BEFORE)
        binds_from = len(self.outside)
        body = self._loop_body()
        invariant = self.outside[binds_from:]
        after = self._statements(Region.AFTER)
        swaps = tuple(
            (self._view(each.incoming, in_loop=True), self._view(each.outgoing, in_loop=True))
            for each in plan.carried
            if each.outgoing != each.incoming and not self._kept_state(each.outgoing)
        )
        stopped = tuple(Clear(self._view(each.incoming, in_loop=True)) for each in plan.carried if each.outgoing == each.incoming)
        starts, ends = self._ends()
        loop = Loop(plan.reverse, (*body, *stopped), swaps)
        statements = (*self.prologue, *once, *before, *invariant, loop, *after)
        return Kernel(
            plan.name,
            plan.reverse,
            tuple(self.parameters),
            tuple((value.name, self.buffers[value]) for value in plan.given if value in self.buffers and self.buffers[value].use is Use.INPUT),
            declaration_sizes(self.gradient),
            statements,
            starts,
            ends,
            self._results(),
            tuple(dict.fromkeys(self.saved.values())),
        )

    def _dependence(self) -> dict[Value, Dependence]:
        found = dict(self.gradient.primal.dependence())
        for each in self.plan.work:
            shared = isinstance(each.expression, Total) or each.region is Region.ONCE
            if each.region is Region.AFTER and all(found.get(value) is Dependence.SHARED for value in each.reads):
                shared = True
            found[each.target] = Dependence.SHARED if shared else Dependence.RECURRENT
            slot = self.plan.slots.get(each.target)
            members = self._members(each.target)
            for member in members:
                found[member] = found[each.target]
            if slot is not None:
                found.setdefault(slot.stack, found[each.target])
        for stack in self.plan.stacks:
            if stack.is_pack:
                found[stack.value] = Dependence.SHARED
        for value, slot in self.plan.slots.items():
            if slot.stop is not None and value not in found:
                found[value] = found.get(slot.stack, Dependence.RECURRENT)
        return found

    def _members(self, value: Value) -> list[Value]:
        for stack in self.plan.stacks:
            if stack.value == value:
                return [each for slot in stack.members for each in slot]
        slot = self.plan.slots.get(value)
        if slot is not None and slot.stop is not None:
            stack = next(each for each in self.plan.stacks if each.value == slot.stack)
            return [each for part in stack.members[slot.start : slot.stop] for each in part]
        return []

    def _has_rows(self, value: Value) -> bool:
        if value.role in (Role.PARAMETER, Role.SIZE):
            return False
        return self.dependence.get(value, Dependence.RECURRENT) is not Dependence.SHARED

    def _residual_buffers(self) -> dict[Value, Buffer]:
        """For every residual, the buffer that forward leaves it in."""
        forward = self.schedule.forward
        states = {state.previous: state for state in self.gradient.declaration.states}
        states |= {state.next: state for state in self.gradient.declaration.states}
        stacks = {slot_value: stack for stack in forward.stacks for slot in stack.members for slot_value in slot[-1:]}
        found: dict[Value, Buffer] = {}
        for value in self.schedule.residuals:
            if value in states:
                state = states[value]
                found[value] = Buffer(state.name, (NODES, *state.next.dims, BATCH), Use.RESIDUAL)
            elif value in stacks:
                stack = stacks[value]
                name = stack_name([slot[-1].name for slot in stack.members])
                found[value] = Buffer(name, (STEPS, *stack.value.dims, BATCH), Use.RESIDUAL)
            elif value.role == Role.INPUT:
                found[value] = Buffer(value.name, (STEPS, BATCH, *value.dims), Use.RESIDUAL)
            else:
                found[value] = Buffer(value.name, (STEPS, *value.dims, BATCH), Use.RESIDUAL)
        return found

    def _kept_state(self, value: Value) -> bool:
        return value in self.plan.kept

    def _assign_buffers(self) -> None:
        plan = self.plan
        forward = not plan.reverse
        for value in plan.given:
            if value in self.saved and not forward:
                continue
            if value.role == Role.INPUT and forward and plan.name == "forward" and value in self.saved:
                continue
            self.buffers[value] = Buffer(value.name, (STEPS, BATCH, *value.dims), Use.INPUT)
        for each in plan.carried:
            if self._kept_state(each.outgoing):
                buffer = self.saved.get(each.incoming) if plan.name == "forward" else None
                buffer = buffer or (self.saved.get(each.outgoing) if plan.name == "forward" else None)
                buffer = buffer or Buffer(each.outgoing.name, (NODES, *each.outgoing.dims, BATCH), Use.CARRIED)
                self.buffers[each.incoming] = self.buffers[each.outgoing] = buffer
                self.prologue.append(Allocate(buffer))
            else:
                for value in dict.fromkeys((each.incoming, each.outgoing)):
                    self.buffers[value] = Buffer(value.name, (*value.dims, BATCH), Use.CARRIED)
                    self.prologue.append(Allocate(self.buffers[value]))
        for stack in plan.stacks:
            self._assign_stack(stack)
        for value in plan.slots:
            if value.role == Role.PARAMETER and plan.slots[value].stop is None:
                continue
        # Parameters that something reads directly.
        for each in plan.work:
            for value in each.reads:
                if value.role == Role.PARAMETER and value not in self.stacks and value not in plan.slots:
                    if value.name not in self.parameters:
                        self.parameters.append(value.name)
                    self.buffers[value] = Buffer(value.name, value.dims, Use.PARAMETER)
                elif value.role == Role.PARAMETER and value in plan.slots and plan.slots[value].stop is None:
                    if value.name not in self.parameters:
                        self.parameters.append(value.name)
                    self.buffers[value] = Buffer(value.name, value.dims, Use.PARAMETER)
        self._assign_values()

    def _assign_stack(self, stack: Stack) -> None:
        plan = self.plan
        last = [slot[-1] for slot in stack.members]
        name = stack_name([value.name for value in last])
        if stack.is_pack:
            buffer = Buffer(name, stack.value.dims, Use.PACK)
            self.prologue += [Pack(buffer, tuple(value.name for value in last))]
        elif not self._has_rows(stack.value):
            buffer = Buffer(name, stack.value.dims, Use.SCRATCH)
            self.prologue.append(Allocate(buffer))
        elif any(value in self.saved for value in last) and plan.name in ("forward", "backward"):
            buffer = next(self.saved[value] for value in last if value in self.saved)
            if plan.name == "forward":
                self.prologue.append(Allocate(buffer))
        else:
            every = [value for slot in stack.members for value in slot]
            per_step = any(self.regions.get(value) in (Region.BEFORE, Region.AFTER) for value in (*every, stack.value))
            per_step |= any(value in plan.kept for value in every)
            per_step |= any(
                each.region is not Region.LOOP and set(self._members(each.target)) & set(every) for each in plan.work
            )
            axes = (*stack.value.dims, BATCH)
            buffer = Buffer(name, (STEPS, *axes) if per_step else axes, Use.SCRATCH)
            self.prologue.append(Allocate(buffer))
        self.stack_buffers[stack.value] = buffer

    def _assign_values(self) -> None:
        """Buffers of single values: their own where every step is wanted, else shared scratch."""
        plan = self.plan
        loop = plan.in_region(Region.LOOP)
        last_read = {value: index for index, each in enumerate(loop) for value in each.reads}
        free: dict[Axes, list[Buffer]] = {}
        busy: list[tuple[int, Buffer]] = []
        count = 0
        for each in plan.work:
            target = each.target
            if target in self.buffers or target in plan.slots or target in self.stacks:
                continue
            axes = (*target.dims, BATCH) if self._has_rows(target) else target.dims
            if plan.name == "forward" and target in self.saved:
                self.buffers[target] = self.saved[target]
            elif target in plan.results and each.region is not Region.LOOP and target.role == Role.ADJOINT:
                continue  # placed by _result_buffer
            elif each.region is Region.LOOP and target not in plan.kept:
                continue
            else:
                per_step = self._has_rows(target)
                self.buffers[target] = Buffer(target.name, (STEPS, *axes) if per_step else axes, Use.SCRATCH)
            self.prologue.append(Allocate(self.buffers[target]))
        for index, each in enumerate(loop):
            target = each.target
            for until, buffer in list(busy):
                if until < index:
                    busy.remove((until, buffer))
                    free.setdefault(buffer.axes, []).append(buffer)
            if target in self.buffers or target in plan.slots or target in self.stacks:
                continue
            axes = (*target.dims, BATCH) if self._has_rows(target) else target.dims
            # A result may overwrite an operand that is read here for the last time, if it is of its own shape and the
            # statement works entry by entry.
            reusable = [one for one in busy if one[0] == index and one[1].axes == axes]
            if reusable and not isinstance(each.expression, Operation):
                busy.remove(reusable[0])
                buffer = reusable[0][1]
            elif free.get(axes):
                buffer = free[axes].pop()
            else:
                buffer = Buffer(f"scratch{count}", axes, Use.SCRATCH)
                count += 1
                self.prologue.append(Allocate(buffer))
            self.buffers[target] = buffer
            busy.append((last_read.get(target, index), buffer))
        for each in plan.work:
            target = each.target
            if target not in self.buffers and target not in plan.slots and target not in self.stacks:
                self.buffers[target] = self._result_buffer(target)
                self.prologue.append(Allocate(self.buffers[target]))

    def _result_buffer(self, target: Value) -> Buffer:
        """Gradients go where they are returned: parameters' into the flat buffer, inputs' in the public layout."""
        for value in self.gradient.declaration.inputs:
            if self.gradient.adjoints.get(value) == target:
                return Buffer(target.name, (STEPS, BATCH, *target.dims), Use.RESULT)
        return Buffer(target.name, target.dims, Use.RESULT)

    # -- views -------------------------------------------------------------------------------------------------------

    def _view(self, value: Value, *, in_loop: bool) -> View:
        key = (value, in_loop)
        if key not in self.bound:
            self.bound[key] = self._make_view(value, in_loop)
        return self.bound[key]

    def _make_view(self, value: Value, in_loop: bool) -> View:
        plan = self.plan
        if value in self.buffers:
            return self._window(value.name, value, self.buffers[value], in_loop)
        slot = plan.slots.get(value)
        if slot is None and value in self.stacks:
            return self._window(stack_name([s[-1].name for s in self.stacks[value].members]), value, self.stack_buffers[value], in_loop)
        if slot is not None:
            buffer = self.stack_buffers[slot.stack]
            name = value.name
            if slot.stop is not None:  # a run of slots is known by what it holds in the end
                members = self.stacks[slot.stack].members[slot.start : slot.stop]
                name = stack_name([each[-1].name for each in members])
            return self._window(name, value, buffer, in_loop, slot)
        if value in self.saved:
            return self._window(value.name, value, self.saved[value], in_loop)
        raise InternalError(f"{plan.name}: {value} has no place")

    def _window(self, name: str, value: Value, buffer: Buffer, in_loop: bool, slot: Slot | None = None) -> View:
        axes = list(buffer.axes)
        step: int | None = None
        drop = ""
        is_next = any(value == each.outgoing for each in self.plan.carried) and not self.plan.reverse
        is_next |= any(value == state.next for state in self.gradient.declaration.states)
        if axes[:1] == [NODES]:
            if in_loop:
                step = 1 if is_next else 0
                axes = axes[1:]
            else:
                drop = "first" if is_next else "last"
                axes[0] = STEPS
        elif axes[:1] == [STEPS] and in_loop:
            step = 0
            axes = axes[1:]
        start = stop = None
        if slot is not None:
            start, stop = slot.start, slot.stop
            at = next(index for index, axis in enumerate(axes) if axis.startswith("stack"))
            if stop is None:
                axes.pop(at)
            else:
                axes[at] = f"stack{stop - start}"
        return View(name, buffer, tuple(axes), step, drop, start, stop)

    # -- statements --------------------------------------------------------------------------------------------------

    def _statements(self, region: Region) -> list[Statement]:
        found: list[Statement] = []
        for each in self.plan.in_region(region):
            found += self._note(each)
            found += self._compute(each, in_loop=False)
        return found

    def _loop_body(self) -> list[Statement]:
        found: list[Statement] = []
        for each in self.plan.in_region(Region.LOOP):
            found += self._note(each)
            found += self._compute(each, in_loop=True)
        return found

    def _note(self, work: Work) -> list[Statement]:
        shown = [each for each in work.sources if each.target not in self.text.inline]
        if not shown:  # a product that lstmgen named: what it computes says more than its name
            return [Note((", ".join(self.text(each.expression) for each in work.sources),))]
        lines = [self.text.equation(each) for each in shown]
        described = [self._description(each) for each in shown]
        pattern = common_pattern(lines, [each.target.name for each in shown])
        if pattern:
            lines, described = [pattern], [", ".join(filter(None, described))]
        return [Note(tuple(f"{line}  ({what})" if what else line for line, what in zip(lines, described, strict=True)))]

    def _description(self, equation: Equation) -> str:
        return "" if equation.target.role in (Role.ADJOINT, Role.PREACTIVATION) else equation.description

    def _compute(self, work: Work, *, in_loop: bool) -> list[Statement]:
        target, expression = work.target, work.expression
        out = self._view(target, in_loop=in_loop)
        totalled = isinstance(expression, Total)
        if isinstance(expression, Total):
            expression = expression.args[0]  # type: ignore[assignment]
        if isinstance(expression, Contract):
            return [self._product(out, expression, in_loop)]
        if totalled:
            value = self._view(expression, in_loop=in_loop)  # type: ignore[arg-type]
            axes = tuple(axis for axis in value.axes if axis in (STEPS, BATCH))
            return [Reduce("total", out, value, axes)]
        if isinstance(expression, Operation):
            return [self._structural(out, expression, in_loop)]
        return [Block((Assign(out, self._scalar(expression, in_loop)),))]

    def _product(self, out: View, expression: Contract, in_loop: bool) -> Product:
        left, right = (self._view(value, in_loop=in_loop) for value in expression.values)  # type: ignore[arg-type]
        of_left, of_right, of_out = expression.axes
        return Product(
            out, left, right, (_labels(left, of_left), _labels(right, of_right), _labels(out, of_out))
        )

    def _structural(self, out: View, expression: Operation, in_loop: bool) -> Statement:
        value = self._view(expression.values[0], in_loop=in_loop)  # type: ignore[arg-type]
        if isinstance(expression, SumOver):
            return Reduce("sum", out, value, (expression.dim,))
        if isinstance(expression, MaxOver):
            return Reduce("max", out, value, (expression.dim,))
        if isinstance(expression, FirstMaximum):
            return Reduce("first maximum", out, value, (expression.dim,))
        kinds = {Transpose: "transpose", Flatten: "flatten", Unflatten: "unflatten", StopGradient: "copy"}
        return Move(kinds[type(expression)], out, value)  # type: ignore[index]

    def _scalar(self, expression: Expr, in_loop: bool) -> Scalar:
        if isinstance(expression, Value):
            if expression.role == Role.SIZE:
                return Size(expression.name)
            return Ref(self._view(expression, in_loop=in_loop))
        if isinstance(expression, Number | NumberSymbol):
            return Const(float(expression))
        if isinstance(expression, Add):
            return self._sum(expression, in_loop)
        if isinstance(expression, Mul):
            return self._product_of_factors(expression, in_loop)
        if isinstance(expression, Pow):
            return self._power(expression, in_loop)
        arguments = tuple(self._scalar(arg, in_loop) for arg in expression.args)  # type: ignore[arg-type]
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
            sign, body = split_sign(term)  # type: ignore[arg-type]
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

    # -- ends --------------------------------------------------------------------------------------------------------

    def _ends(self) -> tuple[tuple[tuple[str, View], ...], tuple[tuple[str, View], ...]]:
        """Where carried values come in and where they are found when the loop is over, by state."""
        starts, ends = [], []
        for each, state in zip(self.plan.carried, self.gradient.declaration.states, strict=True):
            incoming = self._view(each.incoming, in_loop=True)
            starts.append((state.name, incoming))
            ends.append((state.name, incoming))  # after the last swap, what was written is called incoming
        return tuple(starts), tuple(ends)

    def _results(self) -> tuple[tuple[str, View], ...]:
        declaration = self.gradient.declaration
        if not self.plan.reverse:
            return tuple((value.name, self._view(value, in_loop=False)) for value in declaration.outputs)
        wanted = [*(each.value for each in declaration.parameters), *declaration.inputs]
        found = []
        for value in wanted:
            adjoint = self.gradient.adjoints.get(value)
            if adjoint is not None:
                found.append((value.name, self._view(adjoint, in_loop=False)))
        return tuple(found)


def common_pattern(lines: Sequence[str], names: Sequence[str]) -> str:
    """One line for several that differ in one word: ``k = sigmoid(a_k)  for k = f, i, o``; empty if they do not."""
    if len(lines) < 2:
        return ""
    keys = [key for name in names for key in name.split("_") if all(key not in other.split("_") for other in names if other != name)]
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


def declaration_sizes(gradient: Gradient) -> tuple[str, ...]:
    """The dimensions whose sizes a kernel mentions."""
    from lstmgen.calculus.interpreter import all_dims

    return all_dims(gradient.declaration, gradient.primal)


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


__all__ = ["Bind", "lower"]
