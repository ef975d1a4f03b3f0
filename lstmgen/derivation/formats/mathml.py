"""Formulas in MathML: the elements of MathML Core, which every browser sets without a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape

from lstmgen.derivation.formats.brackets import Place, is_tall, needs_brackets
from lstmgen.derivation.formats.breaking import Rows, Width, rows, widest_row
from lstmgen.derivation.formats.measure import Measure, running_width
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
    Several,
    Size,
    Style,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
    Words,
)
from lstmgen.derivation.letters import RELATIONS, sign

INDENT = 1.6  # em, of rows that carry on
LEAST = 0.6  # how much smaller a formula is set at most
INVISIBLE_TIMES = "\u2062"
APPLY = "\u2061"
# What stands above a letter keeps a distance from it; above several letters it is as wide as they are.
ACCENTS = {Accent.TILDE: "\u02dc", Accent.BAR: "\u00af", Accent.HAT: "\u02c6"}
WIDE_ACCENTS = {Accent.TILDE: "~", Accent.BAR: "\u00af", Accent.HAT: "^"}
TRANSPOSED = '<mi mathvariant="normal">⊤</mi>'
PARTIAL = '<mo form="prefix" lspace="0" rspace="0">∂</mo>'
STROKE = '<mo lspace="0" rspace="0">/</mo>'
TIGHT = ' lspace="0" rspace="0"'
AROUND = ' lspace="0.22em" rspace="0.22em"'  # what TeX has around signs of products; browsers would have less
THIN = ' lspace="0" rspace="0.17em"'  # keeps a matrix apart from what it multiplies
TIMES = {
    Times.ELEMENTWISE: ("⊙", AROUND),
    Times.MATRIX: (INVISIBLE_TIMES, THIN),
    Times.SCALAR: (INVISIBLE_TIMES, THIN),
    Times.STAR: ("∗", AROUND),
    Times.AT: ("@", AROUND),
    Times.OUTER: ("⊗", AROUND),
    Times.NUMBERS: ("⋅", AROUND),
}


@dataclass(frozen=True)
class MathMl:
    """Prints formulas as elements; ``inline`` keeps them low enough for running text.

    ``tight`` leaves out the space around signs, as in subscripts and exponents. ``stacked`` puts the conditions of
    cases below their values, for narrow pages.
    """

    inline: bool = False
    tight: bool = False
    stacked: bool = False

    @property
    def script(self) -> MathMl:
        """What prints subscripts, exponents and what else is as small as they are."""
        return replace(self, tight=True)

    def __call__(self, formula: Formula) -> str:
        """``formula`` as one MathML element."""
        if is_linear(formula):
            return _mrow(self.row(pieces(formula, self.inline)))
        match formula:
            case Symbol():
                return self._symbol(formula)
            case Number(text):
                return f"<mn>{escape(text.replace('-', '−'))}</mn>"
            case Fraction(above, below):
                if self.inline:
                    return _mrow(f"{self._at(above, Place.OVER)}{STROKE}{self._at(below, Place.OVER)}")
                return f"<mfrac>{self(above)}{self(below)}</mfrac>"
            case Power(Symbol(above=()) as base, exponent):
                return self._symbol(base, self.script(exponent))
            case Power(base, exponent):
                return f"<msup>{self._at(base, Place.RAISED)}{self.script(exponent)}</msup>"
            case Root(of):
                return f"<msqrt>{self(of)}</msqrt>"
            case Call(function, arguments):
                return _mrow(f"{self(function)}<mo>{APPLY}</mo>{self._list('(', arguments, ')')}")
            case Size(of):
                return _mrow(
                    f'<mo form="prefix" stretchy="true">|</mo>{self(of)}<mo form="postfix" stretchy="true">|</mo>'
                )
            case Transposed(Symbol(above=()) as of):
                return self._symbol(of, TRANSPOSED)
            case Transposed(of):
                return f"<msup>{self._at(of, Place.RAISED)}{TRANSPOSED}</msup>"
            case Delta(of):
                return _mrow(f'<mi mathvariant="normal">δ</mi>{self._at(of, Place.SIGNED)}')
            case Angled(of):
                return _mrow(_open("⟨", False) + self(of) + _close("⟩", False))
            case Derivative(of, by):
                upper, lower = (_mrow(f"{PARTIAL}{self._at(each, Place.SIGNED)}") for each in (of, by))
                return _mrow(upper + STROKE + lower) if self.inline else f"<mfrac>{upper}{lower}</mfrac>"
            case Total(of, index, first, last):
                return _mrow(self._sum_sign(index, first, last) + self._at(of, Place.SUMMED))
            case Column(entries):
                if self.inline:
                    return self._list("[", entries, "]", ";")
                # Fractions would touch those above and below.
                cells = "".join(f"<mtr><mtd>{RUNNING(entry)}</mtd></mtr>" for entry in entries)
                return _mrow(f"{_open('[')}<mtable>{cells}</mtable>{_close(']')}")
            case Row(entries):
                return self._list("[", entries, "]")
            case Cases(cases):
                cells = "".join(self._case(value, condition) for value, condition in cases)
                return _mrow(f'{_open("{")}<mtable columnalign="left left" class="cases">{cells}</mtable>')
            case Words(text):
                return _words(f" {text.strip()} ")
            case Product(factors):
                return _mrow(f"<mi>contract</mi><mo>{APPLY}</mo>{self._list('(', factors, ')')}")
            case Sum() | Relation() | Several():
                raise AssertionError("made of pieces")

    def row(self, row: tuple[Piece, ...]) -> str:
        """Pieces as they stand. Brackets that open and close in the row hold a group; the others stand alone."""
        stack: list[list[str]] = [[]]
        opened: list[str] = []
        for piece in row:
            for mark in piece.before:
                if mark.kind is Kind.OPEN:
                    stack.append([])
                    opened.append(mark.text)
                else:
                    stack[-1].append(self._mark(mark))
            stack[-1].append(self(piece.formula))
            for mark in piece.after:
                if mark.kind is Kind.COMMA:
                    stack[-1].append(self._mark(mark))
                    continue
                inner = "".join(stack.pop())
                if stack:
                    whole = _open(opened.pop(), mark.tall) + _mrow(inner) + _close(mark.text, mark.tall)
                    stack[-1].append(_mrow(whole))
                else:  # opened in a row before
                    stack = [[inner, _close(mark.text, False)]]
        found = "".join(stack[0])
        for bracket, inside in zip(opened, stack[1:], strict=True):  # closes in a row after
            found += _open(bracket, False) + "".join(inside)
        return found

    def _mark(self, mark: Mark) -> str:
        match mark.kind:
            case Kind.GAP:
                return '<mspace width="2em"/>'
            case Kind.RELATION if mark.text in RELATIONS:
                return self._sign(escape(RELATIONS[mark.text]))
            case Kind.RELATION:
                return _words(f" {mark.text} ")
            case Kind.BINARY:
                return self._sign("+" if mark.text == "+" else "−")
            case Kind.UNARY:
                return self._sign("−", form="prefix")
            case Kind.TIMES:
                return self._sign(*TIMES[Times(mark.text)])
            case Kind.STROKE:
                return STROKE
            case Kind.COMMA:
                return '<mo separator="true">,</mo>'
            case Kind.TOTAL:
                assert isinstance(mark.of, Total)
                return self._sum_sign(mark.of.index, mark.of.first, mark.of.last)
            case Kind.NAME:
                assert mark.of is not None
                return f"{self(mark.of)}<mo>{APPLY}</mo>"
            case Kind.OPEN | Kind.CLOSE:
                raise AssertionError("brackets hold groups")

    def _sign(self, sign: str, space: str = "", form: str = "infix") -> str:
        # At the start of a row a sign would be taken for that of what follows, were it not named.
        return f'<mo form="{form}"{TIGHT if self.tight else space}>{sign}</mo>'

    def _at(self, formula: Formula, place: Place) -> str:
        if needs_brackets(formula, place, inline=self.inline):
            tall = is_tall(formula) and not self.inline
            return _mrow(_open("(", tall) + self(formula) + _close(")", tall))
        return self(formula)

    def _list(self, opening: str, entries: tuple[Formula, ...], closing: str, comma: str = ",") -> str:
        tall = any(map(is_tall, entries)) and not self.inline
        inner = f'<mo separator="true">{comma}</mo>'.join(map(self, entries))
        return _mrow(_open(opening, tall) + inner + _close(closing, tall))

    def _symbol(self, symbol: Symbol, raised: str = "") -> str:
        """A symbol; ``raised`` stands above its subscript where it has no superscript of its own."""
        base = _base(symbol)
        if symbol.accent is not Accent.NONE:
            wide = len(sign(symbol.base)) > 1
            accent = (WIDE_ACCENTS if wide else ACCENTS)[symbol.accent]
            base = f'<mover accent="true">{base}<mo stretchy="{str(wide).lower()}">{accent}</mo></mover>'
        below, above = self._script(symbol.below), self._script(symbol.above) or raised
        if below and above:
            return f"<msubsup>{base}{below}{above}</msubsup>"
        if below:
            return f"<msub>{base}{below}</msub>"
        return f"<msup>{base}{above}</msup>" if above else base

    def _script(self, parts: tuple[Formula, ...]) -> str:
        inner = '<mo separator="true" lspace="0" rspace="0">,</mo>'.join(map(self.script, parts))
        return _mrow(inner) if len(parts) > 1 else inner

    def _sum_sign(self, index: Formula, first: Formula | None, last: Formula | None) -> str:
        small = self.script
        lower = small(index) if first is None else _mrow(small(index) + small._sign("=") + small(first))
        total = '<mo movablelimits="false">∑</mo>'
        return (
            f"<munder>{total}{lower}</munder>"
            if last is None
            else f"<munderover>{total}{lower}{small(last)}</munderover>"
        )

    def _case(self, value: Formula, condition: Formula | None) -> str:
        when = _words("otherwise") if condition is None else _mrow(_words("if ") + self(condition))
        between = '</mtd></mtr><mtr><mtd><mspace width="1em"/>' if self.stacked else "</mtd><mtd>"
        return f"<mtr><mtd>{self(value)}{between}{when}</mtd></mtr>"


RUNNING = MathMl(inline=True)


@dataclass(frozen=True)
class Setting:
    """How formulas in rows are printed and measured: as tall as they are, or ``inline``, as close as lines of text.

    ``stacked`` is for narrow pages.
    """

    inline: bool = False
    stacked: bool = False

    @property
    def row(self) -> Callable[[tuple[Piece, ...]], str]:
        """What prints a row."""
        return MathMl(self.inline, stacked=self.stacked).row

    @property
    def width(self) -> Width:
        """What measures a piece."""
        return Measure(self.inline, stacked=self.stacked).piece


DISPLAYS = Setting()
LINES = Setting(inline=True)


def inline_math(formula: Formula, room: float) -> str:
    """``formula`` within running text: in one element, or in several where a line of ``room`` em ends between them."""
    broken = rows(formula, room, running_width.piece, 0.0, inline=True)
    if not broken.broken:
        return f"<math{_smaller(running_width(formula), room)}>{RUNNING(formula)}</math>"
    first, *others = broken.rows
    return "".join(
        f"<math{_smaller(sum(map(running_width.piece, row)), room)}>{_mrow(RUNNING.row(row))}</math>"
        for row in ((*broken.head, *first), *others)
    )


def display_math(formulas: Sequence[Rows], room: float, setting: Setting = DISPLAYS, shown: str = "") -> str:
    """Formulas one below the other, each in its rows, as a display in ``room`` em.

    ``shown`` is a class that says on which pages.
    """
    lines = []
    for found in formulas:
        place = ' class="head"' if found.head else ""
        for index, row in enumerate(found.rows):
            head = setting.row(found.head) if index == 0 else ""
            carry = f'<mspace width="{INDENT}em"/>' if found.carries_on(index) else ""
            lines.append(f"<mtr><mtd{place}>{head}</mtd><mtd>{_mrow(carry + setting.row(row))}</mtd></mtr>")
    widest = max(widest_row(each, setting.width, INDENT) for each in formulas)
    style = f' class="{shown}"' if shown else ""
    table = (
        f'<mtable displaystyle="{str(not setting.inline).lower()}" columnalign="right left">{"".join(lines)}</mtable>'
    )
    return f'<math display="block"{style}{_smaller(widest, room)}>{table}</math>'


def _smaller(width: float, room: float) -> str:
    """The style of what cannot be broken any further and is still too wide."""
    return f' style="font-size: {max(room / width, LEAST):.0%}"' if width > room else ""


def _mrow(inner: str) -> str:
    return f"<mrow>{inner}</mrow>"


def _open(bracket: str, tall: bool = True) -> str:
    # What need not grow must not: the larger glyphs of a font have more room around them.
    return f'<mo form="prefix" stretchy="{str(tall).lower()}">{bracket}</mo>'


def _close(bracket: str, tall: bool = True) -> str:
    return f'<mo form="postfix" stretchy="{str(tall).lower()}">{bracket}</mo>'


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
