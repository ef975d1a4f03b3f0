"""What is printed as one: equations that follow each other are aligned, relations beside each other share a row.

So are quantities that are derived without a word or a step, and lines of formulas that stand in a table.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from lstmgen.derivation.document import Block, Derived, Equation, Table
from lstmgen.derivation.formats.breaking import Width, spread
from lstmgen.derivation.formula import Relation


def grouped(blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], ...]:
    """``blocks`` in groups: equations in a row, bare results in a row, and every other block alone."""
    found: list[tuple[Block, ...]] = []
    for kind, run in groupby(blocks, _together):
        members = tuple(run)
        found += [members] if kind else [(member,) for member in members]
    return tuple(found)


def _together(block: Block) -> type[Block] | None:
    """What a block can share a group with, if it can."""
    match block:
        case Equation():
            return Equation
        case Derived(lead=(), steps=()):
            return Derived
    return None


def lines_of(table: Table) -> tuple[Equation, ...]:
    """The lines of a table that holds nothing but one relation each, as equations; else none."""
    cells = [cell for row in table.rows for cell in row]
    formulas = [cell[0] for cell in cells if len(cell) == 1 and isinstance(cell[0], Relation)]
    lines = not table.head and len(formulas) == len(cells) == len(table.rows)
    return tuple(map(Equation, formulas)) if lines else ()


def spread_out(equation: Equation, limit: float, width: Width, inline: bool = False) -> tuple[Equation, ...]:
    """An equation of several relations as one for each row that they need; the first keeps number and note."""
    first, *others = (replace(equation, formula=each) for each in spread(equation.formula, limit, width, inline))
    return (first, *(Equation(each.formula) for each in others))
