"""The worked example as a part of a document: every equation of two steps with its numbers put in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lstmgen.calculus.graph import Dependence
from lstmgen.calculus.reverse import Origin
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Value
from lstmgen.derivation.document import Block, Inline, Paragraph, Section, Table
from lstmgen.derivation.example import SMALL, STEPS, Entry, Example, work_out
from lstmgen.derivation.formula import Formula, Number, Relation, Sum, Total
from lstmgen.derivation.naming import NOW, lowered
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation, Time
from lstmgen.derivation.numbers import added, found_in, is_short, put_in, rounded, written
from lstmgen.derivation.page import Page, listed, open_page

Array = Any
NONE = "There is none: at none of the plain numbers that examples are made of is this cell defined and smooth."
COLUMNS, COLUMNS_OF_VECTORS = 4, 2
"""Of the table of given numbers: vectors and matrices are wide."""

NOISE = 1e-13
"""Numbers smaller than this are rounding, not results: those of the example are far larger."""


@dataclass(frozen=True)
class _Step:
    """One step: how it is written, and the value of everything in it, forward and backward.

    ``numbers`` are what the reader has seen of these values, by the formulas they are written as; ``lines`` are the
    targets of the equations that are shown. ``single`` are the indices of dimensions of size 1.
    """

    page: Page
    values: Mapping[Value, Array]
    numbers: Mapping[Formula, Formula]
    lines: frozenset[Value]
    single: frozenset[Formula]

    def counted(self, formula: Formula, but: Formula | None = None) -> Formula:
        """``formula`` with numbers put in for all its parts ``but`` one."""
        numbers = {part: number for part, number in self.numbers.items() if part != but}
        return put_in(formula, numbers, self.single)

    def line(self, equation: Equation) -> Relation:
        """An equation with its numbers put in, and what comes out."""
        target = self.page.write(equation.target)
        return _result(target, self.counted(_right(self.page, equation), target), self.values[equation.target])


def section(derivation: Derivation, notation: Notation) -> Section:
    """The example as a part of a document."""
    example = work_out(derivation.gradient)
    if example is None:
        return Section("example", "A worked example", (Paragraph((NONE,)),))
    parts = _parts(derivation)
    pages = [open_page(derivation, notation, Number(str(t + 1)), counted=True) for t in range(STEPS)]
    steps = [_step(example, t, page, parts.all) for t, page in enumerate(pages)]
    blocks: list[Block] = [
        Paragraph(_introduction(example, steps)),
        *_sums_of_biases(derivation, notation),
        _given(steps),
    ]
    if any(each.target in steps[0].lines for each in parts.once):
        blocks += [Paragraph(("What depends on no step is computed once:",))]
        blocks += [_lines(steps[0], parts.once)]
    for t, step in enumerate(steps):
        blocks += [Paragraph((f"Step {t + 1}, forward:",)), _lines(step, parts.forward)]
    for t, step in reversed(list(enumerate(steps))):
        came = "Nothing comes from a step after" if t == STEPS - 1 else f"Step {t + 2} has sent back"
        blocks += [Paragraph((f"Step {t + 1}, backward. {came}", *_sent_back(step), ".")), _lines(step, parts.backward)]
    if parts.sums:
        blocks += [Paragraph(("What serves both steps, as parameters do, has the sum over both for its gradient:",))]
        blocks += [_sums(steps, parts.sums)]
    blocks.append(
        Paragraph(
            (
                f"Beside each gradient stands what moving the number by {SMALL:g} up and down changes in the loss, "
                f"divided by the distance{', all that stands within constant( ) held' * example.holds}:",
            )
        )
    )
    blocks.append(_gradients(example.entries, steps))
    return Section("example", "A worked example", tuple(blocks))


@dataclass(frozen=True)
class _Parts:
    """The equations of an example: of what serves all steps (``once``, ``sums`` for its gradients), and of one step."""

    once: tuple[Equation, ...]
    forward: tuple[Equation, ...]
    backward: tuple[Equation, ...]
    sums: tuple[Equation, ...]

    @property
    def all(self) -> tuple[Equation, ...]:
        return (*self.once, *self.forward, *self.backward, *self.sums)


def _parts(derivation: Derivation) -> _Parts:
    known = derivation.gradient.primal.dependence()
    known |= derivation.gradient.adjoint.dependence(known)
    passages = (*derivation.backward, *derivation.sums)
    backward = {passage.equation.target: passage.equation for passage in passages}.values()

    def of(equations: Iterable[Equation], *, shared: bool) -> tuple[Equation, ...]:
        return tuple(each for each in equations if (known[each.target] is Dependence.SHARED) == shared)

    return _Parts(
        once=of(derivation.forward, shared=True),
        forward=of(derivation.forward, shared=False),
        backward=of(backward, shared=False),
        sums=of(backward, shared=True),
    )


def _step(example: Example, t: int, page: Page, equations: Sequence[Equation]) -> _Step:
    found = {**example.trajectory.steps[t], **example.adjoints.steps[t]}
    values = {value: _of_one_row(value, array) for value, array in found.items()}
    lines = frozenset(equation.target for equation in _referred_to(page, equations))
    inline = page.telling.inline
    numbers = {  # what has no line is put in place, but products with matrices are multiplied for the reader
        page.write(value): written(values[value])
        for value in sorted(values, key=lambda value: value not in inline)  # what has a name of its own last: it holds
        if value not in inline or value in lines or values[value].size > 1
    }
    single = frozenset(lowered(dim) for dim, size in example.sizes.items() if size == 1)
    return _Step(page, values, numbers, lines, single)


def _of_one_row(value: Value, array: Array) -> Array:
    """The one row of a batch, without the noise of float64 where exact numbers would cancel."""
    row = array[0] if array.ndim > len(value.dims) else array
    return np.where(np.abs(row) < NOISE, 0.0, row)


def _right(page: Page, equation: Equation) -> Formula:
    formula = page.equation_of(equation)
    assert isinstance(formula, Relation)
    return formula.sides[-1]


def _result(target: Formula, counted: Formula, array: Array) -> Relation:
    """``target = numbers = value``, each once; the last sign says whether four digits are all of the value."""
    value = written(array)
    sides = [target, *([counted] if counted not in (value, target) else []), value]
    exact = all(map(is_short, np.asarray(array).reshape(-1)))
    return Relation(tuple(sides), (*["="] * (len(sides) - 2), "=" if exact else "approx"))


def _referred_to(page: Page, equations: Sequence[Equation]) -> list[Equation]:
    """The equations whose target has a name, and those of what is printed in place that stands in one of these.

    A sign alone is read where it stands, and what is only repeated along a dimension has no equation.
    """
    inline = page.telling.inline
    in_place = {page.write(each.target): each for each in equations if each.target in inline}
    in_place = {
        part: each
        for part, each in in_place.items()
        if not _is_negated(part) and not isinstance(each.expression, Value)
    }
    kept = [each for each in equations if each.target not in inline]
    wanted = list(kept)
    while wanted:
        right = _right(page, wanted.pop())
        others = in_place.keys() - {right}
        found = [in_place.pop(part) for part in found_in(right, others.__contains__)]
        kept += found
        wanted += found
    return kept


def _is_negated(formula: Formula) -> bool:
    return isinstance(formula, Sum) and len(formula.terms) == 1


def _introduction(example: Example, steps: Sequence[_Step]) -> tuple[Inline, ...]:
    larger = [f"{dim} of {size}" for dim, size in example.sizes.items() if size > 1]
    size = "every dimension of size 1" + (f" but {' and '.join(larger)}" if larger else "")
    raised = steps[0].page.notation.time is Time.RAISED
    return (
        f"Two steps with {size}, so that every number can be followed by hand. The loss is ",
        *_loss(steps),
        ". Numbers are computed with all their digits and printed with four: what the printed ones give may differ in "
        "the last, and in more where almost equal numbers are subtracted."
        f"{' A number raised at a name is that of a step, no power.' * raised}",
    )


def _sums_of_biases(derivation: Derivation, notation: Notation) -> Iterator[Block]:
    """What one number stands for where the notation has a bias with each matrix of a sum."""
    page = open_page(derivation, notation)
    pairs = [(page.write.names.symbol(bias), page.write(bias)) for bias in page.write.paired]
    found = [Relation(sides, ("=",)) for sides in pairs if sides[0] != sides[1] and isinstance(sides[1], Sum)]
    if found:
        yield Paragraph(("Two biases of one sum are one number here: ", *listed(found), "."))


def _loss(steps: Sequence[_Step]) -> Iterator[Inline]:
    """What the loss is, and what it therefore sends into each step."""
    gradient = steps[0].page.gradient
    outputs = gradient.declaration.outputs
    names = list(dict.fromkeys(step.page.write(value) for step in steps for value in outputs))
    entries = any(step.values[value].size > 1 for step in steps for value in outputs)
    if len(names) < len(steps) * len(outputs):  # names that do not tell the step
        yield from (f"the sum of {'all entries of ' * entries}", *listed(names), " over both steps")
    elif entries:
        yield from ("the sum of all entries of ", *listed(names))
    else:
        yield Relation((steps[0].page.write.names.loss, Sum(tuple(("+", name) for name in names))), ("=",))
    seeds = [step.page.write(each.adjoint) for step in steps for each in gradient.seeds if each.origin is Origin.LOSS]
    if seeds:
        yield ", so that "
        yield from listed([Relation((seed, Number("1")), ("=",)) for seed in dict.fromkeys(seeds)])


def _sent_back(step: _Step) -> Iterator[Inline]:
    """What comes from the step after; a vector has its line there."""
    seeds = [each.adjoint for each in step.page.gradient.seeds if each.origin is Origin.NEXT_STEP]
    if seeds:
        yield ": "
        yield from listed([_brief(step.page.write(seed), step.values[seed]) for seed in seeds])


def _brief(name: Formula, array: Array) -> Formula:
    if not np.any(array):
        return Relation((name, Number("0")), ("=",))
    return _result(name, name, array) if array.size == 1 else name


def _given(steps: Sequence[_Step]) -> Table:
    first = steps[0]
    declaration = first.page.gradient.declaration
    places: list[tuple[Value, int | None]] = [(each.value, None) for each in declaration.parameters]
    places += [(each.value, None) for each in declaration.constants]
    places += [(each.previous, 0) for each in declaration.states]
    places += [(value, t) for value in declaration.given for t in range(STEPS)]
    cells = [_at(steps, value, at, written(steps[at or 0].values[value])) for value, at in places]
    columns = COLUMNS if all(first.values[value].size == 1 for value, _ in places) else COLUMNS_OF_VECTORS
    cells += [("",)] * (-len(cells) % columns)
    return Table((), tuple(tuple(cells[k : k + columns]) for k in range(0, len(cells), columns)))


def _at(steps: Sequence[_Step], value: Value, at: int | None, number: Formula | None = None) -> tuple[Inline, ...]:
    """A value of a step, with its number. Where names do not tell the step, as in code, words do."""
    names = [step.page.write(value) for step in steps]
    name = names[at or 0]
    shown = name if number is None else Relation((name, number), ("=",))
    return (shown, f" at step {at + 1}") if at is not None and len(set(names)) == 1 else (shown,)


def _lines(step: _Step, equations: Sequence[Equation]) -> Table:
    return Table((), tuple(((step.line(each),),) for each in equations if each.target in step.lines))


def _sums(steps: Sequence[_Step], equations: Sequence[Equation]) -> Table:
    """The gradients of what serves all steps: what each of them gives, added."""
    page, lines = steps[0].page, steps[0].lines
    adjoints = {equation.target for equation in equations}
    totals = {value: sum(step.values[value] for step in steps) for value in adjoints}
    numbers = {page.write(value): written(array) for value, array in totals.items() if value in lines}
    rows: list[tuple[tuple[Inline, ...], ...]] = []
    for each in equations:
        if each.target not in lines or each.target in page.telling.inline:
            continue  # a part of a gradient is spelled out where it stands
        target = page.write(each.target)
        rights = [_right(step.page, each) for step in steps]
        over_steps = zip(*(found_in(right, _is_over_steps) for right in rights), strict=True)
        spread = {terms[0]: _spread(terms, steps) for terms in over_steps}
        known = {part: number for part, number in {**steps[0].numbers, **numbers}.items() if part != target} | spread
        rows.append(((_result(target, put_in(rights[0], known, steps[0].single), totals[each.target]),),))
    return Table((), tuple(rows))


def _is_over_steps(formula: Formula) -> bool:
    return isinstance(formula, Total) and formula.index == NOW


def _spread(totals: Sequence[Formula], steps: Sequence[_Step]) -> Formula:
    """A sum over all steps, as each step writes it, with the numbers of each."""
    return added(step.counted(each.of) for each, step in zip(totals, steps, strict=True) if isinstance(each, Total))


def _gradients(entries: Sequence[Entry], steps: Sequence[_Step]) -> Table:
    head: tuple[tuple[Inline, ...], ...] = (("quantity",), ("value",), ("gradient",), ("finite difference",))
    rows = tuple(
        (
            _which(entry, steps),
            (rounded(entry.given),),
            (rounded(entry.gradient, 6),),
            (rounded(entry.difference, 6),),
        )
        for entry in entries
    )
    return Table(head, rows, (1, 2, 3))


def _which(entry: Entry, steps: Sequence[_Step]) -> tuple[Inline, ...]:
    name, *words = _at(steps, entry.of, entry.at)
    entries = np.asarray(steps[entry.at or 0].values[entry.of])
    index = [str(at + 1) for at, size in zip(entry.index, entries.shape, strict=True) if size > 1]
    place = f"[{', '.join(index)}]" if index else ""
    return (name, place, *words) if place else (name, *words)
