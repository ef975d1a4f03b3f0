"""Plan in, storage out: the buffer of every value, and the window on it that each statement sees.

With a plan's batch last, every array of the loop has ``batch`` as its last axis, so that the slots of a stacked product
are contiguous and elementwise calls run over long rows; else it is the first, as products of each row's matrices want.
What is wanted for every step of a chunk lies in buffers with a ``steps`` axis in front, a state in one with an entry
for each point between steps; other values of the loop share scratch, assigned by when they are last read.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from lstmgen.calculus.operations import Total
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import BATCH, NODES, STEPS, Allocate, Axes, Buffer, Note, Pack, Use, View
from lstmgen.schedule.scaling import explanation
from lstmgen.schedule.work import (
    ZERO,
    Carried,
    Part,
    Plan,
    Region,
    Schedule,
    Slot,
    Stack,
    Work,
    is_joint,
    stack_count,
    stack_dim,
)


def residual_buffers(gradient: Gradient, schedule: Schedule) -> dict[Value, Buffer]:
    """For every residual and checkpoint, the buffer that forward leaves it in for backward."""
    states = {value: state for state in gradient.declaration.states for value in (state.previous, state.next)}
    stacks = {slot[-1]: stack.value for stack in schedule.forward.stacks for slot in stack.members}
    joints = {joint.value: joint for joint in schedule.forward.joints}
    of_joint = {value: part.home for value, part in schedule.forward.parts.items() if part.home in joints}
    found: dict[Value, Buffer] = {}
    laid = schedule.forward.laid
    for value in dict.fromkeys((*schedule.residuals, *schedule.checkpoints)):
        if value in of_joint:
            joint = of_joint[value]
            found[value] = found[joint] = Buffer(joint.name, (NODES, *laid(joint.dims)), Use.RESIDUAL)
        elif value in states:
            state = states[value].next
            found[value] = Buffer(state.name, (NODES, *laid(state.dims)), Use.RESIDUAL)
        elif value in stacks:
            found[value] = Buffer(stacks[value].name, (STEPS, *laid(stacks[value].dims)), Use.RESIDUAL)
        else:
            found[value] = Buffer(value.name, (STEPS, *laid(value.dims)), Use.RESIDUAL)
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
    return _Assignment(gradient, schedule, plan, residual_buffers(gradient, schedule)).run()


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
    checkpoints: tuple[Buffer, ...]
    inputs: tuple[tuple[str, View], ...]
    with_ones: tuple[tuple[Buffer, tuple[int, ...]], ...]

    def view(self, value: Value, *, in_loop: bool) -> View:
        """The window on ``value``: at the current step inside the loop, for all steps outside."""
        part = self.plan.parts.get(value)
        whole = value if part is None else part.home
        slot = self.plan.slots.get(whole)
        home = whole if whole in self.buffers else (slot.stack if slot is not None else whole)
        if home not in self.buffers:
            raise InternalError(f"{self.plan.name}: {value} has no place")
        return self._window(value, self.buffers[home], slot if home != whole else None, part, in_loop)

    def _window(self, value: Value, buffer: Buffer, slot: Slot | None, part: Part | None, in_loop: bool) -> View:
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
        columns = None
        if part is not None:
            columns = (part.before, part.own)
            at = next(index for index, axis in enumerate(axes) if is_joint(axis))
            axes[at : at + 1] = part.own
        if slot is None:
            return View(value.name, buffer, tuple(axes), step, drop, part=columns)
        at = next(index for index, axis in enumerate(axes) if stack_count(axis) is not None)
        axes[at : at + 1] = [] if slot.stop is None else [stack_dim(slot.stop - slot.start)]
        return View(value.name, buffer, tuple(axes), step, drop, slot.start, slot.stop, columns)


@dataclass
class _Assignment:
    """Storage while it is being assigned."""

    gradient: Gradient
    schedule: Schedule
    plan: Plan
    residuals: dict[Value, Buffer]
    buffers: dict[Value, Buffer] = field(default_factory=dict)
    setup: list[Allocate | Pack] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    constants: list[str] = field(default_factory=list)

    def run(self) -> Storage:
        plan, declaration = self.plan, self.gradient.declaration
        self.shared = shared_values(plan)
        # Forward makes what it leaves for backward, rebuilding makes what forward did not leave.
        self.saved = {} if plan.name == "backward" else self.residuals
        inputs = []
        self._joints()
        for value in plan.given:
            if value in plan.slots:
                continue  # it lies in a stack
            if value in plan.parts:
                inputs += [value] if not plan.reverse else []
                continue
            if value in self.residuals:
                self.buffers[value] = self.residuals[value]
            else:
                self.buffers[value] = Buffer(value.name, (STEPS, *plan.laid(value.dims)), Use.INPUT)
            if not plan.reverse or value not in self.residuals:
                self.setup.append(Allocate(self.buffers[value]))
                inputs.append(value)
        if plan.name == "rebuild":
            inputs = []
            for state in declaration.states:
                for value in (state.previous, state.next):
                    if value in self.residuals and value not in plan.parts:
                        self.buffers[value] = self.residuals[value]
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
        storage = Storage(
            plan,
            frozenset(state.next for state in declaration.states),
            self.buffers,
            _in_sections(self.setup, tuple(map(explanation, plan.folds))),
            tuple(self.parameters),
            tuple(self.constants),
            self._buffers_of(self.schedule.residuals),
            self._buffers_of(self.schedule.checkpoints),
            (),
            tuple((self.buffers[joint.value], joint.ones()) for joint in plan.joints if joint.value in self.buffers),
        )
        return replace(storage, inputs=tuple((each.name, storage.view(each, in_loop=False)) for each in inputs))

    def _joints(self) -> None:
        """Vectors one below the other: with all nodes, since states are among them."""
        for joint in self.plan.joints:
            known = self.residuals.get(joint.value)
            axes = (NODES, *self.plan.laid(joint.value.dims))
            buffer = known or Buffer(joint.value.name, axes, Use.CARRIED)
            if known is None and self.plan.reverse:
                continue
            self.buffers[joint.value] = buffer
            if not self.plan.reverse:
                self.setup.append(Allocate(buffer))

    def _buffers_of(self, values: Sequence[Value]) -> tuple[Buffer, ...]:
        return tuple(dict.fromkeys(self.residuals[value] for value in values))

    def _placed(self, value: Value) -> bool:
        return value in self.buffers or value in self.plan.slots or value in self.plan.parts

    def _allocate(self, value: Value, buffer: Buffer) -> None:
        self.buffers[value] = buffer
        self.setup.append(Allocate(buffer))

    def _axes(self, value: Value) -> Axes:
        """The axes of a value at one step."""
        return value.dims if value in self.shared else self.plan.laid(value.dims)

    def _carried(self) -> None:
        """What is handed on: forward a buffer with all nodes, backward one, or two that change places."""
        for each in self.plan.carried:
            if each.outgoing in self.plan.parts:
                continue
            if not self.plan.reverse:
                buffer = self.saved.get(each.incoming) or self.saved.get(each.outgoing)
                axes = (NODES, *self.plan.laid(each.outgoing.dims))
                buffer = buffer or Buffer(each.outgoing.name, axes, Use.CARRIED)
                self._allocate(each.incoming, buffer)
                self.buffers[each.outgoing] = buffer
            else:
                for value in dict.fromkeys((each.incoming, each.outgoing)):
                    if value == each.outgoing != each.incoming and self._overwrites(each):
                        self.buffers[value] = self.buffers[each.incoming]
                    else:
                        self._allocate(value, Buffer(value.name, self.plan.laid(value.dims), Use.CARRIED))

    def _overwrites(self, carried: Carried) -> bool:
        """Whether what a step hands on can take the place of what it was handed: nothing reads that any more."""
        loop = self.plan.in_region(Region.LOOP)
        written = next((index for index, each in enumerate(loop) if each.target == carried.outgoing), None)
        read = max((index for index, each in enumerate(loop) if carried.incoming in each.reads), default=-1)
        if written is None:
            return False
        return read < written or (read == written and not isinstance(loop[written].expression, Operation))

    def _stack(self, stack: Stack) -> None:
        value, last = stack.value, [slot[-1] for slot in stack.members]
        if stack.is_pack:
            self._pack(value, last)
        elif any(each in self.residuals for each in last):
            self.buffers[value] = next(self.residuals[each] for each in last if each in self.residuals)
            if self.saved:
                self.setup.append(Allocate(self.buffers[value]))
        elif value in self.shared:
            self._allocate(value, Buffer(value.name, value.dims, Use.SCRATCH))
        else:
            lead = (STEPS,) if self._every_step(stack) else ()
            self._allocate(value, Buffer(value.name, (*lead, *self.plan.laid(value.dims)), Use.SCRATCH))

    def _pack(self, value: Value, members: Sequence[Value]) -> None:
        """Parameters side by side; those that are joined themselves, column by column."""
        buffer = self.buffers[value] = Buffer(value.name, value.dims, Use.PACK)
        columns = [self.plan.joined.get(each) for each in members]
        if None in columns:
            scales = tuple(self.plan.scales.get(each, 1.0) for each in members)
            self.setup.append(Pack(buffer, tuple(each.name for each in members), scales))
            return
        joint = next(each for each in self.plan.joints if each.dim == value.dims[-1])
        for k, part in enumerate(joint.parts):
            packed = [each[k] for each in columns if each is not None]
            # One scale a slot, also where the slot has a zero.
            scales = tuple(self.plan.scales.get(each[0], 1.0) for each in columns if each is not None)
            names = tuple("" if each == ZERO else each.name for each in packed)
            self.setup.append(Pack(buffer, names, scales, (joint.part_at(k).before, part.dims)))

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
        """Parameters that some work reads by themselves, and constants; those joined or scaled have a pack."""
        names = {Role.PARAMETER: self.parameters, Role.CONSTANT: self.constants}
        for work in self.plan.work:
            for value in work.reads:
                if value.role not in names or value in self.buffers or not self._is_single(value):
                    continue
                if value not in self.plan.joined and value not in self.plan.scales:
                    names[value.role].append(value.name)
                    self.buffers[value] = Buffer(value.name, value.dims, Use.PARAMETER)
                elif value not in self.plan.slots:
                    self._pack(value, [value])

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


def _in_sections(setup: Sequence[Allocate | Pack], of_packs: Sequence[str]) -> tuple[Note | Allocate | Pack, ...]:
    """The making of all buffers in an order that reads well, each kind under a note, packs also under ``of_packs``."""
    packs = [each for each in setup if isinstance(each, Pack)]
    allocations = [each for each in setup if isinstance(each, Allocate)]
    whole = [each for each in allocations if each.buffer.axes[:1] in ((STEPS,), (NODES,))]
    rest = [each for each in allocations if each not in whole]
    sections: list[tuple[Sequence[str], Sequence[Allocate | Pack]]] = [
        (("Parameters that enter one product or one call lie side by side.", *of_packs), packs),
        (("Arrays by step.",), whole),
        (("Working space.",), rest),
    ]
    found: list[Note | Allocate | Pack] = []
    for lines, statements in sections:
        if statements:
            found += [Note(tuple(lines)), *statements]
    return tuple(found)
