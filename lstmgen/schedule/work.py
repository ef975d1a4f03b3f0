"""The data of a schedule: pieces of work, stacks, and the plan of one pass over time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sympy import Expr

from lstmgen.calculus.graph import operands_of
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import Dims
from lstmgen.declare.symbols import Value


class Region(StrEnum):
    """Where in a pass a value is computed."""

    ONCE = "once"  # depends on parameters only
    BEFORE = "before the loop"  # all steps at once: depends on no state
    LOOP = "loop"  # step by step
    AFTER = "after the loop"  # all steps at once: no state depends on it


@dataclass(frozen=True)
class Work:
    """``target = expression``, one statement of a pass, and the equations it computes.

    The expression is a graph's, or that of several equations at once over stacked values; ``Total`` may stand around a
    ``Contract`` here, since both are then one product.
    """

    target: Value
    expression: Expr
    region: Region
    sources: tuple[Equation, ...]

    @property
    def reads(self) -> tuple[Value, ...]:
        """The values this work reads."""
        return operands_of(self.expression)


@dataclass(frozen=True)
class Stack:
    """Values of equal dimensions side by side in one buffer, so that one product or one call covers several.

    ``members[k]`` are the values that occupy slot k one after the other: each is the last reader of the one before.
    """

    value: Value
    members: tuple[tuple[Value, ...], ...]

    @property
    def is_pack(self) -> bool:
        """Whether the members are parameters, copied side by side once a call."""
        return all(slot[0].role == "parameter" for slot in self.members)


@dataclass(frozen=True)
class Slot:
    """Where a value lies in a stack: one slot, or slots ``start`` to ``stop``."""

    stack: Value
    start: int
    stop: int | None = None


@dataclass(frozen=True)
class Carried:
    """A value that one step hands to the next: read as ``incoming``, written as ``outgoing``."""

    incoming: Value
    outgoing: Value


@dataclass(frozen=True)
class Plan:
    """One pass over time: forward, inference or backward.

    ``kept`` are values of the loop that are wanted for every step, as residuals, as outputs, or after the loop.
    ``given`` are the values that come from outside for every step.
    """

    name: str
    reverse: bool
    work: tuple[Work, ...]
    stacks: tuple[Stack, ...]
    slots: dict[Value, Slot]
    carried: tuple[Carried, ...]
    kept: tuple[Value, ...]
    given: tuple[Value, ...]
    results: tuple[Value, ...]

    def members(self, value: Value) -> list[Value]:
        """The values that a stack, or a run of its slots, stands for; none for a single value."""
        slot = self.slots.get(value)
        for stack in self.stacks:
            if stack.value == value:
                return [each for part in stack.members for each in part]
            if slot is not None and slot.stop is not None and stack.value == slot.stack:
                return [each for part in stack.members[slot.start : slot.stop] for each in part]
        return []

    def in_region(self, region: Region) -> tuple[Work, ...]:
        """The work of one region, in order."""
        return tuple(each for each in self.work if each.region is region)


def stack_dim(count: int) -> str:
    """The name of the dimension along which ``count`` values are stacked; no declared dimension can have it."""
    return f"{count} slots"


def stack_count(dim: str) -> int | None:
    """How many values a stacked dimension holds; None for a declared one."""
    return int(dim.removesuffix(" slots")) if dim.endswith(" slots") else None


def stacked(dims: Dims, count: int) -> Dims:
    """The dimensions of ``count`` values of ``dims`` stacked."""
    return (stack_dim(count), *dims)


@dataclass(frozen=True)
class Recurrence:
    """What one step of a cell demands of the steps before it.

    ``exchanges`` counts the products and unit reductions on the longest path from state to state within a step: 0 where
    units do not mix, 2 where one product waits for another. ``affine`` says whether the update is affine in the states.
    """

    exchanges: int
    affine: bool


@dataclass(frozen=True)
class Schedule:
    """Every decision about a cell for one kind of target."""

    recurrence: Recurrence
    forward: Plan
    infer: Plan
    backward: Plan
    residuals: tuple[Value, ...]
