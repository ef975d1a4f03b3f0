"""How wide a displayed formula is, in em, estimated generously: no format asks a font."""

from __future__ import annotations

from lstmgen.derivation.formats.brackets import Place, needs_brackets
from lstmgen.derivation.formats.letters import sign
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
WIDE = frozenset("mwMWABCDGHKNOQRUVXYΓΔΘΛΠΣΦΨΩ")


def piece_width(piece: Piece) -> float:
    """The width of a piece with its marks."""
    return SCALE * (sum(map(_mark, (*piece.before, *piece.after))) + _width(piece.formula))


def width(formula: Formula) -> float:
    """The width of a formula."""
    return SCALE * _width(formula)


def _width(formula: Formula) -> float:
    if is_linear(formula):
        return sum(map(piece_width, pieces(formula))) / SCALE
    match formula:
        case Symbol():
            scripts = max(sum(_width(each) + 0.3 for each in part) for part in (formula.below, formula.above))
            return _letters(sign(formula.base)) + SMALL * scripts
        case Number(text) | Words(text):
            return _letters(text) + (0.5 if isinstance(formula, Words) else 0)
        case Fraction(above, below):
            return max(_width(above), _width(below)) + 0.3
        case Power(base, exponent):
            return _at(base, Place.RAISED) + SMALL * _width(exponent)
        case Root(of):
            return _width(of) + 1.0
        case Call(function, arguments):
            return _width(function) + _list(arguments)
        case Size(of):
            return _width(of) + 0.7
        case Transposed(of):
            return _at(of, Place.RAISED) + 0.6
        case Delta(of):
            return 0.5 + _at(of, Place.SIGNED)
        case Angled(of):
            return _width(of) + 0.8
        case Derivative(of, by):
            return max(_at(of, Place.SIGNED), _at(by, Place.SIGNED)) + 0.9
        case Total(of, index, first, last):
            lower = _width(index) + (0 if first is None else _width(first) + 0.8)
            upper = 0 if last is None else _width(last)
            return max(1.5, SMALL * lower, SMALL * upper) + 0.2 + _at(of, Place.SUMMED)
        case Column(entries):
            return max(map(_stroked, entries)) + 1.4
        case Row(entries):
            return _list(entries)
        case Cases(cases):
            values = max(_width(value) for value, _ in cases)
            return values + 2.5 + max(4.5 if condition is None else 1 + _width(condition) for _, condition in cases)
        case Product(factors):
            return 3.6 + _list(factors)
        case Sum() | Relation() | Several():
            raise AssertionError("made of pieces")


def _stroked(entry: Formula) -> float:
    """The width of an entry of a column, where a derivative is written with a stroke."""
    if isinstance(entry, Derivative):
        return _at(entry.of, Place.RAISED) + _at(entry.by, Place.RAISED) + 2.4
    return _width(entry)


def _mark(mark: Mark) -> float:
    if mark.kind is Kind.TIMES:
        return TIMES[Times(mark.text)]
    words = _letters(mark.text) if mark.kind is Kind.RELATION and len(mark.text) > 2 else 0.0
    return words + (TALL_BRACKET if mark.tall else MARKS[mark.kind])


def _at(formula: Formula, place: Place) -> float:
    return _width(formula) + 2 * TALL_BRACKET * needs_brackets(formula, place)


def _list(entries: tuple[Formula, ...]) -> float:
    return sum(_width(entry) + COMMA for entry in entries) + 2 * TALL_BRACKET


def _letters(text: str) -> float:
    return sum(0.92 if letter in WIDE else 0.3 if letter in "ilj.,-' " else 0.56 for letter in text)
