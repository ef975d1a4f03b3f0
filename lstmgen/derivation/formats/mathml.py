"""Formulas in MathML: the elements of MathML Core, which every browser sets without a script."""

from __future__ import annotations

from html import escape

from lstmgen.derivation.formats.brackets import Place, needs_brackets
from lstmgen.derivation.formats.breaking import Rows
from lstmgen.derivation.formats.letters import RELATIONS, sign
from lstmgen.derivation.formats.pieces import Kind, Mark, Piece, is_linear, pieces
from lstmgen.derivation.formula import (
    Accent,
    Angled,
    Call,
    Cases,
    Column,
    Delta,
    Derivative,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Size,
    Style,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
    Words,
)

INVISIBLE_TIMES = "\u2062"
APPLY = "\u2061"
ACCENTS = {Accent.TILDE: "~", Accent.BAR: "\u00af", Accent.HAT: "^"}
TIMES = {
    Times.ELEMENTWISE: "<mo>⊙</mo>",
    # A thin space keeps a matrix apart from what it multiplies.
    Times.MATRIX: f'<mo lspace="0" rspace="0.17em">{INVISIBLE_TIMES}</mo>',
    Times.SCALAR: f'<mo lspace="0" rspace="0.17em">{INVISIBLE_TIMES}</mo>',
    Times.STAR: "<mo>∗</mo>",
    Times.AT: '<mo lspace="0.22em" rspace="0.22em">@</mo>',
    Times.OUTER: "<mo>⊗</mo>",
    Times.CONTRACTION: '<mo separator="true">,</mo>',
}


def inline_math(formula: Formula) -> str:
    """``formula`` within running text."""
    return f"<math>{mathml(formula)}</math>"


def display_math(found: Rows, shown: str = "") -> str:
    """Rows of a formula as a display. ``shown`` is a class that says on which pages."""
    rows = []
    for index, row in enumerate(found.rows):
        head = _row(found.head) if index == 0 else ""
        carry = '<mspace width="1.6em"/>' if found.carries_on(index) else ""
        rows.append(f'<mtr><mtd class="head">{head}</mtd><mtd>{_mrow(carry + _row(row))}</mtd></mtr>')
    style = f' class="{shown}"' if shown else ""
    table = f'<mtable displaystyle="true" columnalign="right left">{"".join(rows)}</mtable>'
    return f'<math display="block"{style}>{table}</math>'


def mathml(formula: Formula) -> str:
    """``formula`` as one MathML element."""
    if is_linear(formula):
        return _mrow(_row(pieces(formula)))
    match formula:
        case Symbol():
            return _symbol(formula)
        case Number(text):
            return f"<mn>{escape(text)}</mn>"
        case Fraction(above, below):
            return f"<mfrac>{mathml(above)}{mathml(below)}</mfrac>"
        case Power(base, exponent):
            return f"<msup>{_at(base, Place.RAISED)}{mathml(exponent)}</msup>"
        case Root(of):
            return f"<msqrt>{mathml(of)}</msqrt>"
        case Call(function, arguments):
            return _mrow(f"{mathml(function)}<mo>{APPLY}</mo>{_list('(', arguments, ')')}")
        case Size(of):
            return _mrow(
                f'<mo form="prefix" stretchy="true">|</mo>{mathml(of)}<mo form="postfix" stretchy="true">|</mo>'
            )
        case Transposed(of):
            return f'<msup>{_at(of, Place.RAISED)}<mi mathvariant="normal">⊤</mi></msup>'
        case Delta(of):
            return _mrow(f'<mi mathvariant="normal">δ</mi>{_at(of, Place.RAISED)}')
        case Angled(of):
            return _mrow(_open("⟨") + mathml(of) + _close("⟩"))
        case Derivative(of, by):
            upper, lower = (_mrow(f"<mo>∂</mo>{_at(each, Place.RAISED)}") for each in (of, by))
            return f"<mfrac>{upper}{lower}</mfrac>"
        case Total(of, index, first, last):
            return _mrow(_sum_sign(index, first, last) + _at(of, Place.SUMMED))
        case Column(entries):
            cells = "".join(f"<mtr><mtd>{mathml(entry)}</mtd></mtr>" for entry in entries)
            return _mrow(f"{_open('[')}<mtable>{cells}</mtable>{_close(']')}")
        case Row(entries):
            return _list("[", entries, "]")
        case Cases(cases):
            cells = "".join(_case(value, condition) for value, condition in cases)
            return _mrow(f'{_open("{")}<mtable columnalign="left left" class="cases">{cells}</mtable>')
        case Words(text):
            return _words(f" {text.strip()} ")
        case Product(factors):
            return _mrow(f"<mi>contract</mi><mo>{APPLY}</mo>{_list('(', factors, ')')}")
        case Sum() | Relation():
            raise AssertionError("made of pieces")


def _row(row: tuple[Piece, ...]) -> str:
    """Pieces as they stand. Brackets that open and close in the row hold a group; the others stand alone."""
    stack: list[list[str]] = [[]]
    for piece in row:
        for mark in piece.before:
            if mark.kind is Kind.OPEN:
                stack.append([])
            else:
                stack[-1].append(_mark(mark, first=stack == [[]]))
        stack[-1].append(mathml(piece.formula))
        for _ in piece.after:
            inner = "".join(stack.pop())
            if stack:
                stack[-1].append(_mrow(_open("(") + _mrow(inner) + _close(")")))
            else:  # opened in a row before
                stack = [[inner, '<mo form="postfix" stretchy="false">)</mo>']]
    found = "".join(stack[0])
    for inside in stack[1:]:  # closes in a row after
        found += '<mo form="prefix" stretchy="false">(</mo>' + "".join(inside)
    return found


def _mrow(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _open(bracket: str) -> str:
    return f'<mo form="prefix">{bracket}</mo>'


def _close(bracket: str) -> str:
    return f'<mo form="postfix">{bracket}</mo>'


def _mark(mark: Mark, first: bool) -> str:
    match mark.kind:
        case Kind.RELATION if mark.text in RELATIONS:
            return f'<mo form="infix">{escape(RELATIONS[mark.text])}</mo>'
        case Kind.RELATION:
            return _words(f" {mark.text} ")
        case Kind.BINARY:  # at the start of a row it would be taken for a sign of what follows
            return f'<mo form="infix">{"+" if mark.text == "+" else "−"}</mo>'
        case Kind.UNARY:
            return '<mo form="prefix">−</mo>'
        case Kind.TIMES:
            return TIMES[Times(mark.text)].replace("<mo>", '<mo form="infix">') if first else TIMES[Times(mark.text)]
        case Kind.OPEN | Kind.CLOSE:
            raise AssertionError("brackets hold groups")


def _at(formula: Formula, place: Place) -> str:
    if needs_brackets(formula, place):
        return _mrow(_open("(") + mathml(formula) + _close(")"))
    return mathml(formula)


def _list(opening: str, entries: tuple[Formula, ...], closing: str) -> str:
    inner = '<mo separator="true">,</mo>'.join(map(mathml, entries))
    return _mrow(_open(opening) + inner + _close(closing))


def _symbol(symbol: Symbol) -> str:
    base = _base(symbol)
    if symbol.accent is not Accent.NONE:
        stretchy = "true" if len(sign(symbol.base)) > 1 else "false"
        base = f'<mover accent="true">{base}<mo stretchy="{stretchy}">{ACCENTS[symbol.accent]}</mo></mover>'
    below, above = _script(symbol.below), _script(symbol.above)
    if below and above:
        return f"<msubsup>{base}{below}{above}</msubsup>"
    if below:
        return f"<msub>{base}{below}</msub>"
    return f"<msup>{base}{above}</msup>" if above else base


def _script(parts: tuple[Formula, ...]) -> str:
    inner = '<mo separator="true" lspace="0" rspace="0">,</mo>'.join(map(mathml, parts))
    return _mrow(inner) if len(parts) > 1 else inner


def _base(symbol: Symbol) -> str:
    text = sign(symbol.base)
    upright = symbol.style is Style.UPRIGHT
    variant = ' mathvariant="normal"' if upright and len(text) == 1 else ""
    looks = [*(["bold"] if symbol.bold else []), *(["italic"] if len(text) > 1 and not upright else [])]
    style = f' class="{" ".join(looks)}"' if looks else ""
    return f"<mi{variant}{style}>{escape(text)}</mi>"


def _words(text: str) -> str:
    # White space at the ends of a text is lost, so that it is asked for by name.
    lead, trail = ("\u00a0" if text.startswith(" ") else ""), ("\u00a0" if text.endswith(" ") else "")
    return f"<mtext>{lead}{escape(text.strip())}{trail}</mtext>"


def _sum_sign(index: Formula, first: Formula | None, last: Formula | None) -> str:
    lower = mathml(index) if first is None else _mrow(f"{mathml(index)}<mo>=</mo>{mathml(first)}")
    total = '<mo movablelimits="false">∑</mo>'
    return (
        f"<munder>{total}{lower}</munder>" if last is None else f"<munderover>{total}{lower}{mathml(last)}</munderover>"
    )


def _case(value: Formula, condition: Formula | None) -> str:
    when = _words("otherwise") if condition is None else _mrow(_words("if ") + mathml(condition))
    return f"<mtr><mtd>{mathml(value)}</mtd><mtd>{when}</mtd></mtr>"
