"""The kernel: a small typed loop program, what scheduling yields and back ends print.

Arrays have named axes: ``steps``, declared dimensions, ``<n> slots`` for n values side by side, and ``batch``. A
:class:`View` is a named window on a :class:`Buffer`. Elementwise work comes as fused :class:`Block` assignments; a back
end without fusion has :mod:`lstmgen.schedule.calls` break them up into :class:`Call`, one operation each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

STEPS = "steps"
NODES = "steps + 1"  # the points between steps: a state before the first step to one after the last
BATCH = "batch"

Axes = tuple[str, ...]


class Use(StrEnum):
    """What a buffer is for, and so how long it must live."""

    PARAMETER = "parameter"  # a parameter itself
    PACK = "pack"  # parameters copied side by side
    INPUT = "input"  # an array that was passed in
    RESIDUAL = "residual"  # saved by forward for backward
    CARRIED = "carried"  # handed from step to step
    SCRATCH = "scratch"  # of no interest afterwards
    RESULT = "result"  # returned
    MASK = "mask"  # scratch of truth values


@dataclass(frozen=True)
class Buffer:
    """One array, by name, with the axes in the order of its memory."""

    name: str
    axes: Axes
    use: Use


@dataclass(frozen=True)
class View:
    """A window on a buffer under the name the code knows it by.

    ``step`` is None for the whole buffer, else the offset from the current step that it shows (0, or 1 for what the
    current step leaves behind); ``drop`` leaves out that many entries at the end ("last") or the beginning ("first") of
    a buffer of nodes. ``start`` and ``stop`` select slots of a stack; ``stop`` None selects the one at ``start``.
    ``part`` selects a part of a joint, by the axes that lie before it and its own.
    """

    name: str
    buffer: Buffer
    axes: Axes
    step: int | None = None
    drop: str = ""
    start: int | None = None
    stop: int | None = None
    part: tuple[Axes, Axes] | None = None

    @property
    def is_partial(self) -> bool:
        """Whether it shows a part only of what lies at a step."""
        return self.start is not None or self.part is not None


@dataclass(frozen=True)
class Const:
    """A number."""

    value: float


@dataclass(frozen=True)
class Size:
    """The size of a dimension, as a number."""

    dim: str


@dataclass(frozen=True)
class Ref:
    """The entry of a view at the current index."""

    view: View


@dataclass(frozen=True)
class Apply:
    """An elementary operation or a nonlinear function, by name."""

    function: str
    arguments: tuple[Scalar, ...]


Scalar = Const | Size | Ref | Apply


@dataclass(frozen=True)
class Note:
    """A comment: the equations that the statements after it compute."""

    lines: tuple[str, ...]


@dataclass(frozen=True)
class Allocate:
    """Makes a buffer; its contents are undefined."""

    buffer: Buffer


@dataclass(frozen=True)
class Pack:
    """Copies parameters, each times its scale: side by side into a stack, a single one into a buffer of its own.

    ``part`` says into which columns (see :class:`View`); slots of one stack have one scale in all columns. A name that
    is empty stands for zeros.
    """

    buffer: Buffer
    parameters: tuple[str, ...]
    scales: tuple[float, ...]
    part: tuple[Axes, Axes] | None = None


@dataclass(frozen=True)
class Product:
    """``out = sum left * right`` over the labels that ``out`` lacks; one label per axis of each view.

    With ``onto`` it is added to what ``out`` holds.
    """

    out: View
    left: View
    right: View
    labels: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]
    onto: bool = False


@dataclass(frozen=True)
class Assign:
    """``out = value`` at every index of ``out``."""

    out: View
    value: Scalar


@dataclass(frozen=True)
class Block:
    """Elementwise assignments over one index space, in order: fused to one kernel where the target can."""

    assignments: tuple[Assign, ...]


@dataclass(frozen=True)
class Call:
    """One elementwise operation with its result's place."""

    function: str
    arguments: tuple[View | Const | Size, ...]
    out: View


@dataclass(frozen=True)
class Reduce:
    """``out`` = the sum, maximum or first maximum's mask of ``value`` along the axes at these places.

    With ``onto`` a sum is added to what ``out`` holds.
    """

    kind: str
    out: View
    value: View
    axes: tuple[int, ...]
    onto: bool = False


@dataclass(frozen=True)
class Move:
    """``out`` = ``value`` rearranged: ``kind`` is transpose, flatten, unflatten or copy."""

    kind: str
    out: View
    value: View


@dataclass(frozen=True)
class Clear:
    """Sets a view to zero."""

    out: View


@dataclass(frozen=True)
class Loop:
    """The time loop. ``swaps`` exchange names at the end of a step: what was written becomes what is read."""

    reverse: bool
    body: tuple[Statement, ...]
    swaps: tuple[tuple[View, View], ...]


@dataclass(frozen=True)
class Chunks:
    """The loop over chunks of steps, from the last to the first with ``reverse``.

    In its body, outside the loop over steps, a buffer with steps shows those of the chunk. A chunk may be as long as
    all steps.
    """

    reverse: bool
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Launch:
    """One kernel on a device: statements that are computed row by row. ``rows`` are the axes that make the rows.

    With ``loop`` it is the whole time loop: the body is that of a step.
    """

    name: str
    body: tuple[Statement, ...]
    rows: Axes
    loop: Loop | None = None


Statement = Note | Allocate | Pack | Product | Block | Call | Reduce | Move | Clear | Loop | Chunks | Launch


@dataclass(frozen=True)
class Kernel:
    """One pass over time as a program.

    ``parameters`` are those read directly, not through a pack, ``constants`` arrays of fixed numbers. ``carried`` is,
    for every state, the view that holds it when a step begins, and so where it starts and where it ends; ``results`` is
    where what is returned lies. ``saved`` are the buffers that forward leaves for backward, ``checkpoints`` those that
    it leaves where backward is to rebuild the others; each holds all steps, any other buffer those of a chunk.
    """

    name: str
    reverse: bool
    parameters: tuple[str, ...]
    constants: tuple[str, ...]
    inputs: tuple[tuple[str, View], ...]
    body: tuple[Statement, ...]
    carried: tuple[tuple[str, View], ...]
    results: tuple[tuple[str, View], ...]
    saved: tuple[Buffer, ...]
    checkpoints: tuple[Buffer, ...]
    with_ones: tuple[tuple[Buffer, tuple[int, ...]], ...] = ()

    def ones(self, buffer: Buffer) -> tuple[int, ...]:
        """The rows of a joint that hold ones, counted from the end: -1 is the last."""
        return dict(self.with_ones).get(buffer, ())


def walk(statements: tuple[Statement, ...]) -> Iterator[Statement]:
    """Every statement, those inside loops included."""
    for statement in statements:
        yield statement
        if isinstance(statement, Loop | Chunks | Launch):
            yield from walk(statement.body)


def views_in(statements: tuple[Statement, ...]) -> Iterator[View]:
    """The views that statements read and write, each as often as it stands there; what is written comes last."""
    for statement in walk(statements):
        match statement:
            case Product(out, left, right):
                yield from (left, right, out)
            case Block(assignments):
                for each in assignments:
                    yield from (*views_of(each.value), each.out)
            case Call(_, arguments, out):
                yield from (each for each in (*arguments, out) if isinstance(each, View))
            case Reduce(_, out, value) | Move(_, out, value):
                yield from (value, out)
            case Clear(out):
                yield out


def views_of(scalar: Scalar) -> Iterator[View]:
    """The views an expression reads."""
    if isinstance(scalar, Ref):
        yield scalar.view
    elif isinstance(scalar, Apply):
        for argument in scalar.arguments:
            yield from views_of(argument)


def show(kernel: Kernel) -> str:
    """The kernel as text, for reading: where its names lie, then one line a statement."""
    lines = [f"kernel {kernel.name}"]
    shown = [*views_in(kernel.body), *(view for _, view in (*kernel.carried, *kernel.results))]
    places = {f"  {view.name} is {_window(view)}": None for view in shown if _window(view) != view.name}
    lines += [*places, *(f"  {view.name} begins as state {name}" for name, view in kernel.carried)]
    for statement in kernel.body:
        lines += _show(statement, "  ")
    lines += [f"  {view.name} ends as state {name}" for name, view in kernel.carried]
    lines += [f"  {view.name} is returned for {name}" for name, view in kernel.results]
    return "\n".join(lines)


def _show(statement: Statement, indent: str) -> list[str]:
    match statement:
        case Note(lines):
            return [f"{indent}# {line}" for line in lines]
        case Allocate(buffer):
            return [f"{indent}allocate {buffer.name}[{', '.join(buffer.axes)}]  ({buffer.use})"]
        case Pack(buffer, parameters, scales, part):
            columns = f"[{_columns(part)}]" if part else ""
            copies = [
                (name or "0") if scale == 1 else f"{scale:g} * {name}"
                for name, scale in zip(parameters, scales, strict=True)
            ]
            return [f"{indent}pack {buffer.name}{columns} <- {', '.join(copies)}"]
        case Product(out, left, right, labels, onto):
            spec = ", ".join(f"{v.name}[{' '.join(ls)}]" for v, ls in zip((left, right), labels[:2], strict=True))
            return [f"{indent}product {out.name}[{' '.join(labels[2])}] {_arrow(onto)} {spec}"]
        case Block(assignments):
            return [f"{indent}{each.out.name} <- {scalar_text(each.value)}" for each in assignments]
        case Call(function, arguments, out):
            return [f"{indent}{out.name} <- {function}({', '.join(_argument(each) for each in arguments)})"]
        case Reduce(kind, out, value, axes, onto):
            over = ", ".join(value.axes[axis] for axis in axes)
            return [f"{indent}{out.name} {_arrow(onto)} {kind}({value.name}, over {over})"]
        case Move(kind, out, value):
            return [f"{indent}{out.name} <- {kind}({value.name})"]
        case Clear(out):
            return [f"{indent}{out.name} <- 0"]
        case Loop(reverse, body, swaps):
            head = "for each step, last to first" if reverse else "for each step"
            inner = [line for each in body for line in _show(each, indent + "  ")]
            tail = [f"{indent}  swap {a.name}, {b.name}" for a, b in swaps]
            return [f"{indent}{head}:", *inner, *tail]
        case Launch(name, body, rows, loop):
            head = f"launch {name}, row by row" if rows else f"launch {name}"
            if loop is not None:
                head += ", all steps, last to first" if loop.reverse else ", all steps"
            return [f"{indent}{head}:", *(line for each in body for line in _show(each, indent + "  "))]
        case Chunks(reverse, body):
            head = "for each chunk of steps, last to first" if reverse else "for each chunk of steps"
            return [f"{indent}{head}:", *(line for each in body for line in _show(each, indent + "  "))]


def _columns(part: tuple[Axes, Axes]) -> str:
    before, own = part
    return f"{' + '.join(own) or 'one'} after {' + '.join(before)}" if before else f"first {' + '.join(own) or 'one'}"


def _arrow(onto: bool) -> str:
    return "<- +" if onto else "<-"


def _window(view: View) -> str:
    parts = [] if view.step is None else ["step" if view.step == 0 else f"step + {view.step}"]
    if view.start is not None:
        parts.append(f"slot {view.start}" if view.stop is None else f"slots {view.start}:{view.stop}")
    if view.part is not None:
        parts.append(_columns(view.part))
    if view.drop:
        parts.append(f"all but the {view.drop}")
    return f"{view.buffer.name}[{', '.join(parts)}]" if parts else view.buffer.name


def _argument(argument: View | Const | Size) -> str:
    if isinstance(argument, View):
        return argument.name
    return f"{argument.value:g}" if isinstance(argument, Const) else f"|{argument.dim}|"


def scalar_text(scalar: Scalar) -> str:
    """An expression in prefix notation."""
    if isinstance(scalar, Apply):
        return f"{scalar.function}({', '.join(scalar_text(each) for each in scalar.arguments)})"
    return scalar.view.name if isinstance(scalar, Ref) else _argument(scalar)
