"""A document in Markdown with ``$$``, as GitHub and Jupyter print it.

Both hand mathematics to MathJax, but GitHub reads it as Markdown first: a backslash before punctuation is lost, a low
line after punctuation may begin emphasis. So the mathematics here has neither (the dialect in :mod:`tex`), displays
have empty lines around them, and a dollar in running text is wrapped so that nothing pairs with it.
"""

from __future__ import annotations

import re
from html import escape
from urllib.parse import quote

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
from lstmgen.derivation.formats.breaking import rows, spread
from lstmgen.derivation.formats.links import Links, line_words, links_of
from lstmgen.derivation.formats.measure import piece_width
from lstmgen.derivation.formats.mermaid import chart
from lstmgen.derivation.formats.tex import MARKDOWN, Tex

ROOM = 44.0  # em that a page on GitHub gives an equation
INDENT = 2.0

DISPLAYED = Tex(MARKDOWN)
RUNNING = Tex(MARKDOWN, inline=True)


def render(document: Document, fragment: bool = False) -> str:
    """``document`` as Markdown. A fragment leaves out the title."""
    links = links_of(document)
    parts = [] if fragment else [f"# {text(document.title)}"]
    if document.subtitle and not fragment:
        parts.append(f"*{text(document.subtitle)}*")
    parts += [part for block in document.lead for part in _block(block, links)]
    for section in document.sections:
        parts += _section(section, links)
    return "\n\n".join(parts) + "\n"


def text(words: str) -> str:
    """User's words, with everything that means something to Markdown or HTML escaped."""
    entities = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "<span>$</span>"}
    spelled = "".join(
        entities.get(each) or (f"\\{each}" if each in r"\`*_{}[]|~#^" else each)
        for each in " ".join(words.splitlines())
    )
    return re.sub(r"^(\s*)([-+=]|\d+[.)])", r"\1&#8203;\2", spelled)  # no list and no underlined heading


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text with formulas in it."""
    return "".join(_inline(each) for each in pieces)


def _inline(piece: Inline) -> str:
    if not isinstance(piece, str):
        return f"${RUNNING(piece)}$"
    kept = re.fullmatch(r"(\s*)(.*?)(\s*)", piece, re.DOTALL)
    assert kept is not None
    return kept[1] + text(kept[2]) + kept[3]


def _section(section: Section, links: Links) -> list[str]:
    heading = f'{"#" * (section.level + 1)} <a id="{escape(section.name)}"></a>{text(section.title)}'
    return [heading, *(part for block in section.blocks for part in _block(block, links))]


def _block(block: Block, links: Links) -> list[str]:
    match block:
        case Paragraph(pieces):
            return [running(pieces)]
        case Equation():
            return _equation(block)
        case Derived():
            return _derived(block, links)
        case Table():
            return [_table(block)]
        case Figure():
            return _figure(block)
        case Listing():
            return [_listing(block)]


def _equation(equation: Equation) -> list[str]:
    anchors = ["".join(f'<a id="{escape(each)}"></a>' for each in equation.anchors)] if equation.anchors else []
    note = [running(equation.note)] if equation.note else []
    return [" ".join([*anchors, *note]), _display(equation)] if anchors or note else [_display(equation)]


def _display(equation: Equation) -> str:
    formulas = [rows(each, ROOM, piece_width, INDENT) for each in spread(equation.formula, ROOM, piece_width)]
    tag = f" \\tag*{{{DISPLAYED.tag(equation.number)}}}" if equation.number else ""
    if len(formulas) == 1 and not formulas[0].broken:
        return f"$$\n{DISPLAYED(equation.formula)}{tag}\n$$"
    lines = []
    for found in formulas:
        for index, row in enumerate(found.rows):
            head = DISPLAYED.row(found.head) + " " if index == 0 and found.head else ""
            carry = r"\qquad " if found.carries_on(index) else ""
            lines.append(f"{head}& {carry}{'{}' * found.starts_with_sign(index)}{DISPLAYED.row(row)}")
    inner = f" {MARKDOWN.newline}\n".join(lines)
    return f"$$\n\\begin{{aligned}}\n{inner}\n\\end{{aligned}}{tag}\n$$"


def _derived(derived: Derived, links: Links) -> list[str]:
    sources = ", ".join(f"[{text(number)}](#{quote(anchor)})" for anchor, number in links.sources(derived))
    code = [str(number) for _, number in links.code(derived)]
    words = [f"from {sources}"] if sources else []
    words += [f"{line_words(derived, len(code))} {', '.join(code)} of the listing"] if code else []
    lead = [running(derived.lead)] if derived.lead else []
    return [
        *lead,
        *(part for step in derived.steps for part in _equation(step)),
        *_equation(derived.result),
        *([f"<sub>{'; '.join(words)}</sub>"] if words else []),
    ]


def _table(table: Table) -> str:
    count = max(map(len, [table.head, *table.rows]))
    # Markdown cannot do without a head.
    heads = [_cell(cell) for cell in table.head] or [""] * count
    rule = ["---:" if at in table.right else "---" for at in range(count)]
    body = [[_cell(cell) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, rule, *body])


def _cell(pieces: tuple[Inline, ...]) -> str:
    return running(pieces).replace("\n", " ")


def _figure(figure: Figure) -> list[str]:
    caption = [f"*{running(figure.caption)}*"] if figure.caption else []
    if figure.network is None:
        return [f"> {running(figure.alternative)}", *caption]
    return [f"```mermaid\n{chart(figure.network)}```", *caption]


def _listing(listing: Listing) -> str:
    longest = max((len(run) for line in listing.lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([fence + listing.language, *listing.lines, fence])


markdown = Format(render, pictures=True, curves=True)
