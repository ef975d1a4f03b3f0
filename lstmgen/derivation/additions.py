"""What a derivation gets from elsewhere: a picture, more sections, and the lines of code that compute it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lstmgen.derivation.code import Lines, together
from lstmgen.derivation.document import Block, Derived, Equation, Figure, Section


@dataclass(frozen=True)
class Additions:
    """``lines`` are lines of code by the anchors of the equations that they compute."""

    picture: Figure | None = None
    sections: tuple[Section, ...] = ()
    lines: Mapping[str, Lines] = field(default_factory=dict)


def with_lines(sections: Sequence[Section], lines: Mapping[str, Lines]) -> tuple[Section, ...]:
    """Sections whose derived quantities say which lines of code compute them."""
    return tuple(replace(each, blocks=tuple(_with_lines(block, lines) for block in each.blocks)) for each in sections)


def _with_lines(block: Block, lines: Mapping[str, Lines]) -> Block:
    derived = Derived((), (), block) if isinstance(block, Equation) else block
    if not isinstance(derived, Derived):
        return block
    found = [lines[each] for each in derived.result.anchors if each in lines]
    if not found:
        return block
    joint = together(found)
    return replace(derived, lines=joint.anchors, within=joint.within)
