"""How wide a formula is, in em, estimated generously: no format asks a font."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lstmgen.derivation.formats.brackets import Place, is_tall, needs_brackets
from lstmgen.derivation.formats.pieces import Kind, Mark, Piece, is_linear, pieces
from lstmgen.derivation.formula import (
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
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
    Words,
)
from lstmgen.derivation.letters import sign

SCALE = 0.87  # the letters below are as wide as in the widest of usual fonts
SMALL = 0.72  # how much smaller subscripts are
BRACKET = 0.45
TALL_BRACKET = 0.65
COMMA = 0.5
MARKS = {
    Kind.GAP: 2.3,
    Kind.STROKE: 0.6,
    Kind.RELATION: 1.4,
    Kind.BINARY: 1.3,
    Kind.UNARY: 0.8,
    Kind.OPEN: BRACKET,
    Kind.CLOSE: BRACKET,
    Kind.COMMA: COMMA,
}
TIMES = {
    Times.ELEMENTWISE: 1.3,
    Times.STAR: 1.0,
    Times.AT: 1.3,
    Times.OUTER: 1.3,
    Times.NUMBERS: 0.8,
    Times.MATRIX: 0.25,
    Times.SCALAR: 0.25,
    Times.CONTRACTION: COMMA,
}
TIGHT = {Kind.RELATION: 0.9, Kind.BINARY: 0.85, Kind.UNARY: 0.8}  # in subscripts and exponents
WIDE = frozenset("mwMWABCDGHKNOQRUVXYΓΔΘΛΠΣΦΨΩ")


@dataclass(frozen=True)
class Measure:
    """Estimates widths of formulas that are displayed or, ``inline``, stand in running text.

    ``tight`` is for what has no space around its signs, as subscripts and exponents, ``stacked`` for cases that have
    their conditions below their values.
    """

    inline: bool = False
    tight: bool = False
    stacked: bool = False

    @property
    def script(self) -> Measure:
        """What measures subscripts and exponents, before they are made smaller."""
        return replace(self, tight=True)

    def piece(self, piece: Piece) -> float:
        """The width of a piece with its marks."""
        marks = sum(map(self._mark, (*piece.before, *piece.after)))
        return SCALE * (marks + self._width(piece.formula))

    def __call__(self, formula: Formula) -> float:
        """The width of a formula."""
        return SCALE * self._width(formula)

    def _width(self, formula: Formula) -> float:
        if is_linear(formula):
            return sum(map(self.piece, pieces(formula, self.inline))) / SCALE
        match formula:
            case Symbol():
                return self._symbol(formula)
            case Number(text):
                return _letters(text.removeprefix("-")) + MARKS[Kind.UNARY] * text.startswith("-")
            case Words(text):
                return _letters(text) + 0.5
            case Fraction(above, below):
                if self.inline:
                    return self._at(above, Place.OVER) + MARKS[Kind.STROKE] + self._at(below, Place.OVER)
                return max(self._width(above), self._width(below)) + 0.3
            case Power(Symbol(above=()) as base, exponent):
                return self._symbol(base, self.script._width(exponent))
            case Power(base, exponent):
                return self._at(base, Place.RAISED) + SMALL * self.script._width(exponent)
            case Root(of):
                return self._width(of) + 1.0
            case Call(function, arguments):
                return self._width(function) + self._list(arguments)
            case Size(of):
                return self._width(of) + 0.7
            case Transposed(Symbol(above=()) as of):
                return self._symbol(of, 0.8)
            case Transposed(of):
                return self._at(of, Place.RAISED) + 0.6
            case Delta(of):
                return 0.5 + self._at(of, Place.SIGNED)
            case Angled(of):
                return self._width(of) + 0.8
            case Derivative(of, by):
                parts = [self._at(each, Place.SIGNED) for each in (of, by)]
                return sum(parts) + 1.4 + MARKS[Kind.STROKE] if self.inline else max(parts) + 0.9
            case Total(of):
                return self._sum_sign(formula) + self._at(of, Place.SUMMED)
            case Column(entries):
                return self._list(entries) if self.inline else max(map(running_width, entries)) / SCALE + 1.4
            case Row(entries):
                return self._list(entries)
            case Cases(cases):
                values = max(self._width(value) for value, _ in cases)
                conditions = max(4.5 if condition is None else 1 + self._width(condition) for _, condition in cases)
                return max(values, 1 + conditions) + 1.5 if self.stacked else values + 2.6 + conditions
            case Product(factors):
                return 3.6 + self._list(factors)
            case Sum() | Relation() | Several():
                raise AssertionError("made of pieces")

    def _symbol(self, symbol: Symbol, raised: float = 0.0) -> float:
        """A symbol; what is ``raised`` stands above its subscript."""
        below, above = (sum(self.script._width(each) + 0.3 for each in part) for part in (symbol.below, symbol.above))
        return _letters(sign(symbol.base)) + SMALL * max(below, above, raised)

    def _mark(self, mark: Mark) -> float:
        if mark.kind is Kind.TIMES:
            return TIMES[Times(mark.text)]
        if isinstance(mark.of, Total):
            return self._sum_sign(mark.of)
        if mark.of is not None:
            return self._width(mark.of)
        words = _letters(mark.text) if mark.kind is Kind.RELATION and len(mark.text) > 2 else 0.0
        if self.tight:
            return words + TIGHT.get(mark.kind, MARKS[mark.kind])
        return words + (TALL_BRACKET if mark.tall else MARKS[mark.kind])

    def _sum_sign(self, total: Total) -> float:
        lower = self._width(total.index) + (0 if total.first is None else self._width(total.first) + 0.8)
        upper = 0 if total.last is None else self._width(total.last)
        return max(1.5, SMALL * lower, SMALL * upper) + 0.5

    def _at(self, formula: Formula, place: Place) -> float:
        return self._width(formula) + 2 * TALL_BRACKET * needs_brackets(formula, place, inline=self.inline)

    def _list(self, entries: tuple[Formula, ...]) -> float:
        bracket = TALL_BRACKET if any(map(is_tall, entries)) and not self.inline else BRACKET
        return sum(self._width(entry) + COMMA for entry in entries) + 2 * bracket


def _letters(text: str) -> float:
    return sum(0.92 if letter in WIDE else 0.3 if letter in "ilj.,-' " else 0.56 for letter in text)


piece_width = Measure().piece
"""The width of a piece of a displayed formula."""

running_width = Measure(inline=True)
"""The width of a formula within running text."""
