"""Blocks that are printed as one: equations that follow each other are aligned."""

from __future__ import annotations

from itertools import groupby

from lstmgen.derivation.document import Block, Equation


def grouped(blocks: tuple[Block, ...]) -> tuple[tuple[Block, ...], ...]:
    """``blocks`` in groups: equations in a row, and every other block alone."""
    found: list[tuple[Block, ...]] = []
    for equations, run in groupby(blocks, lambda block: isinstance(block, Equation)):
        members = tuple(run)
        found += [members] if equations else [(member,) for member in members]
    return tuple(found)
