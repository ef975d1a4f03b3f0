"""Slots shared over time, and equal work on neighbouring slots as one call.

Values that take part in elementwise work slot by slot inherit the slots: ``f = sigmoid(a_f)`` overwrites ``a_f``. Work
of one form on neighbouring slots then becomes one call over all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lstmgen.calculus.graph import operands_of, substitute
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import InternalError
from lstmgen.schedule.stacks import Stacking, replace_work
from lstmgen.schedule.work import Region, Work


def inherit_slots(work: Sequence[Work], stacking: Stacking, pinned: Iterable[Value], kept: Iterable[Value]) -> None:
    """Lets elementwise results take the slot of an operand that they are the last to read, and the other way round.

    ``pinned`` values have a place of their own: states, results. ``kept`` values are wanted later: they may take a slot
    and nothing may overwrite them.
    """
    pinned = set(pinned)
    lasting = pinned | set(kept)
    last_reader: dict[Value, Work] = {}
    regions = list(Region)
    for each in sorted(work, key=lambda each: regions.index(each.region)):  # as it runs, not as it was derived
        for value in each.reads:
            last_reader |= dict.fromkeys((value, *stacking.parts(value)), each)
    varying = {
        value
        for each in work
        if each.region in (Region.BEFORE, Region.LOOP)
        for value in (each.target, *stacking.parts(each.target))
    }
    for each in work:
        target = each.target
        if isinstance(each.expression, Operation) or target in stacking.slots or target in pinned:
            continue
        if each.region not in (Region.BEFORE, Region.LOOP):
            continue
        for value in each.reads:
            if (
                value in stacking.slots
                and value in varying
                and value.dims == target.dims
                and last_reader[value] is each
                and value not in lasting
                and stacking.occupants[stacking.slots[value].stack][stacking.slots[value].start][-1] == value
            ):
                stacking.inherit(target, value)
                break
    for each in reversed(work):
        target = each.target
        if isinstance(each.expression, Operation) or target not in stacking.slots or each.region is not Region.LOOP:
            continue
        slot = stacking.slots[target]
        if slot.stop is not None or stacking.occupants[slot.stack][slot.start][0] != target:
            continue
        writers = [(value, one) for value in each.reads for one in work if one.target == value]
        # What the loop does not compute lies in an array for all steps anyhow: it comes first.
        for value, writer in sorted(writers, key=lambda pair: pair[1].region is Region.LOOP):
            if (
                writer.region in (Region.BEFORE, Region.LOOP)
                and not isinstance(writer.expression, Operation)
                and value not in stacking.slots
                and value.dims == target.dims
                and last_reader[value] is each
                and value not in lasting
            ):
                stacking.inherit(value, target, before=True)
                break


def merge_calls(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """Merges elementwise work of one form on neighbouring slots."""
    groups: dict[tuple[Any, ...], list[Work]] = {}
    for each in work:
        slot = stacking.slots.get(each.target)
        if slot is None or slot.stop is not None or isinstance(each.expression, Operation):
            continue
        groups.setdefault((each.region, slot.stack, _form(each, stacking)), []).append(each)
    depends = _dependencies(work, stacking)
    merged = list(work)
    for group in groups.values():
        group.sort(key=lambda each: stacking.slots[each.target].start)
        for run in _runs(group, stacking, depends):
            if _order(merged, stacking, run) is not None:
                merged = _merge(merged, run, stacking)
    return tuple(merged)


def _form(work: Work, stacking: Stacking) -> tuple[Any, ...]:
    """What the work does, with operands named by where they lie relative to its own slot."""
    own = stacking.slots[work.target].start
    tokens: dict[Value, Value] = {}
    for index, value in enumerate(work.reads):
        slot = stacking.slots.get(value)
        if value.role == Role.PARAMETER:
            name = f"parameter {index}"
        elif slot is not None and slot.stop is None:
            name = f"{slot.stack.name} + {slot.start - own}"
        else:
            continue
        tokens[value] = Value(f"{index}: {name}", value.dims, value.role)
    expression = substitute(work.expression, tokens)
    return (expression, tuple(type(node).__name__ for node in _preorder(expression)))


def _preorder(expression: Any) -> Iterable[Any]:
    yield expression
    for arg in expression.args:
        yield from _preorder(arg)


def _runs(group: Sequence[Work], stacking: Stacking, depends: Mapping[Value, set[Value]]) -> list[list[Work]]:
    """The maximal runs of neighbouring slots whose work is independent of one another."""
    runs: list[list[Work]] = []
    for each in group:
        start = stacking.slots[each.target].start
        previous = runs[-1] if runs else None
        if (
            previous
            and stacking.slots[previous[-1].target].start + 1 == start
            and not any(
                other.target in depends[each.target] or each.target in depends[other.target] for other in previous
            )
        ):
            previous.append(each)
        else:
            runs.append([each])
    return [run for run in runs if len(run) > 1]


def _dependencies(work: Sequence[Work], stacking: Stacking) -> dict[Value, set[Value]]:
    """What every value depends on; the work may stand in any order."""
    direct: dict[Value, set[Value]] = {}
    for each in work:
        read = set(_read(each, stacking))
        for part in (*_written(each, stacking), each.target):
            direct.setdefault(part, set()).update(read)
    found: dict[Value, set[Value]] = {}
    for value in direct:
        reached: set[Value] = set()
        front = list(direct[value])
        while front:
            one = front.pop()
            if one not in reached:
                reached.add(one)
                front += direct.get(one, ())
        found[value] = reached
    return found


def _merge(work: Sequence[Work], run: Sequence[Work], stacking: Stacking) -> list[Work]:
    replacement: dict[Value, Value] = {}
    for index, value in enumerate(run[0].reads):
        members = [each.reads[index] for each in run]
        if value.role == Role.PARAMETER:
            if len(set(members)) == 1:
                continue  # one parameter for all slots: broadcast
            if not stacking.request(members):
                return list(work)
        elif value not in stacking.slots or stacking.slots[value].stop is not None:
            continue
        replacement[value] = stacking.span(members)
    sources = tuple(source for each in run for source in each.sources)
    target = stacking.span([each.target for each in run])
    merged = Work(target, substitute(run[0].expression, replacement), run[0].region, sources)
    return replace_work(work, run, merged)


def in_order(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """A stable topological order. A value that is overwritten in its slot must have been read by all before."""
    found = _order(work, stacking, [])
    if found is None:
        raise InternalError("no order of the work respects what it reads and overwrites")
    return tuple(work[index] for index in found)


def _order(work: Sequence[Work], stacking: Stacking, together: Sequence[Work]) -> list[int] | None:
    """The order as indices; None if there is none, with ``together`` at one time."""
    writer: dict[Value, int] = {}
    order = _occupant_order(stacking)
    place = {index: index for index in range(len(work))}
    if together:
        inside = [index for index, each in enumerate(work) if each in together]
        place |= dict.fromkeys(inside, inside[-1])
    for index, each in enumerate(work):
        for part in _written(each, stacking):
            writer[part] = place[index]
    before: dict[int, set[int]] = {index: set() for index in place.values()}
    for index, each in enumerate(work):
        for part in _read(each, stacking):
            if part in writer and writer[part] != place[index]:
                before[place[index]].add(writer[part])
            successor = order.get(part)
            if successor is not None and writer.get(successor, place[index]) != place[index]:
                before[writer[successor]].add(place[index])
    done: list[int] = []
    while len(done) < len(before):
        ready = next((index for index in before if index not in done and before[index] <= {*done}), None)
        if ready is None:
            return None
        done.append(ready)
    return done


def _occupant_order(stacking: Stacking) -> dict[Value, Value]:
    return {one: two for slots in stacking.occupants.values() for slot in slots for one, two in pairwise(slot)}


def _written(work: Work, stacking: Stacking) -> list[Value]:
    names = {source.target for source in work.sources}
    parts = stacking.parts(work.target)
    return [part for part in parts if part in names] or ([work.target] if len(parts) == 1 else [])


def _read(work: Work, stacking: Stacking) -> list[Value]:
    wanted = {value for source in work.sources for value in operands_of(source.expression)}
    found = []
    for value in work.reads:
        parts = stacking.parts(value)
        found += [part for part in parts if part in wanted] if len(parts) > 1 else parts
    return found
