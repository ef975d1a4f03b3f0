"""A document for a terminal: Unicode, no line wider than 100 columns where formulas and code allow it."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

from lstmgen.derivation.document import (
    Block,
    Derived,
    Document,
    Equation,
    Figure,
    Inline,
    Listing,
    Paragraph,
    Section,
    Table,
)
from lstmgen.derivation.format import Format
from lstmgen.derivation.formats.breaking import Rows, rows
from lstmgen.derivation.formats.connections import connections
from lstmgen.derivation.formats.groups import grouped, spread_out
from lstmgen.derivation.formats.links import Links, line_words, links_of
from lstmgen.derivation.formats.pieces import Piece
from lstmgen.derivation.formats.plain import line, piece_text, running

WIDTH = 100
MARGIN = "  "
CARRY = "    "  # what carries on after a break is this much further in
GAP = "   "
LEAST = 20  # columns of a terminal that a column of a table keeps

Cells = tuple[tuple[Inline, ...], ...]
"""A row of a table."""


def render(document: Document, fragment: bool = False) -> str:
    """``document`` as text. A fragment leaves out the title."""
    links = links_of(document)
    parts = [] if fragment else [_title(document)]
    parts += _blocks(document.lead, links)
    for section in document.sections:
        parts += _section(section, links)
    return "\n\n".join(parts) + "\n"


def _title(document: Document) -> str:
    title = _wrapped(document.title)
    head = [*title, "=" * max(map(columns, title))]
    return "\n".join([*head, *_wrapped(document.subtitle)] if document.subtitle else head)


def _section(section: Section, links: Links) -> list[str]:
    rule = "-" if section.level == 1 else "·"
    title = _wrapped(section.title)
    return ["\n".join([*title, rule * max(map(columns, title))]), *_blocks(section.blocks, links)]


def _blocks(blocks: tuple[Block, ...], links: Links) -> list[str]:
    return ["\n".join(_group(group, links)).rstrip("\n") for group in grouped(blocks)]


def _group(group: tuple[Block, ...], links: Links) -> list[str]:
    match group[0]:
        case Equation():
            return _equations([each for each in group if isinstance(each, Equation)])
        case Paragraph(pieces):
            return _wrapped(running(pieces))
        case Derived() as derived:
            return _derived(derived, links)
        case Table() as table:
            return _table(table)
        case Figure() as figure:
            return _figure(figure)
        case Listing() as listing:
            return _listing(listing)


def columns(text: str) -> int:
    """How many columns a terminal gives ``text``: combining characters take none, wide letters two."""
    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text
    )


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False) or [""]


def _equations(equations: Sequence[Equation], margin: str = MARGIN) -> list[str]:
    """Equations one below the other: numbers, formulas aligned at their signs, notes where there is room."""
    numbers = [each.number for each in equations]
    left = max(map(columns, numbers)) + 2 if any(numbers) else 0
    room = WIDTH - len(margin) - left
    equations = [part for each in equations for part in spread_out(each, room, _width, True)]
    numbers = [each.number for each in equations]
    broken = [rows(each.formula, room, _width, len(CARRY), True) for each in equations]
    heads = max(columns(line(each.head)) for each in broken)
    heads = heads if heads <= room // 3 else 0
    broken = [
        rows(each.formula, room - max(0, heads - columns(line(found.head))), _width, len(CARRY), True)
        for each, found in zip(equations, broken, strict=True)
    ]
    printed = [_rows(each, heads) for each in broken]
    notes = [running(each.note) for each in equations]
    widest = max([columns(each[-1]) for each, note in zip(printed, notes, strict=True) if note] or [0])
    fits = all(widest + len(GAP) + columns(note) <= room for note in notes)
    lines = []
    for number, formula, note in zip(numbers, printed, notes, strict=True):
        *others, last = formula
        beside = fits or columns(last) + len(GAP) + columns(note) <= room
        if note and beside:  # behind the end of the formula
            last = _padded(last, widest if fits else columns(last)) + GAP + note
        start = margin + _padded(number, left)
        lines += [
            (before + each).rstrip()
            for before, each in zip([start, *[" " * columns(start)] * len(others)], [*others, last], strict=True)
        ]
        if note and not beside:
            lines += _wrapped(note, *[" " * (columns(start) + len(CARRY))] * 2)
    return lines


def _width(piece: Piece) -> float:
    return float(columns(piece_text(piece)))


def _rows(broken: Rows, heads: int) -> list[str]:
    head = line(broken.head)
    indent = " " * max(heads - columns(head), 0) if head else ""
    lines = [indent + head + line(broken.rows[0])]
    for index in range(1, len(broken.rows)):
        carry = CARRY if broken.carries_on(index) else ""
        lines.append(indent + " " * columns(head) + carry + line(broken.rows[index]))
    return [each.rstrip() for each in lines]


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def _derived(derived: Derived, links: Links) -> list[str]:
    lines = _wrapped(running(derived.lead)) if derived.lead else []
    lines += _equations([*derived.steps, derived.result])
    remark = origin(derived, links)
    return [*lines, *(_wrapped(remark, MARGIN * 3, MARGIN * 3) if remark else [])]


def origin(derived: Derived, links: Links) -> str:
    """Where a quantity comes from and which lines compute it, in words."""
    sources = ", ".join(number for _, number in links.sources(derived))
    code = [str(number) for _, number in links.code(derived)]
    words = [f"from {sources}"] if sources else []
    words += [f"{line_words(derived, len(code))} {', '.join(code)} of the listing"] if code else []
    return "; ".join(words)


def _table(table: Table) -> list[str]:
    heads: list[Cells] = [table.head] if table.head else []
    every = [*heads, *table.rows]
    count = max(map(len, every), default=0)
    widths = [max([columns(running(row[index])) for row in every if index < len(row)]) for index in range(count)]
    spare = WIDTH - len(MARGIN) - 2 * (count - 1)
    while count and sum(widths) > spare and max(widths) > LEAST:  # the widest column gives way
        widths[widths.index(max(widths))] -= 1
    rule = [MARGIN + "  ".join("─" * width for width in widths)] if heads else []
    printed = [[each for row in part for each in _table_row(row, widths, table.right)] for part in (heads, table.rows)]
    return [*printed[0], *rule, *printed[1]]


def _table_row(row: Cells, widths: list[int], right: tuple[int, ...]) -> list[str]:
    cells = [_cell(cell, width) for cell, width in zip(row, widths, strict=False)]
    lines = []
    for index in range(max(map(len, cells), default=0)):
        here = [cell[index] if index < len(cell) else "" for cell in cells]
        spaces = [" " * max(0, widths[at] - columns(text)) for at, text in enumerate(here)]
        padded = [spaces[at] + text if at in right else text + spaces[at] for at, text in enumerate(here)]
        lines.append((MARGIN + "  ".join(padded)).rstrip())
    return lines


def _cell(cell: tuple[Inline, ...], width: int) -> list[str]:
    """The lines of a cell: a formula is broken as one, words at spaces."""
    if len(cell) == 1 and not isinstance(cell[0], str):
        return _rows(rows(cell[0], width, _width, len(CARRY), True), 0)
    text = running(cell)
    return [text] if columns(text) <= width else textwrap.wrap(text, width, break_long_words=False)


def _figure(figure: Figure) -> list[str]:
    caption = _wrapped(running(figure.caption), MARGIN, MARGIN) if figure.caption else []
    if figure.network is None:
        return [*_wrapped(f"[Figure: {running(figure.alternative)}]", MARGIN, MARGIN + " "), *caption]
    return [*_wrapped(running(figure.alternative)), "", *_table(connections(figure.network)), *caption]


def _listing(listing: Listing) -> list[str]:
    width = len(str(len(listing.lines)))
    return [f"{MARGIN}{index + 1:>{width}}  {each}".rstrip() for index, each in enumerate(listing.lines)]


text = Format(render)
