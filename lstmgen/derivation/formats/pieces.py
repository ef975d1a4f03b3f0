"""A formula in a line: its signs, brackets and what stands between them, in order.

Formats print relations, sums and products from these pieces alone, so that signs and brackets are the same in all of
them, and break long formulas between pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto

from lstmgen.derivation.formats.brackets import Place, is_tall, needs_brackets
from lstmgen.derivation.formula import (
    Call,
    Formula,
    Fraction,
    Number,
    Product,
    Relation,
    Row,
    Several,
    Sum,
    Times,
    Total,
)


class Kind(Enum):
    """What a mark is."""

    GAP = auto()  # the space between relations beside each other
    RELATION = auto()
    BINARY = auto()  # plus and minus between terms
    UNARY = auto()  # minus before the first
    TIMES = auto()
    STROKE = auto()
    OPEN = auto()
    CLOSE = auto()
    COMMA = auto()
    TOTAL = auto()  # the sign of a sum over an index
    NAME = auto()  # of a function, before the bracket around its arguments


@dataclass(frozen=True)
class Mark:
    """A sign or a bracket. ``text`` is the relation's name, ``+``, ``-``, that of a :class:`Times`, or the bracket.

    ``of`` is the total whose sign it is, or the function that is named.
    """

    kind: Kind
    text: str = ""
    tall: bool = False
    of: Formula | None = None


@dataclass(frozen=True)
class Piece:
    """What is never torn apart: marks, a formula, and the brackets that close and the comma that stands after it.

    ``depth`` says how much it hurts to break before it: 0 before a relation, more within sums, products and brackets.
    """

    before: tuple[Mark, ...]
    formula: Formula
    after: tuple[Mark, ...] = ()
    depth: int = 0


def pieces(formula: Formula, inline: bool = False) -> tuple[Piece, ...]:
    """``formula`` as pieces. What is no relation, sum or product is one piece. ``inline``: fractions have a stroke."""
    return _pieces(formula, 0, inline)


def torn(piece: Piece, inline: bool) -> tuple[Piece, ...]:
    """What no row has room for, in smaller pieces: a fraction with a stroke, a total, a call, a row; else it alone."""
    match piece.formula:
        case Fraction(above, below):
            over, under = (_placed(each, Place.OVER, None, piece.depth + 3, inline) for each in (above, below))
            whole = [*over, *_led(Mark(Kind.STROKE), under, piece.depth + 2)]
        case Total(of):
            whole = [*_placed(of, Place.SUMMED, None, piece.depth + 1, inline)]
            whole[0] = replace(whole[0], before=(Mark(Kind.TOTAL, of=piece.formula), *whole[0].before))
        case Call(function, arguments):
            whole = _listed(arguments, "()", piece.depth + 3, inline)
            whole[0] = replace(whole[0], before=(Mark(Kind.NAME, of=function), *whole[0].before))
        case Row(entries) if entries:
            whole = _listed(entries, "[]", piece.depth + 3, inline)
        case _:
            return (piece,)
    whole[0] = replace(whole[0], before=(*piece.before, *whole[0].before), depth=piece.depth)
    whole[-1] = replace(whole[-1], after=(*whole[-1].after, *piece.after))
    return tuple(whole)


def _listed(entries: tuple[Formula, ...], brackets: str, depth: int, inline: bool) -> list[Piece]:
    """Entries between brackets. A comma stays with the entry before it."""
    tall = any(map(is_tall, entries)) and not inline
    found: list[Piece] = []
    for index, entry in enumerate(entries):
        inner = list(_pieces(entry, depth + 1, inline))
        inner[0] = replace(inner[0], depth=depth)
        if index < len(entries) - 1:
            inner[-1] = replace(inner[-1], after=(*inner[-1].after, Mark(Kind.COMMA)))
        found += inner
    return _enclosed(found, brackets, tall)


def _enclosed(inner: list[Piece], brackets: str, tall: bool) -> list[Piece]:
    inner[0] = replace(inner[0], before=(Mark(Kind.OPEN, brackets[0], tall), *inner[0].before))
    inner[-1] = replace(inner[-1], after=(*inner[-1].after, Mark(Kind.CLOSE, brackets[1], tall)))
    return inner


def is_linear(formula: Formula) -> bool:
    """Whether ``formula`` is made of more pieces than itself."""
    return isinstance(formula, Relation | Several | Sum) or (
        isinstance(formula, Product) and formula.times is not Times.CONTRACTION
    )


def _pieces(formula: Formula, depth: int, inline: bool) -> tuple[Piece, ...]:
    match formula:
        case Several(relations):
            found = list(_pieces(relations[0], depth + 1, inline))
            for relation in relations[1:]:
                found += _led(Mark(Kind.GAP), _pieces(relation, depth + 1, inline), depth)
            return tuple(found)
        case Relation(sides, signs):
            found = list(_placed(sides[0], Place.SIDE, None, depth + 1, inline))
            for name, side in zip(signs, sides[1:], strict=True):
                inner = _placed(side, Place.SIDE, None, depth + 1, inline)
                found += _led(Mark(Kind.RELATION, name), inner, depth)
            return tuple(found)
        case Sum(terms):
            return tuple(
                piece for index, (name, term) in enumerate(terms) for piece in _term(index, name, term, depth, inline)
            )
        case Product(factors, times) if times is not Times.CONTRACTION:
            found = list(_placed(factors[0], Place.FIRST_FACTOR, times, depth + 2, inline))
            for factor in factors[1:]:
                inner = _placed(factor, Place.FACTOR, times, depth + 2, inline)
                found += _led(Mark(Kind.TIMES, times), inner, depth + 1)
            return tuple(found)
        case Number(text) if text.startswith("-"):
            return (Piece((Mark(Kind.UNARY, "-"),), Number(text[1:]), (), depth),)
    return (Piece((), formula, (), depth),)


def _term(index: int, name: str, term: Formula, depth: int, inline: bool) -> tuple[Piece, ...]:
    place = Place.SUBTRACTED if name == "-" else Place.TERM if index else Place.FIRST_TERM
    inner = _placed(term, place, None, depth + 1, inline)
    if index:
        return _led(Mark(Kind.BINARY, name), inner, depth)
    return _led(Mark(Kind.UNARY, name), inner, depth) if name == "-" else inner


def _placed(formula: Formula, place: Place, times: Times | None, depth: int, inline: bool) -> tuple[Piece, ...]:
    """The pieces of a part of a formula, in brackets where its place asks for them."""
    if not needs_brackets(formula, place, times, inline):
        return _pieces(formula, depth, inline)
    tall = is_tall(formula) and not inline
    return tuple(_enclosed(list(_pieces(formula, depth + 3, inline)), "()", tall))


def _led(mark: Mark, inner: tuple[Piece, ...], depth: int) -> tuple[Piece, ...]:
    """``inner`` with a mark before it. A sign is never parted from what follows it."""
    return (replace(inner[0], before=(mark, *inner[0].before), depth=depth), *inner[1:])
