"""A document in LaTeX: an article that pdflatex sets as it stands, or a fragment for a document of one's own."""

from __future__ import annotations

from dataclasses import dataclass

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
from lstmgen.derivation.formats.groups import grouped, lines_of, spread_out
from lstmgen.derivation.formats.links import Links, line_words, links_of
from lstmgen.derivation.formats.measure import piece_width, running_width
from lstmgen.derivation.formats.tex import LATEX, Tex, letter, text
from lstmgen.derivation.formats.tikz import tikz
from lstmgen.templating import render as fill

ROOM = 41.0  # em between the indent of equations and their numbers, on A4 at 10 points
LINE_ROOM = 43.0  # em for a line, which has no number beside it
TABLE_ROOM = 45.0  # em for a table, which has none either, and no indent
NOTE = 13.0  # em at most for a note beside an equation
NOTE_LEAST = 7.0
LEEWAY = 1.0  # em that formula and note together may be wider than they are measured
GAP = 2.0
LONG = 12  # rows of a table within which a page may end
TABLE = (r"\par\smallskip\noindent\hspace*{1.5em}\begin{tabular}", r"\end{tabular}\par\smallskip")
LONG_TABLE = (
    r"{\LTleft=1.5em\LTright=\fill\LTpre=\medskipamount\LTpost=\smallskipamount\begin{longtable}",
    r"\end{longtable}}",
)
DISPLAY = r"\begin{alignat*}{2}"
CLOSE_DISPLAY = r"{\jot=0pt\begin{alignat*}{2}"
FEW = 4  # equations that stand on one page
CODE = 116  # letters in a line of code

DISPLAYED = Tex(LATEX)
RUNNING = Tex(LATEX, inline=True)


@dataclass(frozen=True)
class Frame:
    """What the template of an article lays out."""

    title: str
    subtitle: str
    macros: str
    body: str


# Shared by articles and fragments; a fragment defines them only where its document has not.
MACROS = r"""\providecommand{\lgtarget}[1]{\raisebox{2.2ex}[0pt][0pt]{\hypertarget{#1}{}}}
\providecommand{\lgcode}[2]{\makebox[1.6em][r]{\textcolor{gray}{#1}}\quad\texttt{#2}\par}
\providecommand{\lgfigure}[2]{\ifdefined\tikzpicture
  \sbox0{\scalebox{1.2}{#1}}\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi
  \else\emph{#2}\fi}
% Its last line is never a word alone.
\providecommand{\lgcaption}[1]{\nopagebreak\smallskip{\small\interlinepenalty=10000
  \leftskip=1.5em\rightskip=1.5em plus 3em\parfillskip=0pt plus .6\hsize\noindent #1\par}}"""

PACKAGES = ("amsmath", "amssymb", "array", "booktabs", "longtable", "xcolor", "tikz", "hyperref")
"""What a fragment needs. Where TikZ is missing, words stand for figures."""


def render(document: Document, fragment: bool = False) -> str:
    """``document`` as LaTeX. A fragment lacks title and preamble, and says which packages it needs."""
    links = links_of(document)
    body = "\n\n".join(
        [*_blocks(document.lead, links), *(part for section in document.sections for part in _section(section, links))]
    )
    if fragment:
        return f"% Needs \\usepackage of {', '.join(PACKAGES)}.\n{MACROS}\n\n{body}\n"
    return fill("derivation/article.tex.jinja", Frame(text(document.title), text(document.subtitle), MACROS, body))


def code(line: str) -> str:
    """A line of code, in which every space and every dash stands for itself."""
    spelled = {" ": "~", "-": "{-}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}", "<": "{<}", ">": "{>}"}
    return "".join(spelled.get(each) or letter(each) for each in line)


def _name(anchor: str) -> str:
    """An anchor in letters that TeX leaves alone."""
    return "".join(
        each if (each.isascii() and each.isalnum()) or each == "-" else f"-{ord(each):x}-" for each in anchor
    )


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text with formulas in it."""
    return "".join(text(each) if isinstance(each, str) else f"${RUNNING(each)}$" for each in pieces)


def _section(section: Section, links: Links) -> list[str]:
    command = "section" if section.level == 1 else "subsection"
    return [f"\\{command}{{{text(section.title)}}}", *_blocks(section.blocks, links)]


def _blocks(blocks: tuple[Block, ...], links: Links) -> list[str]:
    parts: list[str] = []
    before: Block | None = None
    for group in grouped(blocks):
        part = _group(group, links)
        if isinstance(before, Figure) and isinstance(group[0], Table):
            part = "\\nopagebreak\n" + part  # what is drawn and its numbers
        if not part.startswith((DISPLAY, CLOSE_DISPLAY)):
            parts.append(part)
        elif isinstance(before, Paragraph):  # a display belongs to the paragraph before it
            parts[-1] += "\n" + part
        else:  # a paragraph that begins with a display would have an empty line first
            parts.append("\\noindent\n" + part)
        before = group[-1]
    return parts


def _group(group: tuple[Block, ...], links: Links) -> str:
    match group[0]:
        case Equation():
            return _equations([shown for each in group if isinstance(each, Equation) for shown in _spread(each)])
        case Paragraph(pieces):
            return running(pieces)
        case Derived() as first:
            results = [_shown(each.result, _origin(each, links)) for each in group if isinstance(each, Derived)]
            display = _equations([*(shown for step in first.steps for shown in _spread(step)), *results], at_once=True)
            return f"{running(first.lead)}\n{display}" if first.lead else display
        case Table() as table:
            lines = lines_of(table)
            return _close_lines(lines) if lines else _table(table)
        case Figure() as figure:
            return _figure(figure)
        case Listing() as listing:
            return _listing(listing)


@dataclass(frozen=True)
class _Shown:
    """An equation with its note, and how wide that is if it is not folded."""

    equation: Equation
    note: str
    width: float


def _shown(equation: Equation, more: tuple[str, float] = ("", 0.0)) -> _Shown:
    note = running(equation.note)
    joint = ", " if note and more[0] else ""
    return _Shown(equation, note + joint + more[0], _running_width(equation.note) + more[1])


def _spread(equation: Equation) -> list[_Shown]:
    return [_shown(each) for each in spread_out(equation, ROOM, piece_width)]


def _origin(derived: Derived, links: Links) -> tuple[str, float]:
    sources = [rf"\hyperlink{{{_name(anchor)}}}{{{text(number)}}}" for anchor, number in links.sources(derived)]
    lines = [rf"\hyperlink{{{_name(anchor)}}}{{{number}}}" for anchor, number in links.code(derived)]
    words = [f"from {', '.join(sources)}"] if sources else []
    words += [f"{line_words(derived, len(lines))} {', '.join(lines)}"] if lines else []
    return ", ".join(words), 2.2 * len(words) + 3.0 * derived.within + 2.0 * len(sources) + 1.4 * len(lines)


def _running_width(pieces: tuple[Inline, ...]) -> float:
    return sum(0.5 * len(each) if isinstance(each, str) else running_width(each) for each in pieces)


def _close_lines(lines: tuple[Equation, ...]) -> str:
    """Equations as close as lines of text, aligned at their signs where that takes no more rows."""
    free = [rows(each.formula, LINE_ROOM, running_width.piece, GAP, inline=True) for each in lines]
    heads = [sum(map(running_width.piece, each.head)) for each in free]
    found = [
        rows(each.formula, LINE_ROOM - max(heads) + head, running_width.piece, GAP, inline=True)
        for each, head in zip(lines, heads, strict=True)
    ]
    if max(heads) > LINE_ROOM / 3 or any(
        len(aligned.rows) > len(each.rows) for aligned, each in zip(found, free, strict=True)
    ):
        found = [each.joined() for each in free]
    shown = [
        " \\\\*\n".join(_lines(_shown(line), each, 0.0, False, RUNNING))
        for line, each in zip(lines, found, strict=True)
    ]
    return f"{CLOSE_DISPLAY}\n{_paged(shown)}\n\\end{{alignat*}}}}"


def _paged(equations: list[str]) -> str:
    """Equations one below the other. A page ends between two of them, but never after the first or before the last."""
    together = len(equations) <= FEW
    first, *others = equations
    kept = [together or index in (0, len(others) - 1) for index in range(len(others))]
    return first + "".join(f" \\\\{'*' * keep}\n{each}" for keep, each in zip(kept, others, strict=True))


def _equations(shown: list[_Shown], at_once: bool = False) -> str:
    """Equations aligned at their signs; notes in a column of their own where there is room.

    ``at_once`` has notes at the right margin.
    """
    widest = min(max(each.width for each in shown), NOTE)
    whole = [rows(each.equation.formula, ROOM, piece_width, GAP) for each in shown]
    heads = [sum(map(piece_width, each.head)) for each in whole]
    beside = widest if any(each.note for each in shown) else -GAP
    room = ROOM - beside - GAP - LEEWAY
    if at_once or room - max(heads) < 20:  # a formula in many short rows is worse than a note below it
        room, beside = ROOM, 0.0
    broken = [
        rows(each.equation.formula, room - (max(heads) - head) * bool(found.head), piece_width, GAP)
        for each, head, found in zip(shown, heads, whole, strict=True)
    ]
    # A page may end between equations, not within one.
    lines = [
        " \\\\*\n".join(_lines(each, found, beside, at_once, DISPLAYED))
        for each, found in zip(shown, broken, strict=True)
    ]
    return f"{DISPLAY}\n{_paged(lines)}\n\\end{{alignat*}}"


def _lines(shown: _Shown, found: Rows, beside: float, at_once: bool, setting: Tex) -> list[str]:
    equation = shown.equation
    target = "".join(rf"\lgtarget{{{_name(each)}}}" for each in equation.anchors)
    last = sum(map(piece_width, found.rows[-1])) + sum(map(piece_width, found.head)) + GAP * found.broken
    # Right of a short last row there is room for a note.
    after = at_once and bool(shown.note) and last + shown.width + GAP <= ROOM
    lines = []
    for index, row in enumerate(found.rows):
        carry = r"\qquad " if found.carries_on(index) else ""
        head = target + setting.row(found.head) if index == 0 else ""
        # An empty group before a sign gives it the space that it has between two terms.
        group = "{}" if found.starts_with_sign(index) else ""
        lines.append(f"  {head} & {carry}{group}{setting.row(row)}")
    if shown.note and beside > 0:
        lines[0] += rf" & \qquad & {_box(shown, beside)}"
    number = text(equation.number)
    if after and len(lines) == 1:
        number = rf"\small {shown.note}\quad\normalsize {number}" if number else rf"\small {shown.note}"
    elif after:
        lines[-1] += rf" \tag*{{\small {shown.note}}}"
    lines[0] += rf" \tag*{{{number}}}" if number else ""
    if shown.note and not beside > 0 and not after:
        lines.append(rf"  & \qquad\parbox[t]{{{ROOM - 8:.0f}em}}{{\raggedright\small {shown.note}}}")
    return lines


def _box(shown: _Shown, room: float) -> str:
    if shown.width <= room and shown.width < NOTE:
        return rf"\text{{{shown.note}}}"
    return rf"\parbox[t]{{{max(room, NOTE_LEAST):.1f}em}}{{\raggedright {shown.note}}}"


def _table(table: Table) -> str:
    every = [*([table.head] if table.head else []), *table.rows]
    count = max(map(len, every), default=0)
    if count == 1 and not table.head:
        return _listed(table)
    widths = [max(_running_width(row[at]) for row in every if at < len(row)) for at in range(count)]
    spare = TABLE_ROOM - GAP * count
    folded = {at for at in range(count) if sum(widths) > spare and widths[at] > spare / max(count, 1)}
    share = (spare - sum(each for at, each in enumerate(widths) if at not in folded)) / max(len(folded), 1)
    columns = "".join(
        rf">{{\raggedright\arraybackslash}}p{{{share:.1f}em}}" if at in folded else "r" if at in table.right else "l"
        for at in range(count)
    )
    long = len(table.rows) >= LONG
    opening, closing = LONG_TABLE if long else TABLE
    lines = [opening + rf"{{@{{}}{columns}@{{}}}}", r"\toprule"]
    if table.head:
        lines += [_cells(table.head), r"\midrule" + r"\endhead" * long]
    lines += [_cells(row) for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", closing])


def _listed(table: Table) -> str:
    """Lines one below the other, between which a page may end, as it may not within a table."""
    lines = [rf"\noindent\hangindent=3.5em\hspace*{{1.5em}}{running(cell)}\par" for (cell,) in table.rows]
    return "\n".join([r"\par\smallskip{\parskip=0pt\raggedright", *lines, r"}\smallskip"])


def _cells(row: tuple[tuple[Inline, ...], ...]) -> str:
    # A bracket at the start of a row would be read as an argument of the line break before it.
    return "{} " + " & ".join(map(running, row)) + r" \\"


def _figure(figure: Figure) -> str:
    caption = f"\n\\lgcaption{{{running(figure.caption)}}}" if figure.caption else r"\smallskip"
    drawing = f"\\lgfigure{{%\n{tikz(figure.drawing)}}}{{{running(figure.alternative)}}}"
    return f"\\par\\smallskip{{\\centering\n{drawing}\\par}}{caption}"


def _listing(listing: Listing) -> str:
    anchors: dict[int, list[str]] = {}
    for index, anchor in listing.anchors:
        anchors.setdefault(index, []).append(anchor)
    lines = [
        line for index, each in enumerate(listing.lines) for line in _code_lines(index, each, anchors.get(index, []))
    ]
    return "\n".join([r"{\scriptsize\parskip=0pt\parindent=0pt", *lines, "}"])


def _code_lines(index: int, line: str, anchors: list[str]) -> list[str]:
    targets = "".join(rf"\lgtarget{{{_name(each)}}}" for each in anchors)
    parts = [line[at : at + CODE] for at in range(0, len(line), CODE)] or [""]
    numbers = [targets + str(index + 1), *[""] * (len(parts) - 1)]
    return [rf"\lgcode{{{number}}}{{{code(part)}}}" for number, part in zip(numbers, parts, strict=True)]


latex = Format(render, pictures=True, curves=True)
