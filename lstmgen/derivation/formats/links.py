"""What links of a document point at: numbers of equations and of lines, by their anchors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lstmgen.derivation.document import Block, Derived, Document, Equation, Listing


@dataclass(frozen=True)
class Links:
    """``equations`` are the numbers of equations by anchor, ``lines`` the numbers of lines, from 1.

    A part that is printed alone lacks some of what it points at; links to that are left out.
    """

    equations: dict[str, str]
    lines: dict[str, int]

    def sources(self, derived: Derived) -> tuple[tuple[str, str], ...]:
        """Anchor and number of every equation that ``derived`` comes from and that stands in the document."""
        return tuple((each, self.equations[each]) for each in derived.sources if self.equations.get(each))

    def code(self, derived: Derived) -> tuple[tuple[str, int], ...]:
        """Anchor and number of every line that computes ``derived`` and stands in the document."""
        return tuple((each, self.lines[each]) for each in derived.lines if each in self.lines)


def line_words(derived: Derived, count: int) -> str:
    """What stands before the numbers of ``count`` lines: whether they compute ``derived`` by itself."""
    return f"{'within ' * derived.within}line{'s' * (count > 1)}"


def links_of(document: Document) -> Links:
    """Everything in ``document`` that can be linked to."""
    blocks = tuple(blocks_of(document))
    equations = [each for block in blocks for each in _equations(block)]
    listings = [block for block in blocks if isinstance(block, Listing)]
    return Links(
        {anchor: each.number for each in equations for anchor in each.anchors},
        {anchor: index + 1 for listing in listings for index, anchor in listing.anchors},
    )


def blocks_of(document: Document) -> Iterator[Block]:
    """All blocks in order."""
    yield from document.lead
    for section in document.sections:
        yield from section.blocks


def _equations(block: Block) -> tuple[Equation, ...]:
    match block:
        case Equation():
            return (block,)
        case Derived():
            return (*block.steps, block.result)
    return ()
