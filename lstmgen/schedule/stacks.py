"""Stacks while they are being formed: who lies beside whom, under what name, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from os.path import commonprefix

from sympy import Add, Mul

from lstmgen.calculus.graph import Graph, is_call, substitute
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.coefficients import multiples_of_one
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Slot, Stack, Work, stacked

Rank = Callable[[Value], tuple[int, int]]


def slot_rank(gradient: Gradient, target: Target) -> Rank:
    """The order of values within a stack: by the function they end in, then as :func:`_neighbours` says.

    A product, the sum it enters and a parameter in it all rank as the call they lead to, and so does an adjoint.
    """
    primal = gradient.primal
    order = {equation.target: index for index, equation in enumerate(primal.equations)}
    calls: dict[str, list[Value]] = {}
    for equation in primal.equations:
        if is_call(equation.expression):
            calls.setdefault(type(equation.expression).__name__, []).append(equation.target)
    uses = primal.uses()
    ends: dict[Value, Value] = {}
    for equation in reversed(primal.equations):
        value, readers = equation.target, uses.get(equation.target, ())
        leads_on = len(readers) == 1 and readers[0].target.dims == value.dims and not is_call(equation.expression)
        ends[value] = ends[readers[0].target] if leads_on else value
    groups = list(calls.values())
    if target.hoists_coefficients:
        groups = _neighbours(groups, _sources(gradient, ends), _partners(primal), order)
    place = {value: (index, at) for index, group in enumerate(groups) for at, value in enumerate(group)}
    ranks = {value: place.get(end, (len(groups), order[end])) for value, end in ends.items()}
    for value in primal.free:
        if value.role == Role.PARAMETER:
            readers = uses.get(value, ())
            ranks[value] = ranks[readers[0].target] if readers else (len(groups), 0)
    for value, adjoint in gradient.adjoints.items():
        ranks.setdefault(adjoint, ranks.get(value, (len(groups), 0)))
    return lambda value: ranks.get(value, (len(groups), len(order)))


def _neighbours(
    groups: Sequence[Sequence[Value]],
    sources: Mapping[Value, Value],
    partners: Mapping[Value, Value],
    order: Mapping[Value, int],
) -> list[list[Value]]:
    """The values of each function in an order that lets the reverse loop do with few calls.

    Adjoints that are multiples of one other, their source, take one call where they lie side by side. So values of one
    source stand together, and where one function's values meet the next one's, nearest are those of the source that
    most of both have. Values of one source that a sum multiplies in pairs (``f * c_prev + i * g``) stand in the order
    of their partners, those with a partner in ``sources`` first: the products could be one call as well. Everything
    else stands as declared. So the gates of an LSTM are ``o, i, f, g``: the sigmoids are neighbours, and so are those
    that the adjoint of ``c`` flows to.
    """
    arranged: list[list[Value]] = []
    before: Value | None = None
    for index, group in enumerate(groups):
        following = next((each for each in groups[index + 1 :] if not sources.keys().isdisjoint(each)), ())
        after = _common_source(group, following, sources)
        if after == before and any(sources.get(value) != after for value in group):
            after = None  # they cannot be at both ends
        first: dict[Value, int] = {}
        keys = {}
        for value in group:
            source, partner = sources.get(value), partners.get(value)
            end = 0 if source is None else (source == after) - (source == before)
            pair = (1, order[value])
            if source is not None and partner is not None and partner in sources:
                pair = (0, order[partner])
            keys[value] = (end, first.setdefault(source or value, order[value]), pair)
        arranged.append(sorted(group, key=keys.__getitem__))
        if not sources.keys().isdisjoint(group):
            before = after
    return arranged


def _common_source(one: Sequence[Value], two: Sequence[Value], sources: Mapping[Value, Value]) -> Value | None:
    """The source that most values have of those that both sides have, the first of several; None if there is none."""
    counts: dict[Value, int] = {}
    for value in (*one, *two):
        if value in sources:
            counts[sources[value]] = counts.get(sources[value], 0) + 1
    common = [source for source in counts if all(source in map(sources.get, each) for each in (one, two))]
    return max(common, key=counts.__getitem__, default=None)


def _sources(gradient: Gradient, ends: Mapping[Value, Value]) -> dict[Value, Value]:
    """For values that products end in, the adjoint of which those products' adjoints are multiples.

    Products of states count before those of inputs: it is their adjoints that the reverse loop computes.
    """
    multiples = multiples_of_one(gradient.adjoint.equations, gradient.adjoint.results)
    dependence = gradient.primal.dependence()
    products = [each.target for each in gradient.primal.equations if isinstance(each.expression, Contract)]
    found: dict[Value, Value] = {}
    for product in sorted(products, key=lambda value: -dependence[value]):
        source = multiples.get(gradient.adjoints.get(product, product))
        if source is not None:
            found.setdefault(ends[product], source)
    return found


def _partners(primal: Graph) -> dict[Value, Value]:
    """For each value that a sum has in a product of two, the other factor."""
    found: dict[Value, Value] = {}
    for equation in primal.equations:
        terms = equation.expression.args if isinstance(equation.expression, Add) else ()
        for term in terms:
            if isinstance(term, Mul) and len(term.args) == 2 and all(isinstance(each, Value) for each in term.args):
                found |= {one: two for one, two in permutations(term.args) if one not in found}
    return found


def stack_name(names: Sequence[str]) -> str:
    """One name for several: what they share, around what tells them apart (``U_f``, ``U_i`` become ``U_fi``).

    Names of several kinds, with a letter each, go by what the kinds share (``b_z``, ``bu_n`` become ``b_zn``).
    """
    heads, kinds, keys = _segments(names)
    kind = commonprefix(kinds)  # noqa: RUF071 - names, not paths
    if len({*heads}) == 1 < len({*kinds}) and kind and len({*keys}) == len("".join(keys)) == len(names):
        return f"{heads[0]}{kind}_{''.join(keys)}"
    return _between(names)


def joined_name(names: Sequence[str]) -> str:
    """One name for several that lie one below the other: ``W_f``, ``U_f`` and ``b_f`` become ``WUb_f``."""
    heads, kinds, keys = _segments(names)
    if len({*heads}) == len({*keys}) == 1 and all(0 < len(kind) <= 2 for kind in kinds):
        return f"{heads[0]}{''.join(kinds)}_{keys[0]}"
    return stack_name(names)


def _segments(names: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Each name in three: ``d_U_f`` is ``d_``, ``U`` and ``f``. The first are empty where a name has fewer segments."""
    kinds = [name.rpartition("_")[0] for name in names]
    heads = ["".join(kind.rpartition("_")[:2]) for kind in kinds]
    return heads, [kind.rpartition("_")[2] for kind in kinds], [name.rpartition("_")[2] for name in names]


def _between(names: Sequence[str]) -> str:
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
    """The stacks of one pass while they are being formed.

    ``fixed`` values have a place that no stack can offer; ``closed`` stacks have been filled and cannot grow.
    """

    rank: Rank
    taken: set[str]
    fixed: frozenset[Value]
    closed: set[Value] = field(default_factory=set)
    slots: dict[Value, Slot] = field(default_factory=dict)
    occupants: dict[Value, list[list[Value]]] = field(default_factory=dict)

    def order_for(self, lists: Sequence[Sequence[Value]]) -> list[int] | None:
        """An order in which the members of each list can lie side by side, given what lies in stacks; None if none.

        A list of which some members lie in a stack, and its others nowhere, can do so if those are at an end of it.
        """
        wanted = list(range(len(lists[0])))
        settled = False
        for members in lists:
            if len({value.role == Role.PARAMETER for value in members}) > 1:
                return None  # parameters are packed, other values are computed into their slots
            slots = [self.slots.get(value) for value in members]
            new = [k for k, slot in enumerate(slots) if slot is None]
            if any(members[k] in self.fixed for k in new):
                return None
            if len(new) == len(members):
                continue
            old = sorted((slot.start, k) for k, slot in enumerate(slots) if slot is not None)
            stacks = {slot.stack for slot in slots if slot is not None and slot.stop is None}
            first, last = old[0][0], old[-1][0]
            if len(stacks) != 1 or any(slot.stop is not None for slot in slots if slot) or last - first + 1 != len(old):
                return None
            (stack,) = stacks
            order = [k for _, k in old]
            if new and stack in self.closed:
                return None
            if new and last == len(self.occupants[stack]) - 1:
                order = order + new
            elif new and first == 0:
                order = new + order
            elif new:
                return None
            if settled and order != wanted:
                return None
            wanted, settled = order, True
        return wanted

    def place(self, members: Sequence[Value]) -> None:
        """Lays ``members`` side by side in this order, which :meth:`order_for` has found possible."""
        new = [value for value in members if value not in self.slots]
        if len(new) == len(members):
            self._open(members)
        elif new:
            self._grow(next(self.slots[value].stack for value in members if value in self.slots), new, members)

    def _grow(self, stack: Value, new: Sequence[Value], members: Sequence[Value]) -> None:
        in_front = members[0] in new
        occupants = self.occupants.pop(stack)
        occupants = [*([value] for value in new), *occupants] if in_front else [*occupants, *([value] for value in new)]
        dims = stack.dims[1:]
        grown = Value(stack.name, stacked(dims, len(occupants)), stack.role)
        self.occupants[grown] = occupants
        for index, slot in enumerate(occupants):
            for value in slot:
                self.slots[value] = Slot(grown, index)

    def request(self, members: Sequence[Value]) -> bool:
        """Asks that ``members`` lie side by side in this order; says whether they do."""
        slots = [self.slots.get(value) for value in members]
        if any(slot is None and value in self.fixed for slot, value in zip(slots, members, strict=True)):
            return False
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

    def parts(self, value: Value) -> list[Value]:
        """The single values that a stack or a run of its slots stands for; a single value itself."""
        if value in self.occupants:
            return [each for slot in self.occupants[value] for each in slot]
        slot = self.slots.get(value)
        if slot is not None and slot.stop is not None:
            return [each for part in self.occupants[slot.stack][slot.start : slot.stop] for each in part]
        return [value]


def named_by_contents(
    work: Sequence[Work], stacking: Stacking
) -> tuple[tuple[Work, ...], tuple[Stack, ...], dict[Value, Slot]]:
    """Names stacks, and runs of their slots, by what they hold in the end: ``fio`` for [a_f > f, a_i > i, ...]."""
    names: dict[Value, Value] = {}
    single = {value for each in work for value in (each.target, *each.reads)} | {*stacking.slots}
    used = {value.name for value in single if value not in stacking.occupants}

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


def replace_work(works: Sequence[Work], old: Sequence[Work], new: Work) -> list[Work]:
    """``works`` with ``new`` at the place of the last of ``old``: all it reads is computed by then."""
    last = max(index for index, each in enumerate(works) if each in old)
    return [new if index == last else each for index, each in enumerate(works) if index == last or each not in old]
