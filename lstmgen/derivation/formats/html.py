"""A document as one HTML file: no request, no script; MathML, light and dark, on wide pages, narrow ones and paper."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from itertools import zip_longest

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
from lstmgen.derivation.formats.breaking import Rows, rows, spread
from lstmgen.derivation.formats.groups import grouped
from lstmgen.derivation.formats.links import Links, line_words, links_of
from lstmgen.derivation.formats.mathml import INDENT, display_math, inline_math
from lstmgen.derivation.formats.measure import piece_width, running_width
from lstmgen.derivation.formats.plain import running as plain_text
from lstmgen.derivation.formats.svg import element
from lstmgen.templating import render as fill

WIDE = 38.0  # em for a formula on a wide page, less what its note takes
NARROW = 17.0  # em on a telephone
NOTE = 13.0
LEAST = 22.0


@dataclass(frozen=True)
class Article:
    """What the template of an article lays out, all of it markup. ``classes`` say what it has and where it stands."""

    classes: str
    title: str
    subtitle: str
    contents: tuple[str, ...]
    body: str


@dataclass(frozen=True)
class Page:
    """What the template of a page lays out around an article."""

    title: str
    article: str


def render(document: Document, fragment: bool = False) -> str:
    """``document`` as HTML. A fragment is the article with its style, to stand within a page."""
    links = links_of(document)
    body = [*_blocks(document.lead, links), *(_section(section, links) for section in document.sections)]
    contents = () if fragment else tuple(_entry(section) for section in document.sections)
    classes = ["derivation", *(["contents"] if contents else []), *([] if document.title else ["embedded"])]
    article = Article(" ".join(classes), escape(document.title), escape(document.subtitle), contents, "\n".join(body))
    inner = fill("derivation/article.html.jinja", article)
    return inner if fragment else fill("derivation/page.html.jinja", Page(escape(document.title), inner))


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text with formulas in it."""
    return "".join(escape(each) if isinstance(each, str) else inline_math(each, NARROW) for each in pieces)


def _entry(section: Section) -> str:
    return f'<li class="level-{section.level}"><a href="#{escape(section.name)}">{escape(section.title)}</a></li>'


def _section(section: Section, links: Links) -> str:
    heading = section.level + 1
    name = escape(section.name)
    inner = "\n".join(_blocks(section.blocks, links))
    return f'<section id="{name}">\n<h{heading}>{escape(section.title)}</h{heading}>\n{inner}\n</section>'


def _blocks(blocks: tuple[Block, ...], links: Links) -> list[str]:
    return [_group(group, links) for group in grouped(blocks)]


def _group(group: tuple[Block, ...], links: Links) -> str:
    match group[0]:
        case Equation():
            return _equations(tuple((each, running(each.note)) for each in group if isinstance(each, Equation)))
        case Paragraph(pieces):
            return f"<p>{running(pieces)}</p>"
        case Derived() as derived:
            return _derived(derived, links)
        case Table() as table:
            return _table(table)
        case Figure() as figure:
            return _figure(figure)
        case Listing() as listing:
            return _listing(listing)


def _equations(equations: tuple[tuple[Equation, str], ...], kind: str = "") -> str:
    """Equations with their notes, aligned at their signs."""
    heads = [sum(map(piece_width, _rows(each, WIDE)[0].head)) for each, _ in equations]
    widest = max(heads)
    aligned = widest <= NARROW / 3  # a column as wide as that would leave no room on a telephone
    lines = "\n".join(
        _equation(each, note, widest - head if aligned else 0.0)
        for (each, note), head in zip(equations, heads, strict=True)
    )
    style = f' style="--head: {widest:.2f}em"' if aligned and len(equations) > 1 else ""
    return f'<div class="equations{kind}"{style}>\n{lines}\n</div>'


def _room(note: str) -> float:
    """What a note takes of the room for a formula: all that it may have, where it is to be folded."""
    return min(NOTE, 0.45 * len(re.sub("<[^>]*>", "", note)) + 1.0) if note else 0.0


def _equation(equation: Equation, note: str, left: float) -> str:
    """An equation with its note; ``left`` is what aligning its sign takes from its room."""
    rooms = max(WIDE - _room(note) - left, LEAST), NARROW - left
    wide, narrow = (_rows(equation, each) for each in rooms)
    if wide == narrow:
        formula = display_math(wide, rooms[1])
    else:
        formula = display_math(wide, rooms[0], "wide") + display_math(narrow, rooms[1], "narrow")
    name = f' id="{escape(equation.anchor)}"' if equation.anchor else ""
    names = "".join(f'<span id="{escape(each)}"></span>' for each in equation.also)
    aside = f'<span class="note">{note}</span>' if note else ""
    number = escape(equation.number)
    if number and equation.anchor:
        number = f'<a href="#{escape(equation.anchor)}">{number}</a>'
    count = f'<span class="number">{number}</span>' if number else ""
    return f'<div class="equation"{name}><div class="formula">{names}{formula}</div>{aside}{count}</div>'


def _rows(equation: Equation, limit: float) -> list[Rows]:
    return [rows(each, limit, piece_width, INDENT) for each in spread(equation.formula, limit, piece_width)]


def _derived(derived: Derived, links: Links) -> str:
    lead = f"<p>{running(derived.lead)}</p>\n" if derived.lead else ""
    sources = ", ".join(
        f'<a href="#{escape(anchor)}">{escape(number)}</a>' for anchor, number in links.sources(derived)
    )
    lines = links.code(derived)
    code = ", ".join(f'<a href="#{escape(anchor)}">{number}</a>' for anchor, number in lines)
    words = [f"from {sources}"] if sources else []
    words += [f"{line_words(derived, len(lines))} {code}"] if code else []
    note = ", ".join([*([running(derived.result.note)] if derived.result.note else []), *words])
    shown = (*((step, running(step.note)) for step in derived.steps), (derived.result, note))
    return f'<div class="derived">\n{lead}{_equations(shown, " steps" if derived.steps else "")}\n</div>'


def _table(table: Table) -> str:
    head = _cells(table.head, "th", table.right) if table.head else ""
    body = "".join(_cells(row, "td", table.right) for row in table.rows)
    top = f"<thead>{head}</thead>" if head else ""
    plain = "" if table.head else f' class="{_plain(table)}"'
    return f'<div class="scroll" tabindex="0"><table{plain}>{top}<tbody>{body}</tbody></table></div>'


def _plain(table: Table) -> str:
    """The classes of a table without a head: its cells follow each other where they are too wide to be aligned."""
    columns = zip_longest(*table.rows, fillvalue=())
    return "plain" if sum(max(map(_width, column)) for column in columns) < WIDE else "plain flowing"


def _width(pieces: tuple[Inline, ...]) -> float:
    return sum(0.5 * len(each) if isinstance(each, str) else running_width(each) for each in pieces)


def _cells(row: tuple[tuple[Inline, ...], ...], kind: str, right: tuple[int, ...]) -> str:
    scope = ' scope="col"' if kind == "th" else ""
    cells = (
        f"<{kind}{scope}{' class=' + chr(34) + 'right' + chr(34) if at in right else ''}>{running(cell)}</{kind}>"
        for at, cell in enumerate(row)
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _figure(figure: Figure) -> str:
    caption = f"<figcaption>{running(figure.caption)}</figcaption>" if figure.caption else ""
    return f"<figure>{element(figure.drawing, plain_text(figure.alternative))}{caption}</figure>"


def _listing(listing: Listing) -> str:
    anchors: dict[int, list[str]] = {}
    for index, anchor in listing.anchors:
        anchors.setdefault(index, []).append(anchor)
    lines = "\n".join(_line(index, line, anchors.get(index, [])) for index, line in enumerate(listing.lines))
    language = escape(listing.language)
    return f'<pre class="listing" tabindex="0"><code class="language-{language}">{lines}</code></pre>'


def _line(index: int, line: str, anchors: list[str]) -> str:
    """A line with its number, which is no part of the text that is copied."""
    first = f' id="{escape(anchors[0])}"' if anchors else ""
    others = "".join(f'<span id="{escape(each)}"></span>' for each in anchors[1:])
    return f'<span class="line"{first} data-number="{index + 1}">{others}{escape(line)}</span>'


html = Format(render, pictures=True, curves=True, code=True)
