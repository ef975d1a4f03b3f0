"""Stacking: several products as one, and equal elementwise work on neighbouring slots as one call.

Products with a shared right operand become one product with a taller matrix (*rows*); products that are added up become
one product with a wider one (*columns*). What they read and write then lies side by side in a *stack*. Values that take
part in elementwise work slot by slot inherit the slots: ``f = sigmoid(a_f)`` overwrites ``a_f``.

Slot order is decided here: slots whose values go through equal functions are neighbours, so that one call covers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from os.path import commonprefix
from typing import Any, Protocol

from sympy import Add, Expr

from lstmgen.calculus.graph import is_call, operands_of, substitute
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Region, Slot, Stack, Work, stacked

Rank = Callable[[Value], tuple[int, int]]


def slot_rank(gradient: Gradient) -> Rank:
    """The order of values within a stack: by the function they end in, then by declaration.

    A product, the sum it enters and a parameter in it all rank as the gate they belong to, and so does an adjoint.
    """
    primal = gradient.primal
    order = {equation.target: index for index, equation in enumerate(primal.equations)}
    functions: dict[str, int] = {}
    for equation in primal.equations:
        if is_call(equation.expression):
            functions.setdefault(type(equation.expression).__name__, len(functions))
    uses = primal.uses()
    ranks: dict[Value, tuple[int, int]] = {}
    for equation in reversed(primal.equations):
        target = equation.target
        if is_call(equation.expression):
            ranks[target] = (functions[type(equation.expression).__name__], order[target])
        readers = uses.get(target, ())
        if len(readers) == 1 and readers[0].target.dims == target.dims and not is_call(equation.expression):
            ranks[target] = ranks.get(readers[0].target, (len(functions), order[readers[0].target]))
        ranks.setdefault(target, (len(functions), order[target]))
    for value in primal.free:
        if value.role == Role.PARAMETER:
            readers = uses.get(value, ())
            ranks[value] = ranks[readers[0].target] if readers else (len(functions), 0)
    for value, adjoint in gradient.adjoints.items():
        ranks.setdefault(adjoint, ranks.get(value, (len(functions), 0)))
    return lambda value: ranks.get(value, (len(functions), len(order)))


def stack_name(names: Sequence[str]) -> str:
    """One name for several: what they share, around what tells them apart (``U_f``, ``U_i`` become ``U_fi``)."""
    prefix = commonprefix(list(names))  # noqa: RUF071 - names, not paths
    prefix = prefix[: prefix.rfind("_") + 1]
    suffix = commonprefix([name[len(prefix) :][::-1] for name in names])[::-1]  # noqa: RUF071
    suffix = suffix[suffix.find("_") :] if "_" in suffix else ""
    middles = [name[len(prefix) : len(name) - len(suffix)] for name in names]
    joint = "" if all(len(middle) == 1 for middle in middles) else "_"
    text = joint.join(middles)
    if len(text) > 24:
        text = f"{middles[0]}_to_{middles[-1]}"
    return f"{prefix}{text}{suffix}"


@dataclass
class Stacking:
    """The stacks of one pass while they are being formed."""

    rank: Rank
    taken: set[str]
    values: dict[Value, Value] = field(default_factory=dict)  # member to stack
    slots: dict[Value, Slot] = field(default_factory=dict)
    occupants: dict[Value, list[list[Value]]] = field(default_factory=dict)

    def request(self, members: Sequence[Value]) -> bool:
        """Asks that ``members`` lie side by side in this order; says whether they do."""
        slots = [self.slots.get(value) for value in members]
        if all(slot is None for slot in slots):
            self._open(members)
            return True
        if any(slot is None for slot in slots):
            return False
        first = slots[0]
        assert first is not None
        return all(
            slot is not None and slot.stack == first.stack and slot.start == first.start + k
            for k, slot in enumerate(slots)
        )

    def _open(self, members: Sequence[Value]) -> None:
        name = stack_name([value.name for value in members])
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        stack = Value(name, stacked(members[0].dims, len(members)), members[0].role)
        self.occupants[stack] = [[value] for value in members]
        for index, value in enumerate(members):
            self.slots[value] = Slot(stack, index)

    def inherit(self, value: Value, predecessor: Value, *, before: bool = False) -> None:
        """Gives ``value`` the slot of ``predecessor``, which it overwrites; with ``before``, which overwrites it."""
        slot = self.slots[predecessor]
        self.slots[value] = slot
        occupants = self.occupants[slot.stack][slot.start]
        occupants.insert(0 if before else len(occupants), value)

    def span(self, members: Sequence[Value]) -> Value:
        """The value that stands for ``members`` together: their stack, or a run of its slots."""
        first = self.slots[members[0]]
        count = len(self.occupants[first.stack])
        if len(members) == count:
            return first.stack
        name = stack_name([value.name for value in members])
        while name in self.taken and not self._same_span(name, first, len(members)):
            name += "_"
        self.taken.add(name)
        value = Value(name, stacked(members[0].dims, len(members)), members[0].role)
        self.slots[value] = Slot(first.stack, first.start, first.start + len(members))
        return value

    def _same_span(self, name: str, first: Slot, count: int) -> bool:
        wanted = Slot(first.stack, first.start, first.start + count)
        return any(value.name == name and slot == wanted for value, slot in self.slots.items())


def stack_products(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """Merges products into taller and wider ones wherever their operands can lie side by side."""
    groups: list[_Group] = [*_columns(work, stacking.rank), *_rows(work, stacking.rank), *_totals(work, stacking.rank)]
    # Larger groups first: a smaller one can then be a run of a larger one's slots.
    wanted = sorted((members for group in groups for members in group.requests()), key=len, reverse=True)
    for members in wanted:
        stacking.request(members)
    merged = list(work)
    for group in groups:
        if all(stacking.request(members) for members in group.requests()):
            merged = group.apply(merged, stacking)
    return tuple(merged)


class _Group(Protocol):
    """Products that can become one if their operands and results can lie side by side."""

    def requests(self) -> list[list[Value]]: ...

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]: ...


@dataclass(frozen=True)
class _Rows:
    """Products of one right operand with several left ones: ``targets[k] = lefts[k] @ right``."""

    works: tuple[Work, ...]
    totalled: bool

    def _contract(self, work: Work) -> Contract:
        inner = work.expression.args[0] if isinstance(work.expression, Total) else work.expression
        assert isinstance(inner, Contract)
        return inner

    def requests(self) -> list[list[Value]]:
        lefts = [self._contract(work).values[0] for work in self.works]
        return [lefts, [work.target for work in self.works]]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        lefts, targets = self.requests()
        left_axes, right_axes, out = self._contract(self.works[0]).axes
        right = self._contract(self.works[0]).values[1]
        label = 1 + max((*left_axes, *right_axes))
        expression: Expr = Contract(stacking.span(lefts), right, (label, *left_axes), right_axes, (label, *out))
        if self.totalled:
            expression = Total(expression)
        sources = tuple(source for work in self.works for source in work.sources)
        merged = Work(stacking.span(targets), expression, self.works[0].region, sources)
        return _replace(works, self.works, merged)


@dataclass(frozen=True)
class _Columns:
    """Products that one sum adds up: ``target = sum lefts[k] @ rights[k] + rest``."""

    sum: Work
    works: tuple[Work, ...]

    def requests(self) -> list[list[Value]]:
        contracts = [work.expression for work in self.works]
        return [[each.values[side] for each in contracts] for side in (0, 1)]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        lefts, rights = self.requests()
        left_axes, right_axes, out = self.works[0].expression.axes
        label = 1 + max((*left_axes, *right_axes))
        product = Contract(stacking.span(lefts), stacking.span(rights), (label, *left_axes), (label, *right_axes), out)
        targets = {work.target for work in self.works}
        rest = [term for term in self.sum.expression.args if term not in targets]
        sources = tuple(source for work in self.works for source in work.sources)
        if not rest:
            whole = replace(self.sum, expression=product, sources=(*self.sum.sources, *sources))
            return [whole if each is self.sum else each for each in works if each not in self.works]
        name = f"{self.sum.target.name}_product"
        while name in stacking.taken:
            name += "_"
        stacking.taken.add(name)
        part = Value(name, self.sum.target.dims, Role.INTERMEDIATE)
        merged = Work(part, product, self.works[0].region, sources)
        total = replace(self.sum, expression=Add(*rest, part, evaluate=False))
        found: list[Work] = []
        for each in works:
            if each is self.sum:
                found += [merged, total]
            elif each not in self.works:
                found.append(each)
        return found


@dataclass(frozen=True)
class _Totals:
    """Totals over rows and steps of values that lie side by side: ``targets[k] = total(values[k])``."""

    works: tuple[Work, ...]

    def requests(self) -> list[list[Value]]:
        return [[work.expression.args[0] for work in self.works], [work.target for work in self.works]]

    def apply(self, works: Sequence[Work], stacking: Stacking) -> list[Work]:
        values, targets = self.requests()
        sources = tuple(source for work in self.works for source in work.sources)
        merged = Work(stacking.span(targets), Total(stacking.span(values)), self.works[0].region, sources)
        return _replace(works, self.works, merged)


def _totals(work: Sequence[Work], rank: Rank) -> list[_Totals]:
    groups: dict[tuple[Any, ...], list[Work]] = {}
    for each in work:
        if isinstance(each.expression, Total) and isinstance(each.expression.args[0], Value):
            groups.setdefault((each.region, each.expression.args[0].dims), []).append(each)
    return [
        _Totals(tuple(sorted(group, key=lambda each: rank(each.expression.args[0]))))
        for group in groups.values()
        if len(group) > 1 and len({each.expression.args[0] for each in group}) == len(group)
    ]


def _replace(works: Sequence[Work], old: Sequence[Work], new: Work) -> list[Work]:
    """``works`` with ``new`` at the place of the last of ``old``: all it reads is computed by then."""
    last = max(index for index, each in enumerate(works) if each in old)
    return [new if index == last else each for index, each in enumerate(works) if index == last or each not in old]


def _is_shared(value: Expr) -> bool:
    return isinstance(value, Value) and value.role == Role.PARAMETER


def _rows(work: Sequence[Work], rank: Rank) -> list[_Rows]:
    groups: dict[tuple[Any, ...], list[Work]] = {}
    for each in work:
        totalled = isinstance(each.expression, Total) and isinstance(each.expression.args[0], Contract)
        inner = each.expression.args[0] if totalled else each.expression
        if not isinstance(inner, Contract):
            continue
        left, right = inner.values
        if not isinstance(left, Value) or not (totalled or _is_shared(left)):
            continue
        groups.setdefault((each.region, totalled, right, inner.axes, left.dims), []).append(each)
    return [
        _Rows(tuple(sorted(group, key=lambda each: rank(_row_key(each)))), key[1])
        for key, group in groups.items()
        if len(group) > 1 and len({_row_key(each) for each in group}) == len(group)
    ]


def _row_key(work: Work) -> Value:
    inner = work.expression.args[0] if isinstance(work.expression, Total) else work.expression
    left: Value = inner.values[0]
    return left


def _columns(work: Sequence[Work], rank: Rank) -> list[_Columns]:
    by_target = {each.target: each for each in work}
    readers: dict[Value, int] = {}
    for each in work:
        for value in each.reads:
            readers[value] = readers.get(value, 0) + 1
    found = []
    for each in work:
        if not isinstance(each.expression, Add):
            continue
        groups: dict[tuple[Any, ...], list[Work]] = {}
        for term in each.expression.args:
            product = by_target.get(term)
            if product is None or readers[product.target] != 1 or not isinstance(product.expression, Contract):
                continue
            left, right = product.expression.values
            if _is_shared(left) and isinstance(right, Value) and product.region is each.region:
                key = (product.expression.axes, left.dims, right.dims)
                groups.setdefault(key, []).append(product)
        for group in groups.values():
            # A sum of products with one right operand is a matter of rows.
            if len(group) > 1 and len({member.expression.values[1] for member in group}) == len(group):
                ranked = sorted(group, key=lambda member: rank(member.expression.values[0]))
                found.append(_Columns(each, tuple(ranked)))
    return found


def inherit_slots(work: Sequence[Work], stacking: Stacking, pinned: Iterable[Value], kept: Iterable[Value]) -> None:
    """Lets elementwise results take the slot of an operand that they are the last to read, and the other way round.

    ``pinned`` values have a place of their own: states, results. ``kept`` values are wanted later: they may take a slot
    and nothing may overwrite them.
    """
    pinned = set(pinned)
    lasting = pinned | set(kept)
    last_reader: dict[Value, Work] = {}
    for each in work:
        for value in each.reads:
            last_reader[value] = each
    for each in work:
        target = each.target
        if isinstance(each.expression, Operation) or target in stacking.slots or target in pinned:
            continue
        if each.region not in (Region.BEFORE, Region.LOOP):
            continue
        for value in each.reads:
            if (
                value in stacking.slots
                and value.dims == target.dims
                and value.role != Role.PARAMETER
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
        for value in each.reads:
            writer = next((one for one in work if one.target == value), None)
            if (
                writer is not None
                and writer.region is each.region
                and not isinstance(writer.expression, Operation)
                and value not in stacking.slots
                and value.dims == target.dims
                and last_reader[value] is each
                and value not in lasting
            ):
                stacking.inherit(value, target, before=True)
                break


def merge_calls(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """Merges elementwise work of one form on neighbouring slots, then puts everything in an order that can be run."""
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
            merged = _merge(merged, run, stacking)
    return _in_order(merged, stacking)


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
    found: dict[Value, set[Value]] = {}
    for each in work:
        reached: set[Value] = set()
        for value in each.reads:
            for part in _parts(value, stacking):
                reached |= {part} | found.get(part, set())
        for part in _parts(each.target, stacking):
            found[part] = reached
        found[each.target] = reached
    return found


def _parts(value: Value, stacking: Stacking) -> list[Value]:
    """The single values that a stack or a run of its slots stands for; a single value itself."""
    if value in stacking.occupants:
        return [each for slot in stacking.occupants[value] for each in slot]
    slot = stacking.slots.get(value)
    if slot is not None and slot.stop is not None:
        return [each for part in stacking.occupants[slot.stack][slot.start : slot.stop] for each in part]
    return [value]


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
    return _replace(work, run, merged)


def _in_order(work: Sequence[Work], stacking: Stacking) -> tuple[Work, ...]:
    """A stable topological order. A value that is overwritten in its slot must have been read by all before."""
    writer: dict[Value, int] = {}
    order = _occupant_order(stacking)
    for index, each in enumerate(work):
        for part in _written(each, stacking):
            writer[part] = index
    before: dict[int, set[int]] = {index: set() for index in range(len(work))}
    for index, each in enumerate(work):
        for part in _read(each, stacking):
            if part in writer and writer[part] != index:
                before[index].add(writer[part])
            successor = order.get(part)
            if successor is not None and writer.get(successor, index) != index:
                before[writer[successor]].add(index)
    result: list[Work] = []
    done: set[int] = set()
    while len(done) < len(work):
        ready = next(index for index in range(len(work)) if index not in done and before[index] <= done)
        done.add(ready)
        result.append(work[ready])
    return tuple(result)


def _occupant_order(stacking: Stacking) -> dict[Value, Value]:
    return {one: two for slots in stacking.occupants.values() for slot in slots for one, two in pairwise(slot)}


def _written(work: Work, stacking: Stacking) -> list[Value]:
    names = {source.target for source in work.sources}
    parts = _parts(work.target, stacking)
    return [part for part in parts if part in names] or ([work.target] if len(parts) == 1 else [])


def _read(work: Work, stacking: Stacking) -> list[Value]:
    wanted = {value for source in work.sources for value in operands_of(source.expression)}
    found = []
    for value in work.reads:
        parts = _parts(value, stacking)
        found += [part for part in parts if part in wanted] if len(parts) > 1 else parts
    return found


def _named_by_contents(
    work: Sequence[Work], stacking: Stacking
) -> tuple[tuple[Work, ...], tuple[Stack, ...], dict[Value, Slot]]:
    """Names stacks, and runs of their slots, by what they hold in the end: ``fio`` for [a_f > f, a_i > i, ...]."""
    names: dict[Value, Value] = {}
    used: set[str] = {value.name for value in stacking.slots if value not in stacking.occupants}

    def rename(value: Value, slots: Sequence[Sequence[Value]]) -> Value:
        name = stack_name([slot[-1].name for slot in slots])
        while name in used:
            name += "_"
        return Value(name, value.dims, value.role)

    for stack, slots in stacking.occupants.items():
        names[stack] = rename(stack, slots)
    used |= {value.name for value in names.values()}
    runs: dict[Slot, Value] = {}
    for value, slot in stacking.slots.items():
        if slot.stop is not None:
            used.discard(value.name)
    for value, slot in stacking.slots.items():
        if slot.stop is not None:
            if slot not in runs:
                runs[slot] = rename(value, stacking.occupants[slot.stack][slot.start : slot.stop])
            names[value] = runs[slot]
    stacks = tuple(Stack(names[value], tuple(map(tuple, slots))) for value, slots in stacking.occupants.items())
    slots_by_value = {
        names.get(value, value): Slot(names[slot.stack], slot.start, slot.stop)
        for value, slot in stacking.slots.items()
    }
    renamed = tuple(
        Work(names.get(each.target, each.target), substitute(each.expression, names), each.region, each.sources)
        for each in work
    )
    return renamed, stacks, slots_by_value


def schedule_pass(
    work: Sequence[Work],
    rank: Rank,
    target: Target,
    pinned: Iterable[Value],
    kept: Iterable[Value],
    taken: Iterable[str],
    given: Sequence[Stack] = (),
) -> tuple[tuple[Work, ...], tuple[Stack, ...], dict[Value, Slot]]:
    """Stacks the products of a pass and merges its calls, as far as the target profits.

    ``given`` are stacks that an earlier pass has filled and this one reads.
    """
    stacking = Stacking(rank, set(taken))
    for stack in given:
        stacking.occupants[stack.value] = [list(slot) for slot in stack.members]
        stacking.slots |= {slot[0]: Slot(stack.value, index) for index, slot in enumerate(stack.members)}
    if not target.stacks_products:
        return tuple(work), (), {}
    merged = stack_products(work, stacking)
    inherit_slots(merged, stacking, pinned, kept)
    if target.merges_calls:
        merged = merge_calls(merged, stacking)
    return _named_by_contents(merged, stacking)
