"""Breaks fused blocks up into calls: one operation and one result each, with every intermediate in a place of its own.

For a back end where each operation is a call over whole arrays (NumPy). Intermediates go into the result itself where
nothing still has to be read from there, else into scratch that is shared by all statements; what is added to a total
goes through scratch, too. Nothing is allocated inside a loop. A function with no single call on the target is expanded
first (``sigmoid`` by its stable form).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from lstmgen.errors import InternalError
from lstmgen.schedule.kernel import (
    Allocate,
    Apply,
    Assign,
    Axes,
    Block,
    Buffer,
    Call,
    Chunks,
    Const,
    Kernel,
    Loop,
    Product,
    Reduce,
    Ref,
    Scalar,
    Size,
    Statement,
    Use,
    View,
    views_in,
    views_of,
)

Expansion = Callable[..., Scalar]
COMPARISONS = ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or", "logical_not")


@dataclass(frozen=True)
class Functions:
    """What a target can do in one call.

    ``calls`` are the operations it has, ``expansions`` how it writes others with them, ``scratch`` how many arrays of
    working space a call needs besides its result.
    """

    calls: frozenset[str]
    expansions: Mapping[str, Expansion]
    scratch: Mapping[str, int]


def buffered(kernel: Kernel, functions: Functions) -> Kernel:
    """``kernel`` with every block replaced by calls. Raises :class:`InternalError` for a function the target lacks."""
    pool = _Pool({view.buffer.name for view in views_in(kernel.body)})
    body = _statements(kernel.body, functions, pool)
    allocations = [Allocate(buffer) for buffer in pool.made]
    setup = [index for index, each in enumerate(body) if isinstance(each, Allocate)]
    at = setup[-1] + 1 if setup else 0
    return replace(kernel, body=(*body[:at], *allocations, *body[at:]))


class _Pool:
    """Scratch for intermediates, by shape; all of it is free again when a statement ends."""

    def __init__(self, taken: set[str]) -> None:
        self.made: list[Buffer] = []
        self._taken = taken
        self._free: dict[tuple[Axes, Use], list[Buffer]] = {}
        self._busy: list[Buffer] = []

    def take(self, axes: Axes, use: Use = Use.SCRATCH) -> View:
        free = self._free.setdefault((axes, use), [])
        if free:
            buffer = free.pop()
        else:
            kind = "mask" if use is Use.MASK else "temporary"
            names = (f"{kind}{count}" for count in itertools.count(len(self.made)))
            buffer = Buffer(next(name for name in names if name not in self._taken), axes, use)
            self._taken.add(buffer.name)
            self.made.append(buffer)
        self._busy.append(buffer)
        return View(buffer.name, buffer, axes)

    def release(self, view: View) -> None:
        if view.buffer in self._busy:
            self._busy.remove(view.buffer)
            self._free[view.buffer.axes, view.buffer.use].append(view.buffer)

    def release_all(self) -> None:
        for buffer in list(self._busy):
            self._free[buffer.axes, buffer.use].append(buffer)
        self._busy.clear()


def _statements(statements: tuple[Statement, ...], functions: Functions, pool: _Pool) -> tuple[Statement, ...]:
    found: list[Statement] = []
    for statement in statements:
        if isinstance(statement, Loop | Chunks):
            found.append(replace(statement, body=_statements(statement.body, functions, pool)))
        elif isinstance(statement, Block):
            for assign in statement.assignments:
                found += _Breaker(functions, pool, assign).run()
        elif isinstance(statement, Product | Reduce) and statement.onto:
            part = pool.take(statement.out.axes)
            found.append(replace(statement, out=part, onto=False))
            found.append(Call("add", (statement.out, part), statement.out))
            pool.release_all()
        else:
            found.append(statement)
    return tuple(found)


class _Breaker:
    """Breaks one assignment up."""

    def __init__(self, functions: Functions, pool: _Pool, assign: Assign) -> None:
        self.functions, self.pool = functions, pool
        self.out = assign.out
        self.value = self._expand(assign.value)
        self.calls: list[Call] = []

    def run(self) -> list[Call]:
        value = self.value
        if isinstance(value, Apply):
            self._into(value, self.out, outer=())
        else:
            self.calls.append(Call("copy", (_operand(value),), self.out))
        self.pool.release_all()
        return self.calls

    def _expand(self, scalar: Scalar) -> Scalar:
        if not isinstance(scalar, Apply):
            return scalar
        arguments = tuple(self._expand(each) for each in scalar.arguments)
        if scalar.function in self.functions.expansions:
            return self._expand(self.functions.expansions[scalar.function](*arguments))
        if scalar.function not in self.functions.calls:
            raise InternalError(f"the back end has no form for {scalar.function!r}")
        return Apply(scalar.function, arguments)

    def _into(self, value: Apply, place: View, outer: tuple[View, ...]) -> None:
        """Computes ``value`` into ``place``; ``outer`` are views that must stay as they are until later."""
        if value.function == "where" and value.arguments[1:] == (Const(1.0), Const(0.0)):
            condition = value.arguments[0]
            if isinstance(condition, Apply) and condition.function in COMPARISONS:
                value = condition  # a comparison written to a float array is 1 where it holds, else 0
        operands: list[View | Const | Size] = []
        for index, argument in enumerate(value.arguments):
            if not isinstance(argument, Apply):
                operands.append(_operand(argument))
                continue
            later = [view for each in value.arguments[index + 1 :] for view in views_of(each)]
            held = [each for each in operands if isinstance(each, View)]
            operands.append(self._intermediate(argument, place, (*outer, *later, *held)))
        count = self.functions.scratch.get(value.function, 0)
        working = [self.pool.take(place.axes) for _ in range(count)]
        # Calls that write their result in several goes must not stand on an operand that they read later.
        late = operands if count else operands[1:2] if value.function == "where" else []
        if any(isinstance(each, View) and overlap(each, place) for each in late):
            apart = self.pool.take(place.axes)
            self.calls.append(Call(value.function, (*operands, *working), apart))
            self.calls.append(Call("copy", (apart,), place))
            working.append(apart)
        else:
            self.calls.append(Call(value.function, (*operands, *working), place))
        for each in working:
            self.pool.release(each)
        for operand in operands:
            if isinstance(operand, View) and operand.buffer != place.buffer:
                self.pool.release(operand)

    def _intermediate(self, value: Apply, place: View, needed: tuple[View, ...]) -> View:
        """Computes an operand into the result's place if nothing there is needed any more, else into scratch."""
        axes = self._axes(value, place)
        if value.function in (*COMPARISONS, *LOGICAL):
            target = self.pool.take(axes, Use.MASK)
        elif (
            axes == place.axes and place.buffer.use is not Use.MASK and not any(overlap(each, place) for each in needed)
        ):
            target = place
        else:
            target = self.pool.take(axes)
        self._into(value, target, needed)
        return target

    def _axes(self, value: Scalar, place: View) -> Axes:
        """The axes of an intermediate, in the order of the place it is computed for."""
        own = [view.axes for view in views_of(value)]
        if any(axes == place.axes for axes in own):
            return place.axes
        present = {axis for axes in own for axis in axes}
        return tuple(axis for axis in self.out.axes if axis in present)


def _operand(scalar: Scalar) -> View | Const | Size:
    if isinstance(scalar, Apply):
        raise InternalError("a compound operand was not computed")
    return scalar.view if isinstance(scalar, Ref) else scalar


def overlap(a: View, b: View) -> bool:
    """Whether two views may show the same memory."""
    if a.buffer != b.buffer or a.step != b.step:
        return False
    if a.part is not None and b.part is not None and a.part != b.part:
        return False
    if a.start is None or b.start is None:
        return True
    a_stop = a.stop if a.stop is not None else a.start + 1
    b_stop = b.stop if b.stop is not None else b.start + 1
    return a.start < b_stop and b.start < a_stop
