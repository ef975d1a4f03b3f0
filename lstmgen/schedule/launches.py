"""Kernel in, kernel out: neighbouring statements become launches, for a back end where a launch has a price (CUDA).

A :class:`Launch` is what one kernel on the device does: all that can be computed row by row without a product of
matrices in between. What does not depend on a product moves ahead of it to the launch before. Where every value of the
time loop is computed elementwise the loop itself becomes one launch, with what is handed on in registers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lstmgen.schedule.calls import overlap
from lstmgen.schedule.kernel import (
    BATCH,
    STEPS,
    Apply,
    Assign,
    Axes,
    Block,
    Chunks,
    Clear,
    Kernel,
    Launch,
    Loop,
    Move,
    Note,
    Product,
    Reduce,
    Ref,
    Scalar,
    Statement,
    Use,
    View,
    views_in,
    walk,
)
from lstmgen.schedule.work import stack_count

ROW_AXES = (STEPS, BATCH)


def with_launches(kernel: Kernel) -> Kernel:
    """``kernel`` with all work that needs no product of matrices in launches; their names tell where they stand."""
    names = _Names(kernel.name)
    body: list[Statement] = []
    run: list[Statement] = []
    for statement in _copies_assigned(kernel.body):
        if isinstance(statement, Chunks):
            body += [*_grouped(run, names.of("before")), _chunks(statement, kernel, names)]
            run = []
        elif isinstance(statement, Block | Reduce | Move | Product | Note | Clear):
            run.append(statement)
        else:
            body += [*_grouped(run, names.of("before")), statement]
            run = []
    return replace(kernel, body=(*body, *_grouped(run, names.of("after"))))


def _copies_assigned(statements: Sequence[Statement]) -> tuple[Statement, ...]:
    """The statements with copies, and outer products whose axes names tell apart, as what they are: assignments."""
    found: list[Statement] = []
    for each in statements:
        if isinstance(each, Loop | Chunks):
            each = replace(each, body=_copies_assigned(each.body))
        elif isinstance(each, Move) and each.kind == "copy":
            each = Block((Assign(each.out, Ref(each.value)),))
        elif isinstance(each, Product) and _is_plain_outer(each):
            each = Block((Assign(each.out, Apply("multiply", (Ref(each.left), Ref(each.right)))),))
        found.append(each)
    return tuple(found)


def _is_plain_outer(product: Product) -> bool:
    """Whether a product sums nothing, and every axis of its result has a name of its own, as its operands have it."""
    names: dict[str, str] = {}
    for view, labels in zip((product.left, product.right, product.out), product.labels, strict=True):
        for axis, label in zip(view.axes, labels, strict=True):
            if names.setdefault(label, axis) != axis:
                return False
    of_left, of_right, of_out = product.labels
    distinct = len({*names.values()}) == len(names)
    return distinct and not product.onto and {*of_left, *of_right} == {*of_out}


def is_wide(statement: Statement) -> bool:
    """Whether a statement computes a matrix or more for each row: more than the threads that a row would have."""
    return sum(stack_count(axis) is None for axis in units_of(written(statement))) > 1


def rows_of(statement: Statement) -> Axes:
    """The axes that make the rows of a statement: steps and batch as far as what it computes has them."""
    return tuple(axis for axis in written(statement).axes if axis in ROW_AXES)


def written(statement: Statement) -> View:
    """What a statement writes."""
    (*_, out) = views_in((statement,))
    return out


def same_place(one: View, two: View) -> bool:
    """Whether two views may show the same memory at some step."""
    return overlap(replace(one, step=None), replace(two, step=None))


def is_row_by_row(statement: Statement) -> bool:
    """Whether a statement computes each row, or what has no rows, from that row alone, without multiplying matrices."""
    match statement:
        case Block() | Move():
            return True
        case Clear(out):
            return BATCH in out.axes
        case Reduce(kind):
            return kind != "total"
        case Product(labels=(of_left, of_right, of_out), onto=onto):
            summed = {*of_left, *of_right} - {*of_out}
            # Products of single vectors: those of matrices are better done by a library.
            alone = {*of_out} <= {*of_left} & {*of_right} or {*of_out} <= {"t", "z"}
            return not onto and not summed & {"t", "z"} and (not summed or alone)
    return False


class _Names:
    """Names of launches: those of their pass and place, numbered where there are several."""

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel
        self.taken: set[str] = set()

    def of(self, place: str) -> Iterator[str]:
        count = 1
        while True:
            name = f"{self.kernel}_{place}" + (f"_{count}" if count > 1 else "")
            count += 1
            if name not in self.taken:
                self.taken.add(name)
                yield name


def _chunks(chunks: Chunks, kernel: Kernel, names: _Names) -> Chunks:
    body: list[Statement] = []
    run: list[Statement] = []
    for statement in chunks.body:
        if isinstance(statement, Loop):
            run, loop = _taken_in(run, statement, kernel)
            body += [*_grouped(run, names.of("before_steps")), _loop(loop, kernel, names)]
            run = []
        else:
            run.append(statement)
    return replace(chunks, body=(*body, *_grouped(run, names.of("after_steps" if body else "chunk"))))


def _taken_in(before: Sequence[Statement], loop: Loop, kernel: Kernel) -> tuple[list[Statement], Loop]:
    """What only steps need of the elementwise work before them, done by the steps instead.

    A step has the entries at hand that the work reads or makes: it spares a pass over the arrays of all steps. What is
    returned stays out of steps that a graph may replay: it lies elsewhere at every call.
    """
    units = {units_of(written(each)) for each in loop.body if isinstance(each, Block)}
    replayed = not _is_one_launch(loop, kernel)
    left: list[_Unit] = []
    taken: list[_Unit] = []
    for unit in reversed(_units(before)):
        statement = unit.statement
        fits = isinstance(statement, Block) and rows_of(statement) == ROW_AXES
        fits = fits and not (replayed and _returns(statement))
        if (
            fits
            and units_of(written(statement)) in units
            and not any(_conflict(statement, other.statement) for other in left)
        ):
            taken.insert(0, unit)
        else:
            left.insert(0, unit)
    inside = [each for unit in taken for each in (*unit.notes, _at_a_step(unit.statement))]
    kept = [each for unit in left for each in unit.statements]
    return [*kept, *_trailing(before)], replace(loop, body=(*inside, *loop.body))


def _returns(statement: Statement) -> bool:
    return any(view.buffer.use is Use.RESULT for view in views_in((statement,)))


def units_of(view: View) -> Axes:
    """The axes of a view within a row."""
    return tuple(axis for axis in view.axes if axis not in ROW_AXES)


def _at_a_step(statement: Statement) -> Statement:
    """Work on a chunk's steps at once as that of one step."""
    assert isinstance(statement, Block)
    return Block(tuple(Assign(_step_of(each.out), _scalar_at_a_step(each.value)) for each in statement.assignments))


def _scalar_at_a_step(scalar: Scalar) -> Scalar:
    match scalar:
        case Ref(view):
            return Ref(_step_of(view))
        case Apply(function, arguments):
            return Apply(function, tuple(map(_scalar_at_a_step, arguments)))
    return scalar


def _step_of(view: View) -> View:
    """A view of a chunk's steps as that of the current one."""
    if view.axes[:1] != (STEPS,):
        return view
    return replace(view, axes=view.axes[1:], step=1 if view.drop == "first" else 0, drop="")


def _loop(loop: Loop, kernel: Kernel, names: _Names) -> Statement:
    """The loop with launches in it, or as one launch."""
    if _is_one_launch(loop, kernel):
        return Launch(next(names.of("steps")), loop.body, (BATCH,), loop)
    return replace(loop, body=tuple(_grouped(loop.body, names.of("step"))))


def _is_one_launch(loop: Loop, kernel: Kernel) -> bool:
    """Whether every value of every step is computed elementwise, from entries at the same place."""
    whole = [each for each in loop.body if not isinstance(each, Note)]
    units = {units_of(written(each)) for each in whole}
    return all(isinstance(each, Block | Clear) for each in whole) and len(units) == 1 and bool(kernel.carried)


@dataclass(frozen=True)
class _Unit:
    """A statement with the notes before it."""

    notes: tuple[Note, ...]
    statement: Statement

    @property
    def statements(self) -> tuple[Statement, ...]:
        return (*self.notes, self.statement)


def _units(statements: Sequence[Statement]) -> list[_Unit]:
    units: list[_Unit] = []
    notes: list[Note] = []
    for each in statements:
        if isinstance(each, Note):
            notes.append(each)
        else:
            units.append(_Unit(tuple(notes), each))
            notes = []
    return units


def _grouped(statements: Sequence[Statement], names: Iterator[str]) -> list[Statement]:
    """The statements in a valid order, those that go row by row in as few launches as that order allows."""
    pending = _units(statements)
    found: list[Statement] = []
    while pending:
        kind: tuple[Axes, bool] | None = None
        taken: list[_Unit] = []
        left: list[_Unit] = []
        for unit in pending:
            fits = is_row_by_row(unit.statement) and kind in (None, _kind(unit.statement))
            if fits and not any(_conflict(unit.statement, other.statement) for other in left):
                kind = _kind(unit.statement)
                taken.append(unit)
            else:
                left.append(unit)
        if taken and kind is not None:
            body = tuple(each for unit in taken for each in unit.statements)
            found.append(Launch(next(names), body, kind[0]))
        pending, waiting = [], left
        for unit in waiting:
            blocked = any(_conflict(unit.statement, other.statement) for other in pending)
            if is_row_by_row(unit.statement) or blocked:
                pending.append(unit)
            else:
                found += unit.statements
    return [*_merged(found), *_trailing(statements)]


def _kind(statement: Statement) -> tuple[Axes, bool]:
    """What statements of one launch have in common: their rows, and whether they are wide."""
    return rows_of(statement), is_wide(statement)


def _trailing(statements: Sequence[Statement]) -> list[Statement]:
    """Notes after the last statement: they belong to what follows."""
    found: list[Statement] = []
    for each in reversed(statements):
        if not isinstance(each, Note):
            break
        found.insert(0, each)
    return found


def _merged(statements: Sequence[Statement]) -> list[Statement]:
    """Launches joined to a later one of equal rows, where nothing in between waits for them."""
    found = list(statements)
    at = 0
    while at < len(found):
        launch, later = found[at], _joinable(found, at)
        if isinstance(launch, Launch) and later is not None:
            other = found[later]
            assert isinstance(other, Launch)
            found[later] = replace(other, name=launch.name, body=(*launch.body, *other.body))
            del found[at]
        else:
            at += 1
    return found


def _joinable(statements: Sequence[Statement], at: int) -> int | None:
    """The next launch that the one at ``at`` could be part of, if it may wait until then."""
    launch = statements[at]
    if not isinstance(launch, Launch):
        return None
    for later in range(at + 1, len(statements)):
        other = statements[later]
        if isinstance(other, Launch) and _kind(_statements_of(other)[0]) == _kind(_statements_of(launch)[0]):
            return later
        between = _statements_of(other) if isinstance(other, Launch) else [other]
        if any(_conflict(one, two) for one in _statements_of(launch) for two in between if not isinstance(two, Note)):
            return None
    return None


def _statements_of(launch: Launch) -> list[Statement]:
    return [each for each in launch.body if not isinstance(each, Note)]


def _conflict(one: Statement, two: Statement) -> bool:
    """Whether the order of two statements matters: one writes what the other reads or writes."""
    *read_by_one, out_of_one = views_in((one,))
    *read_by_two, out_of_two = views_in((two,))
    return any(overlap(out_of_one, view) for view in (*read_by_two, out_of_two)) or any(
        overlap(out_of_two, view) for view in read_by_one
    )


def kept_views(kernel: Kernel) -> Mapping[str, frozenset[View]]:
    """For every launch, by name, the views that it must leave in memory: what something else reads, or is wanted later.

    Of several values that share a place the last is left there, unless another statement in between reads it.
    """
    launches = [each for each in walk(kernel.body) if isinstance(each, Launch)]
    lasting = {*kernel.saved, *kernel.checkpoints}
    found: dict[str, frozenset[View]] = {}
    for launch in launches:
        inside = set(map(id, launch.body))
        outside = [
            view
            for each in walk(kernel.body)
            if id(each) not in inside and not isinstance(each, Launch | Loop | Chunks)
            for view in _reads(each)
        ]
        returned = [view for _, view in (*kernel.carried, *kernel.results)]
        kept: set[View] = set()
        for view in dict.fromkeys(written(each) for each in launch.body if not isinstance(each, Note)):
            buffer = view.buffer
            wanted = (
                buffer in lasting
                or buffer.use in (Use.CARRIED, Use.RESULT)
                or any(same_place(view, each) for each in (*outside, *returned))
            )
            if wanted:
                kept = {each for each in kept if not _covers(view, each)} | {view}
        found[launch.name] = frozenset(kept)
    return found


def _reads(statement: Statement) -> list[View]:
    views = list(views_in((statement,)))
    onto = isinstance(statement, Product | Reduce) and statement.onto
    return views if onto else views[:-1]


def _covers(one: View, two: View) -> bool:
    """Whether what is written to one replaces all of the other."""
    return one.buffer == two.buffer and (one.step, one.start, one.stop, one.part) == (
        two.step,
        two.start,
        two.stop,
        two.part,
    )
