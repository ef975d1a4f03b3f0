"""The data of a schedule: pieces of work, stacks, and the plan of one pass over time."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sympy import Expr

from lstmgen.calculus.graph import operands_of
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import Dims
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.kernel import BATCH, NODES
from lstmgen.schedule.target import Fold


class Region(StrEnum):
    """Where in a pass, which goes through the steps chunk by chunk, a value is computed."""

    ONCE = "once"  # depends on parameters only
    BEFORE = "before the loop"  # a chunk's steps at once: depends on no state
    LOOP = "loop"  # step by step
    AFTER = "after the loop"  # a chunk's steps at once: no state depends on it
    END = "at the end"  # after the last chunk: depends on totals over all steps


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


ONE = Value("one", (), Role.CONSTANT)
"""The number one as a part of a joint: what a bias is multiplied with."""


ZERO = Value("zero", (), Role.CONSTANT)
"""What stands among joined parameters for a bias that a sum lacks."""


@dataclass(frozen=True)
class Joint:
    """Vectors one below the other in one buffer, so that one product covers them: states, inputs, ones."""

    value: Value
    parts: tuple[Value, ...]

    @property
    def dim(self) -> str:
        """The name of the dimension along which the parts lie; no declared dimension can have it."""
        return joint_dim(self.parts)

    def part(self, value: Value) -> Part:
        """Where one of its vectors lies."""
        return self.part_at(self.parts.index(value))

    def part_at(self, place: int) -> Part:
        """Where the vector at this place lies."""
        before = tuple(dim for each in self.parts[:place] for dim in each.dims or ("1",))
        return Part(self.value, before, self.parts[place].dims)

    def ones(self) -> tuple[int, ...]:
        """The rows that hold ones, counted from the end."""
        return tuple(k - len(self.parts) for k, each in enumerate(self.parts) if each == ONE)


@dataclass(frozen=True)
class Part:
    """Where a vector, or the columns of a matrix, lie in a joint: after the dimensions ``before``."""

    home: Value
    before: Dims
    own: Dims


def joint_dim(parts: tuple[Value, ...]) -> str:
    """The name of the dimension along which vectors are joined."""
    return " + ".join(dim for each in parts for dim in each.dims or ("1",))


def is_joint(dim: str) -> bool:
    """Whether a dimension is that of a joint."""
    return " + " in dim and dim != NODES


@dataclass(frozen=True)
class Carried:
    """A value that one step hands to the next: read as ``incoming``, written as ``outgoing``."""

    incoming: Value
    outgoing: Value


@dataclass(frozen=True)
class Plan:
    """One pass over time: forward, backward, or the rebuilding of what forward did not save.

    ``kept`` are values of the loop that are wanted for every step, as residuals, as outputs, or after the loop.
    ``given`` are the values that come from outside for every step. ``joints`` are vectors that lie one below the other,
    ``joined`` the parameters side by side that are multiplied with them, ``parts`` where what has a place in a joint,
    or among its columns, lies. ``batch_last`` says where arrays have the batch.
    ``scales`` are the factors with which parameters are packed for this pass, where that is not 1, for the sake of
    ``folds``.
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
    batch_last: bool = True
    scales: dict[Value, float] = field(default_factory=dict)
    folds: tuple[Fold, ...] = ()
    joints: tuple[Joint, ...] = ()
    joined: dict[Value, tuple[Value, ...]] = field(default_factory=dict)
    parts: dict[Value, Part] = field(default_factory=dict)

    def laid(self, dims: Dims) -> Dims:
        """The axes at one step, in the order of memory, of a value with rows."""
        return (*dims, BATCH) if self.batch_last else (BATCH, *dims)

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
    """Every decision about a cell for one kind of target.

    ``residuals`` are the values that backward reads. Forward saves them for all steps; or it saves the ``checkpoints``
    among its inputs and states alone, and ``rebuild`` makes the others from these, a chunk of steps at a time. A pass
    goes through the steps in chunks of ``chunk_rows`` rows (steps times batch), but of ``chunk_steps`` steps at least.
    """

    recurrence: Recurrence
    forward: Plan
    backward: Plan
    rebuild: Plan
    residuals: tuple[Value, ...]
    checkpoints: tuple[Value, ...]
    chunk_rows: int
    chunk_steps: int
