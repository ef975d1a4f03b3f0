"""Formulas as a tree that no format and no notation is in: what a notation makes of expressions, and formats print.

A formula says what stands where (a fraction, a product, a symbol with a subscript), never how a format spells it. Every
node is frozen and compares by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Style(StrEnum):
    """How the letters of a symbol are set."""

    ITALIC = "italic"  # a quantity: one letter, or a Greek letter by its name
    UPRIGHT = "upright"  # a word: tanh, remember, T for a transpose


class Accent(StrEnum):
    """What stands over a symbol."""

    NONE = ""
    TILDE = "tilde"
    BAR = "bar"
    HAT = "hat"


class Times(StrEnum):
    """How a product is written."""

    ELEMENTWISE = "elementwise"  # the sign of an elementwise product, such as a dot in a circle
    STAR = "star"  # the same, as programs write it: an asterisk
    MATRIX = "matrix"  # side by side
    AT = "at"  # the same, as programs write it: the sign @
    SCALAR = "scalar"  # side by side with a thin space: a number and a quantity
    OUTER = "outer"  # the sign of an outer product
    NUMBERS = "numbers"  # the sign between numbers, such as a dot on the line: side by side they would read as one
    CONTRACTION = "contraction"  # a general sum over shared indices, written as a call would be


@dataclass(frozen=True)
class Symbol:
    """A quantity's name. ``base`` is one letter, a Greek letter's English name (``Gamma``, ``delta``), or a word.

    ``above`` and ``below`` are what stands raised and lowered at its right: a gate's letter, a time.
    """

    base: str
    style: Style = Style.ITALIC
    accent: Accent = Accent.NONE
    below: tuple[Formula, ...] = ()
    above: tuple[Formula, ...] = ()
    bold: bool = False


@dataclass(frozen=True)
class Number:
    """A number as it is to be printed, such as ``0.5`` or ``-1``."""

    text: str


@dataclass(frozen=True)
class Fraction:
    """One formula over another."""

    above: Formula
    below: Formula


@dataclass(frozen=True)
class Sum:
    """Terms with their signs, ``+`` or ``-``; that of the first is printed only if it is ``-``."""

    terms: tuple[tuple[str, Formula], ...]


@dataclass(frozen=True)
class Product:
    """Factors in order, all multiplied in one way."""

    factors: tuple[Formula, ...]
    times: Times


@dataclass(frozen=True)
class Power:
    """A formula to a power."""

    base: Formula
    exponent: Formula


@dataclass(frozen=True)
class Root:
    """The square root."""

    of: Formula


@dataclass(frozen=True)
class Call:
    """A function of arguments: ``sigma`` and ``tanh`` are symbols as well."""

    function: Formula
    arguments: tuple[Formula, ...]


@dataclass(frozen=True)
class Size:
    """A formula between bars: an absolute value."""

    of: Formula


@dataclass(frozen=True)
class Transposed:
    """The transpose."""

    of: Formula


@dataclass(frozen=True)
class Delta:
    """A quantity with a small delta before it: how some write the derivative of the loss by it."""

    of: Formula


@dataclass(frozen=True)
class Angled:
    """A formula in angle brackets: how some raise a time."""

    of: Formula


@dataclass(frozen=True)
class Derivative:
    """The partial derivative of one quantity by another, as a fraction with its signs."""

    of: Formula
    by: Formula


@dataclass(frozen=True)
class Total:
    """The sum of a formula over an index: all steps (``t``), the units of a row.

    ``first`` and ``last`` are the bounds, None where they are understood.
    """

    of: Formula
    index: Formula
    first: Formula | None = None
    last: Formula | None = None


@dataclass(frozen=True)
class Column:
    """Vectors, or matrices, one below the other in brackets: ``[h; x]``."""

    entries: tuple[Formula, ...]


@dataclass(frozen=True)
class Row:
    """Matrices side by side in brackets: ``[U | W | b]``; or the vector ``[h, x]`` of those who write it in a line."""

    entries: tuple[Formula, ...]


@dataclass(frozen=True)
class Cases:
    """``where``: values with their conditions, the last one otherwise."""

    cases: tuple[tuple[Formula, Formula | None], ...]


@dataclass(frozen=True)
class Words:
    """Words within a formula, set upright with spaces around them: ``where``, ``and``."""

    text: str


@dataclass(frozen=True)
class Relation:
    """Sides with signs between them: ``=``, ``!=``, ``<``, ``>``, ``<=``, ``>=``, ``in``, ``approx``.

    Conditions are joined by ``and`` and ``or``; one within another has brackets.
    A format may break a line at any sign but the first of a chain.
    """

    sides: tuple[Formula, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True)
class Several:
    """Relations of one kind beside each other. A format that lacks the room sets fewer in a row."""

    relations: tuple[Relation, ...]


Formula = (
    Symbol
    | Number
    | Fraction
    | Sum
    | Product
    | Power
    | Root
    | Call
    | Size
    | Transposed
    | Delta
    | Angled
    | Derivative
    | Total
    | Column
    | Row
    | Cases
    | Words
    | Relation
    | Several
)
"""Brackets are not in the tree: a format sets them where precedence asks for them (:func:`binds`)."""


class Binding(StrEnum):
    """How tightly a formula holds together, loosest first."""

    RELATION = "0 relation"
    SUM = "1 sum"
    PRODUCT = "2 product"
    POWER = "3 power"
    ATOM = "4 atom"


def binds(formula: Formula) -> Binding:
    """How tightly a formula holds together; what stands in a tighter place needs brackets."""
    match formula:
        case Relation() | Several() | Words():
            return Binding.RELATION
        case Sum() | Total() | Cases():
            return Binding.SUM
        case Product():
            return Binding.PRODUCT
        case Number(text) if text.startswith("-"):
            return Binding.SUM
        case Power() | Transposed():
            return Binding.POWER
    return Binding.ATOM
