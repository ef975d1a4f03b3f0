"""A document as one HTML file: no request, no script; MathML, light and dark, on wide pages, narrow ones and paper."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
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
from lstmgen.derivation.formats.groups import grouped, lines_of
from lstmgen.derivation.formats.links import Links, line_words, links_of
from lstmgen.derivation.formats.mathml import DISPLAYS, INDENT, LINES, Setting, display_math, inline_math
from lstmgen.derivation.formats.measure import running_width
from lstmgen.derivation.formats.plain import running as plain_text
from lstmgen.derivation.formats.svg import element
from lstmgen.derivation.formula import Several
from lstmgen.templating import render as fill
from lstmgen.templating import render_text

WIDE = 43.0  # em for a formula on a wide page, less what its note takes
NARROW = 17.0  # em on a telephone
NOTE = 13.0
LEAST = 22.0
FEW = 3  # numbers that stand on one line in a note
SHORT = 36  # letters in a line of code that has room everywhere
BESIDE = re.compile(r"([(\[]?)(<math[ >].*?</math>)([,.;:!?)\]]*)")
HANGING = 4  # letters that the rest of a longer line is set in from it


@dataclass(frozen=True)
class Article:
    """What the template of an article lays out, all of it markup. ``classes`` say what it has and where it stands.

    ``style`` is "" where the page around the article has it.
    """

    style: str
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
    inner = _article(document, style(), fragment)
    return inner if fragment else fill("derivation/page.html.jinja", Page(escape(document.title), inner))


def unstyled(document: Document) -> str:
    """``document`` as a fragment without its style, for pages that have :func:`style` already."""
    return _article(document, "", True)


def style() -> str:
    """The style of all articles."""
    return render_text("derivation/style.css.jinja")


def _article(document: Document, style: str, fragment: bool) -> str:
    links = links_of(document)
    body = [*_blocks(document.lead, links), *(_section(section, links) for section in document.sections)]
    contents = () if fragment else tuple(_entry(section) for section in document.sections)
    classes = ["derivation", *(["contents"] if contents else []), *([] if document.title else ["embedded"])]
    title, subtitle = escape(document.title), escape(document.subtitle)
    article = Article(style, " ".join(classes), title, subtitle, contents, "\n".join(body))
    return fill("derivation/article.html.jinja", article)


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text with formulas in it. No line ends between a formula and a bracket or a comma beside it."""
    printed = "".join(escape(each) if isinstance(each, str) else inline_math(each, NARROW) for each in pieces)
    return BESIDE.sub(lambda found: _together(found[0]) if found[1] or found[3] else found[0], printed)


def _together(printed: str) -> str:
    return f'<span class="together">{printed}</span>'


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
        case Derived():
            return _derived([each for each in group if isinstance(each, Derived)], links)
        case Table() as table:
            lines = lines_of(table)
            return _equations(tuple((each, "") for each in lines), " lines", LINES) if lines else _table(table)
        case Figure() as figure:
            return _figure(figure)
        case Listing() as listing:
            return _listing(listing)


def _equations(equations: tuple[tuple[Equation, str], ...], kind: str = "", setting: Setting = DISPLAYS) -> str:
    """Equations with their notes, aligned at their signs."""
    wide = _aligned([(each, max(WIDE - _room(note), LEAST)) for each, note in equations], setting)
    stacked = replace(setting, stacked=True)
    narrow = _aligned([(each, NARROW) for each, _ in equations], stacked)
    lines = "\n".join(
        _equation(each, note, display_math(*on_wide, setting, "wide"), display_math(*on_narrow, stacked, "narrow"))
        for (each, note), on_wide, on_narrow in zip(equations, wide.shown, narrow.shown, strict=True)
    )
    heads = {"wide": wide.head, "narrow": narrow.head}
    widths = "; ".join(f"--{name}: {width:.2f}em" for name, width in heads.items() if width)
    style = f' style="{widths}"' if widths else ""
    return f'<div class="equations{kind}"{style}>\n{lines}\n</div>'


@dataclass(frozen=True)
class _Fitted:
    """Equations in rows, each with the room that it has; ``head`` is how wide left sides are, 0 for each as it is."""

    shown: tuple[tuple[list[Rows], float], ...]
    head: float


def _aligned(equations: list[tuple[Equation, float]], setting: Setting) -> _Fitted:
    """Equations in the room of each: aligned at their signs, unless one of them would need more rows for that."""
    free = _alike(equations, setting)
    heads = [sum(map(setting.width, each[0].head)) for each in free]
    rooms = [room - max(heads) + head for (_, room), head in zip(equations, heads, strict=True)]
    fitted = _alike([(each, room) for (each, _), room in zip(equations, rooms, strict=True)], setting)
    far = max(heads) > max(room for _, room in equations) / 3
    alone = len(equations) == 1 or far or any(map(_taller, fitted, free))
    if alone:
        return _Fitted(tuple(zip(free, (room for _, room in equations), strict=True)), 0.0)
    return _Fitted(tuple(zip(fitted, rooms, strict=True)), max(heads))


def _alike(equations: list[tuple[Equation, float]], setting: Setting) -> list[list[Rows]]:
    """Equations in rows; where there are equally many relations beside each other, equally many share a row."""
    needed: dict[int, int] = {}
    for each, room in equations:
        parts = spread(each.formula, room, setting.width, setting.inline)
        needed[_relations(each)] = max(needed.get(_relations(each), 1), len(parts))
    return [_rows(each, room, needed[_relations(each)], setting) for each, room in equations]


def _relations(equation: Equation) -> int:
    return len(equation.formula.relations) if isinstance(equation.formula, Several) else 1


def _taller(one: list[Rows], other: list[Rows]) -> bool:
    return sum(len(each.rows) for each in one) > sum(len(each.rows) for each in other)


def _room(note: str) -> float:
    """What a note takes of the room for a formula: all that it may have, where it is to be folded."""
    return min(NOTE, 0.45 * len(re.sub("<[^>]*>", "", note)) + 1.0) if note else 0.0


def _equation(equation: Equation, note: str, wide: str, narrow: str) -> str:
    """An equation with its note; its formula on wide pages and on narrow ones, once where that is the same."""
    everywhere = wide.replace(' class="wide"', "", 1)
    formula = everywhere if everywhere == narrow.replace(' class="narrow"', "", 1) else wide + narrow
    name = f' id="{escape(equation.anchor)}"' if equation.anchor else ""
    names = "".join(f'<span id="{escape(each)}"></span>' for each in equation.also)
    aside = f'<span class="note">{note}</span>' if note else ""
    number = escape(equation.number)
    if number and equation.anchor:
        number = f'<a href="#{escape(equation.anchor)}">{number}</a>'
    count = f'<span class="number">{number}</span>' if number else ""
    return f'<div class="equation"{name}><div class="formula">{names}{formula}</div>{aside}{count}</div>'


def _rows(equation: Equation, limit: float, least: int, setting: Setting) -> list[Rows]:
    parts = spread(equation.formula, limit, setting.width, setting.inline, least)
    found = [rows(each, limit, setting.width, INDENT, setting.inline) for each in parts]
    return found if all(each.head for each in found) else [each.joined() for each in found]


def _derived(group: list[Derived], links: Links) -> str:
    first = group[0]
    lead = f"<p>{running(first.lead)}</p>\n" if first.lead else ""
    shown = (
        *((step, running(step.note)) for step in first.steps),
        *((each.result, _origin(each, links)) for each in group),
    )
    return f'<div class="derived">\n{lead}{_equations(shown, " steps" if first.steps else "")}\n</div>'


def _origin(derived: Derived, links: Links) -> str:
    """The note of a result: its own, and where it comes from."""
    sources = ", ".join(
        f'<a href="#{escape(anchor)}">{escape(number)}</a>' for anchor, number in links.sources(derived)
    )
    lines = links.code(derived)
    code = ", ".join(f'<a href="#{escape(anchor)}">{number}</a>' for anchor, number in lines)
    words = [_kept(f"from {sources}", len(links.sources(derived)))] if sources else []
    words += [_kept(f"{line_words(derived, len(lines))} {code}", len(lines))] if code else []
    return ", ".join([*([running(derived.result.note)] if derived.result.note else []), *words])


def _kept(words: str, numbers: int) -> str:
    """Words with numbers on one line, where that is not too long for any page; else with the first of them."""
    return _together(words) if numbers <= FEW else words.replace(" <a", "\u00a0<a", 1)


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
    lines = "".join(_line(index, line, anchors.get(index, [])) for index, line in enumerate(listing.lines))
    language = escape(listing.language)
    return f'<pre class="listing"><code class="language-{language}">{lines}</code></pre>'


def _line(index: int, line: str, anchors: list[str]) -> str:
    """A line with its number, which is no part of the text that is copied."""
    first = f' id="{escape(anchors[0])}"' if anchors else ""
    others = "".join(f'<span id="{escape(each)}"></span>' for each in anchors[1:])
    inner = len(line) - len(line.lstrip()) + HANGING
    style = f' style="--in: {inner}ch"' if inner > HANGING and len(line) > SHORT else ""
    return f'<span class="line"{first}{style} data-number="{index + 1}">{others}{escape(line)}\n</span>'


html = Format(render, pictures=True, curves=True, code=True)
