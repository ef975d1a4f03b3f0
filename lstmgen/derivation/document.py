"""A derivation as a document that every format can print: sections of blocks, formulas, tables, figures, listings."""

from __future__ import annotations

from dataclasses import dataclass

from lstmgen.derivation.drawing import Drawing
from lstmgen.derivation.formula import Formula
from lstmgen.derivation.network import Network

Inline = str | Formula
"""A piece of running text: words, or a formula among them."""


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    pieces: tuple[Inline, ...]


@dataclass(frozen=True)
class Equation:
    """A displayed formula.

    ``anchor`` names it for links, ``also`` are the anchors of relations beside the first, ``number`` is printed beside
    it ("" for none), ``note`` stands at its right (a description, a range). ``evidence`` are the calculus' own
    equations that the formula prints, where it prints some, so that a test can evaluate what is printed; formats ignore
    it.
    """

    formula: Formula
    anchor: str = ""
    number: str = ""
    note: tuple[Inline, ...] = ()
    evidence: object = None
    also: tuple[str, ...] = ()

    @property
    def anchors(self) -> tuple[str, ...]:
        """All anchors, in the order of what they name."""
        return (*((self.anchor,) if self.anchor else ()), *self.also)


@dataclass(frozen=True)
class Derived:
    """One quantity of the backward pass: ``lead`` names its paths, ``steps`` the chain rule, ``result`` what it gives.

    ``sources`` are anchors of forward equations that it comes from, ``lines`` those of lines of a listing that compute
    it: by itself, or only ``within`` other quantities.
    """

    lead: tuple[Inline, ...]
    steps: tuple[Equation, ...]
    result: Equation
    sources: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    within: bool = False


@dataclass(frozen=True)
class Table:
    """Cells are running text; ``head`` may be empty. Columns named in ``right`` are aligned at the right."""

    head: tuple[tuple[Inline, ...], ...]
    rows: tuple[tuple[tuple[Inline, ...], ...], ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A picture: what is drawn, and the words that stand for it where it cannot be seen.

    ``network`` is what it shows, where it shows one, for formats that leave the drawing to other tools.
    """

    drawing: Drawing
    alternative: tuple[Inline, ...]
    caption: tuple[Inline, ...] = ()
    network: Network | None = None


@dataclass(frozen=True)
class Listing:
    """Lines of code; ``anchors`` are those of lines that are linked to, by their number from 0."""

    lines: tuple[str, ...]
    language: str
    anchors: tuple[tuple[int, str], ...] = ()


Block = Paragraph | Equation | Derived | Table | Figure | Listing


@dataclass(frozen=True)
class Section:
    """A part of a document: ``name`` is what ``--part`` calls it and links use, ``level`` 1, or 2 within another."""

    name: str
    title: str
    blocks: tuple[Block, ...]
    level: int = 1


@dataclass(frozen=True)
class Document:
    """All of a derivation. ``subtitle`` is the cell's reference, ``lead`` what stands before the first section."""

    title: str
    subtitle: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
