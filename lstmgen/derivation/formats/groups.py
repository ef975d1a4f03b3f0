"""What is printed as one: equations that follow each other are aligned, relations beside each other share a row."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

from lstmgen.derivation.document import Block, Equation
from lstmgen.derivation.formats.breaking import Width, spread


def grouped(blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], ...]:
    """``blocks`` in groups: equations in a row, and every other block alone."""
    found: list[tuple[Block, ...]] = []
    for equations, run in groupby(blocks, lambda block: isinstance(block, Equation)):
        members = tuple(run)
        found += [members] if equations else [(member,) for member in members]
    return tuple(found)


def spread_out(equation: Equation, limit: float, width: Width, inline: bool = False) -> tuple[Equation, ...]:
    """An equation of several relations as one for each row that they need; the first keeps number and note."""
    first, *others = (replace(equation, formula=each) for each in spread(equation.formula, limit, width, inline))
    return (first, *(Equation(each.formula) for each in others))
