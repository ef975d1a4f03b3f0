"""Plan in, storage out: the buffer of every value, and the window on it that each statement sees.

Every array of the loop has ``batch`` as its last axis, so that a stacked product's slots are contiguous and elementwise
calls run over long rows. What is wanted for every step lies in buffers with a ``steps`` axis in front, a state in one
with an entry for each point between steps; other values of the loop share scratch, assigned by when they are last read.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from lstmgen.calculus.operations import Total
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import BATCH, NODES, STEPS, Allocate, Axes, Buffer, Note, Pack, Use, View
from lstmgen.schedule.work import Plan, Region, Schedule, Slot, Stack, Work, stack_count, stack_dim


def residual_buffers(gradient: Gradient, schedule: Schedule) -> dict[Value, Buffer]:
    """For every residual, the buffer that forward leaves it in for backward."""
    states = {value: state for state in gradient.declaration.states for value in (state.previous, state.next)}
    stacks = {slot[-1]: stack.value for stack in schedule.forward.stacks for slot in stack.members}
    found: dict[Value, Buffer] = {}
    for value in schedule.residuals:
        if value in states:
            state = states[value].next
            found[value] = Buffer(state.name, (NODES, *state.dims, BATCH), Use.RESIDUAL)
        elif value in stacks:
            found[value] = Buffer(stacks[value].name, (STEPS, *stacks[value].dims, BATCH), Use.RESIDUAL)
        else:
            found[value] = Buffer(value.name, (STEPS, *value.dims, BATCH), Use.RESIDUAL)
    return found


def shared_values(plan: Plan) -> frozenset[Value]:
    """The values of a plan that have no rows: parameters, what is made of them alone, and totals."""
    shared: set[Value] = {stack.value for stack in plan.stacks if stack.is_pack}

    def is_shared(value: Value) -> bool:
        home = plan.slots[value].stack if value in plan.slots else value
        return value.role in SHARED_ROLES or bool(shared & {value, home})

    for work in plan.work:
        of_shared = all(map(is_shared, work.reads))
        if isinstance(work.expression, Total) or work.region is Region.ONCE or of_shared:
            shared |= {work.target, *plan.members(work.target)}
            if work.target in plan.slots:
                shared.add(plan.slots[work.target].stack)
    return frozenset(shared)


def assign_storage(gradient: Gradient, schedule: Schedule, plan: Plan) -> Storage:
    """Gives every value of ``plan`` a place."""
    return _Assignment(gradient, plan, residual_buffers(gradient, schedule)).run()


@dataclass(frozen=True)
class Storage:
    """Where values lie. ``setup`` makes the buffers; ``parameters`` and ``constants`` are read where they are."""

    plan: Plan
    next_values: frozenset[Value]
    buffers: dict[Value, Buffer]
    setup: tuple[Note | Allocate | Pack, ...]
    parameters: tuple[str, ...]
    constants: tuple[str, ...]
    saved: tuple[Buffer, ...]
    inputs: tuple[tuple[str, Buffer], ...]

    def view(self, value: Value, *, in_loop: bool) -> View:
        """The window on ``value``: at the current step inside the loop, for all steps outside."""
        slot = self.plan.slots.get(value)
        home = value if value in self.buffers else (slot.stack if slot is not None else value)
        if home not in self.buffers:
            raise InternalError(f"{self.plan.name}: {value} has no place")
        return self._window(value, self.buffers[home], slot if home != value else None, in_loop)

    def _window(self, value: Value, buffer: Buffer, slot: Slot | None, in_loop: bool) -> View:
        axes, step, drop = list(buffer.axes), None, ""
        is_next = value in self.next_values
        if axes[:1] == [NODES] and in_loop:
            step = 1 if is_next else 0
            axes = axes[1:]
        elif axes[:1] == [NODES]:
            drop = "first" if is_next else "last"
            axes[0] = STEPS
        elif axes[:1] == [STEPS] and in_loop:
            step = 0
            axes = axes[1:]
        if slot is None:
            return View(value.name, buffer, tuple(axes), step, drop)
        at = next(index for index, axis in enumerate(axes) if stack_count(axis) is not None)
        axes[at : at + 1] = [] if slot.stop is None else [stack_dim(slot.stop - slot.start)]
        return View(value.name, buffer, tuple(axes), step, drop, slot.start, slot.stop)


@dataclass
class _Assignment:
    """Storage while it is being assigned."""

    gradient: Gradient
    plan: Plan
    residuals: dict[Value, Buffer]
    buffers: dict[Value, Buffer] = field(default_factory=dict)
    setup: list[Allocate | Pack] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)

    def run(self) -> Storage:
        plan, declaration = self.plan, self.gradient.declaration
        self.shared = shared_values(plan)
        saves = plan.name == "forward"
        self.saved = self.residuals if saves else {}
        inputs = []
        for value in plan.given:
            if value in plan.slots:
                continue  # it lies in a stack
            if value in self.residuals and (saves or plan.reverse):
                self.buffers[value] = self.residuals[value]
            else:
                self.buffers[value] = Buffer(value.name, (STEPS, *value.dims, BATCH), Use.INPUT)
                inputs.append((value.name, self.buffers[value]))
        self._carried()
        for stack in plan.stacks:
            self._stack(stack)
        self._parameters()
        for work in plan.work:
            if not self._placed(work.target):
                self._own(work)
        self._scratch(plan.in_region(Region.LOOP))
        for work in plan.work:
            if not self._placed(work.target):
                self._allocate(work.target, self._result(work.target))
        return Storage(
            plan,
            frozenset(state.next for state in declaration.states),
            self.buffers,
            _in_sections(self.setup),
            tuple(self.parameters),
            tuple(self.constants),
            tuple(dict.fromkeys(self.residuals.values())) if saves or plan.reverse else (),
            tuple(inputs),
        )

    def _placed(self, value: Value) -> bool:
        return value in self.buffers or value in self.plan.slots

    def _allocate(self, value: Value, buffer: Buffer) -> None:
        self.buffers[value] = buffer
        self.setup.append(Allocate(buffer))

    def _axes(self, value: Value) -> Axes:
        """The axes of a value at one step."""
        return value.dims if value in self.shared else (*value.dims, BATCH)

    def _carried(self) -> None:
        """What is handed on: a buffer with all nodes where every step is kept, else two that change places."""
        for each in self.plan.carried:
            if each.outgoing in self.plan.kept:
                buffer = self.saved.get(each.incoming) or self.saved.get(each.outgoing)
                buffer = buffer or Buffer(each.outgoing.name, (NODES, *each.outgoing.dims, BATCH), Use.CARRIED)
                self._allocate(each.incoming, buffer)
                self.buffers[each.outgoing] = buffer
            else:
                for value in dict.fromkeys((each.incoming, each.outgoing)):
                    self._allocate(value, Buffer(value.name, (*value.dims, BATCH), Use.CARRIED))

    def _stack(self, stack: Stack) -> None:
        value, last = stack.value, [slot[-1] for slot in stack.members]
        if stack.is_pack:
            self.buffers[value] = Buffer(value.name, value.dims, Use.PACK)
            self.setup.append(Pack(self.buffers[value], tuple(each.name for each in last)))
        elif self.plan.name != "infer" and any(each in self.residuals for each in last):
            self.buffers[value] = next(self.residuals[each] for each in last if each in self.residuals)
            if self.saved:
                self.setup.append(Allocate(self.buffers[value]))
        elif value in self.shared:
            self._allocate(value, Buffer(value.name, value.dims, Use.SCRATCH))
        else:
            lead = (STEPS,) if self._every_step(stack) else ()
            self._allocate(value, Buffer(value.name, (*lead, *value.dims, BATCH), Use.SCRATCH))

    def _every_step(self, stack: Stack) -> bool:
        """Whether a stack is wanted for every step: something in it is kept, or computed outside the loop."""
        members = set(self.plan.members(stack.value))
        outside = {
            member
            for work in self.plan.work
            if work.region is not Region.LOOP
            for member in (work.target, *self.plan.members(work.target))
        }
        return bool(members & {*self.plan.kept, *outside})

    def _parameters(self) -> None:
        """Parameters that some work reads by themselves, and constants; those read side by side have a pack."""
        names = {Role.PARAMETER: self.parameters, Role.CONSTANT: self.constants}
        for work in self.plan.work:
            for value in work.reads:
                if value.role in names and value not in self.buffers and self._is_single(value):
                    names[value.role].append(value.name)
                    self.buffers[value] = Buffer(value.name, value.dims, Use.PARAMETER)

    def _is_single(self, value: Value) -> bool:
        slot = self.plan.slots.get(value)
        return slot is None or slot.stop is None

    def _own(self, work: Work) -> None:
        """A buffer of its own for what is wanted for every step, or is computed outside the loop."""
        target = work.target
        looped = work.region is Region.LOOP
        if target in self.saved:
            self._allocate(target, self.saved[target])
        elif looped and target not in self.plan.kept:
            return  # scratch
        elif not looped and target.role == Role.ADJOINT and target in self.plan.results:
            return  # a result
        else:
            lead = () if target in self.shared else (STEPS,)
            self._allocate(target, Buffer(target.name, (*lead, *self._axes(target)), Use.SCRATCH))

    def _scratch(self, loop: Sequence[Work]) -> None:
        """Scratch for the other values of the loop: a buffer is free again after its value's last reader."""
        last_read = {value: index for index, work in enumerate(loop) for value in work.reads}
        free: dict[Axes, list[Buffer]] = {}
        busy: list[tuple[int, Buffer]] = []
        names = (name for count in itertools.count() if (name := f"scratch{count}") not in self._names())
        for index, work in enumerate(loop):
            for until, buffer in [each for each in busy if each[0] < index]:
                busy.remove((until, buffer))
                free.setdefault(buffer.axes, []).append(buffer)
            if self._placed(work.target):
                continue
            axes = self._axes(work.target)
            # Elementwise work may overwrite an operand of its own shape that it is the last to read.
            dying = [each for each in busy if each[0] == index and each[1].axes == axes]
            if dying and not isinstance(work.expression, Operation):
                busy.remove(dying[0])
                buffer = dying[0][1]
            elif free.get(axes):
                buffer = free[axes].pop()
            else:
                buffer = Buffer(next(names), axes, Use.SCRATCH)
                self.setup.append(Allocate(buffer))
            self.buffers[work.target] = buffer
            busy.append((last_read.get(work.target, index), buffer))

    def _names(self) -> set[str]:
        """Every name of the plan, which no scratch may have."""
        values = [value for work in self.plan.work for value in (work.target, *work.reads)]
        values += [value for each in self.plan.carried for value in (each.incoming, each.outgoing)]
        names = {value.name for value in (*values, *self.plan.given, *self.plan.slots)}
        return names | {buffer.name for buffer in self.residuals.values()}

    def _result(self, target: Value) -> Buffer:
        """Gradients go where they are returned: parameters' into the flat buffer, inputs' in the public layout."""
        inputs = self.gradient.declaration.inputs
        of_input = any(self.gradient.adjoints.get(value) == target for value in inputs)
        lead = (STEPS, BATCH) if of_input else ()
        return Buffer(target.name, (*lead, *target.dims), Use.RESULT)


def _in_sections(setup: Sequence[Allocate | Pack]) -> tuple[Note | Allocate | Pack, ...]:
    """The making of all buffers in an order that reads well, each kind under a note."""
    packs = [each for each in setup if isinstance(each, Pack)]
    allocations = [each for each in setup if isinstance(each, Allocate)]
    whole = [each for each in allocations if each.buffer.axes[:1] in ((STEPS,), (NODES,))]
    rest = [each for each in allocations if each not in whole]
    sections: list[tuple[str, Sequence[Allocate | Pack]]] = [
        ("Parameters that enter one product or one call lie side by side.", packs),
        ("Arrays for all steps.", whole),
        ("Working space.", rest),
    ]
    found: list[Note | Allocate | Pack] = []
    for title, statements in sections:
        if statements:
            found += [Note((title,)), *statements]
    return tuple(found)
