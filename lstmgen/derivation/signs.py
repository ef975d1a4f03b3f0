"""The signs that a reader may not know, explained where a document first shows them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace

from lstmgen.derivation.document import Block, Derived, Equation, Inline, Paragraph, Section, Table
from lstmgen.derivation.formula import (
    Call,
    Cases,
    Formula,
    Fraction,
    Number,
    Product,
    Relation,
    Style,
    Sum,
    Symbol,
    Times,
    Total,
)
from lstmgen.derivation.naming import NOW

_U, _V = Symbol("u"), Symbol("v")


@dataclass(frozen=True)
class _Sign:
    """``shown`` tells whether a part of a formula, by itself, is this sign; ``said`` explains it."""

    shown: Callable[[Formula], bool]
    said: tuple[Inline, ...]


def _word(word: str) -> Symbol:
    return Symbol(word, Style.UPRIGHT)


def _called(name: Symbol) -> Callable[[Formula], bool]:
    """Whether a part is a call of ``name``, whatever stands below it."""
    return lambda part: (
        isinstance(part, Call) and isinstance(part.function, Symbol) and replace(part.function, below=()) == name
    )


def _is_along(function: Formula) -> bool:
    return isinstance(function, Symbol) and function.base in ("max", "mean") and bool(function.below)


def _multiplied(times: Times) -> _Sign:
    said = (Product((_U, _V), times), " is the product of ", _U, " and ", _V, " entry by entry.")
    return _Sign(lambda part: isinstance(part, Product) and part.times is times, said)


_SIGMA, _RELU, _SGN, _CONSTANT = Symbol("sigma"), _word("ReLU"), _word("sgn"), _word("constant")
_LOGISTIC = Fraction(Number("1"), Sum((("+", Number("1")), ("+", Call(_word("exp"), (Sum((("-", _V),)),))))))
_RECTIFIED = Call(_word("max"), (_V, Number("0")))
_ONE = Symbol("1", Style.UPRIGHT, bold=True)
_CONDITION = Relation((_U, _V), (">=",))
DIAGONAL, IDENTITY = _word("diag"), Symbol("I", bold=True)

SIGNS = (
    _Sign(_called(_SIGMA), (Relation((Call(_SIGMA, (_V,)), _LOGISTIC), ("=",)), ".")),
    _Sign(_called(_RELU), (Relation((Call(_RELU, (_V,)), _RECTIFIED), ("=",)), ".")),
    _multiplied(Times.ELEMENTWISE),
    _multiplied(Times.STAR),
    _Sign(
        lambda part: isinstance(part, Total) and part.index != NOW,
        ("A sum sign with a dimension below it sums over that dimension, up to the next + or −.",),
    ),
    _Sign(
        lambda part: isinstance(part, Call) and _is_along(part.function),
        ("max and mean with a dimension below them are taken along that dimension.",),
    ),
    _Sign(
        lambda part: isinstance(part, Product) and part.times is Times.OUTER,
        (
            Product((_U, _V), Times.OUTER),
            " has the product of every entry of ",
            _U,
            " with every entry of ",
            _V,
            ".",
        ),
    ),
    _Sign(
        lambda part: isinstance(part, Product) and part.times is Times.CONTRACTION,
        (
            Product((_U, _V), Times.CONTRACTION),
            " sums the products of entries over the dimensions that are not left in the result.",
        ),
    ),
    _Sign(
        lambda part: isinstance(part, Symbol) and replace(part, below=()) == _ONE,
        (
            replace(_ONE, below=(_CONDITION,)),
            " is 1 where ",
            _CONDITION,
            ", and 0 elsewhere.",
        ),
    ),
    _Sign(
        _called(DIAGONAL),
        (Call(DIAGONAL, (_V,)), " is the matrix with ", _V, " on its diagonal, and 0 elsewhere."),
    ),
    _Sign(lambda part: part == IDENTITY, (IDENTITY, " is the identity matrix.")),
    _Sign(
        lambda part: isinstance(part, Relation) and not {"and", "or"}.isdisjoint(part.signs),
        ("∧ is read as “and”, ∨ as “or”.",),
    ),
    _Sign(
        lambda part: isinstance(part, Cases),
        ("What stands in a condition decides, and no gradient goes back through it.",),
    ),
    _Sign(
        _called(_word("argmax")),
        ("argmax is the place of the largest entry, of equal ones the first.",),
    ),
    _Sign(
        _called(_SGN),
        (Call(_SGN, (_V,)), " is the sign of ", _V, ": 1, −1, or 0 where ", _V, " is 0."),
    ),
    _Sign(
        _called(_CONSTANT),
        (Call(_CONSTANT, (_V,)), " has the value of ", _V, ", but no gradient goes back through it."),
    ),
    _Sign(
        _called(_word("flatten")),
        (Call(_word("flatten"), (_V,)), " has the entries of ", _V, " in one dimension, row after row."),
    ),
    _Sign(
        _called(_word("unflatten")),
        (Call(_word("unflatten"), (_V,)), " undoes that: it has the entries of ", _V, " in their rows again."),
    ),
)
"""In the order in which they are explained."""


def with_signs(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Sections that explain each sign where it first stands: before what is derived there, or at their end."""
    known: set[_Sign] = set()
    found = []
    for section in sections:
        parts = {part for formula in _formulas(section.blocks) for part in _parts(formula)}
        new = [sign for sign in SIGNS if sign not in known and any(map(sign.shown, parts))]
        known |= set(new)
        found.append(replace(section, blocks=_explained(section.blocks, new)) if new else section)
    return tuple(found)


def _explained(blocks: tuple[Block, ...], signs: Sequence[_Sign]) -> tuple[Block, ...]:
    said = Paragraph(tuple(piece for sign in signs for piece in (" ", *sign.said))[1:])
    at = next((k for k, block in enumerate(blocks) if isinstance(block, Derived)), len(blocks))
    return (*blocks[:at], said, *blocks[at:])


def _formulas(blocks: Sequence[Block]) -> Iterator[Formula]:
    for block in blocks:
        match block:
            case Equation():
                yield block.formula
            case Derived():
                yield from _formulas((*block.steps, block.result))
            case Paragraph(pieces):
                yield from (piece for piece in pieces if not isinstance(piece, str))
            case Table():
                yield from (piece for row in block.rows for cell in row for piece in cell if not isinstance(piece, str))


def _parts(part: object) -> Iterator[Formula]:
    """A formula and everything within it."""
    if isinstance(part, tuple):
        for each in part:
            yield from _parts(each)
    elif is_dataclass(part) and not isinstance(part, type):
        yield part  # type: ignore[misc]
        for each in fields(part):
            yield from _parts(getattr(part, each.name))
