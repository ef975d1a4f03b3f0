"""Where brackets stand: one decision for every format."""

from __future__ import annotations

from enum import Enum, auto

from lstmgen.derivation.formula import (
    Angled,
    Binding,
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
    binds,
)


class Place(Enum):
    """Where a formula stands within another."""

    ALONE = auto()  # brackets of its own, a root, a fraction drawn with a bar: nothing can be misread
    SIDE = auto()  # of a relation
    FIRST_TERM = auto()
    TERM = auto()  # after a plus
    SUBTRACTED = auto()
    FIRST_FACTOR = auto()
    FACTOR = auto()
    RAISED = auto()  # what a power or a transpose is of
    SIGNED = auto()  # after the sign of a derivative or a small delta
    SUMMED = auto()  # what stands after the sign of a total
    OVER = auto()  # of a fraction written in a line: above or below the stroke


def needs_brackets(formula: Formula, place: Place, times: Times | None = None, inline: bool = False) -> bool:
    """Whether ``formula`` needs brackets at ``place``; ``times`` is that of the product it is a factor of.

    ``inline`` is for formats that write fractions in a line, with a stroke.
    """
    binding = binds(formula)
    stroke = inline and isinstance(formula, Fraction)
    if isinstance(formula, Words):
        return False
    match place:
        case Place.ALONE:
            return False
        case Place.SIDE:
            return isinstance(formula, Relation | Several)
        case Place.FIRST_TERM:
            return binding == Binding.RELATION or isinstance(formula, Cases)
        case Place.TERM:
            return binding == Binding.RELATION or isinstance(formula, Cases) or starts_with_minus(formula)
        case Place.SUBTRACTED:
            return (binding <= Binding.SUM and not isinstance(formula, Total)) or starts_with_minus(formula)
        case Place.FIRST_FACTOR | Place.FACTOR:
            if isinstance(formula, Number):
                return place is Place.FACTOR and starts_with_minus(formula)
            if isinstance(formula, Product):
                return not _joins(formula, place, times)
            return binding <= Binding.SUM or stroke
        case Place.RAISED:
            return _is_composed(formula) or _is_raised(formula)
        case Place.SIGNED:
            return _is_composed(formula)
        case Place.SUMMED:
            return binding <= Binding.SUM and not isinstance(formula, Total | Number)
        case Place.OVER:
            return binding < Binding.POWER or isinstance(formula, Fraction | Derivative)


def _joins(inner: Product, place: Place, outer: Times | None) -> bool:
    """Whether a product within a product reads the same without brackets."""
    if Times.CONTRACTION in (inner.times, outer):
        return True  # written as a call, which has brackets of its own
    if inner.times is outer:
        return not starts_with_minus(inner) or place is Place.FIRST_FACTOR
    return inner.times is Times.SCALAR and place is Place.FIRST_FACTOR


def _is_composed(formula: Formula) -> bool:
    return binds(formula) < Binding.ATOM or isinstance(formula, Fraction | Derivative | Delta)


def _is_raised(formula: Formula) -> bool:
    return isinstance(formula, Symbol) and bool(formula.above)


def starts_with_minus(formula: Formula) -> bool:
    """Whether the first sign printed of ``formula`` is a minus."""
    match formula:
        case Number(text):
            return text.startswith("-")
        case Sum(terms):
            return terms[0][0] == "-" or starts_with_minus(terms[0][1])
        case Product(factors, times):
            return times is not Times.CONTRACTION and starts_with_minus(factors[0])
    return False


def is_tall(formula: Formula) -> bool:
    """Whether ``formula`` rises far above its line when it is displayed, so that brackets around it must be larger."""
    match formula:
        case Fraction() | Derivative() | Cases() | Column() | Total():
            return True
        case Sum(terms):
            return any(is_tall(term) for _, term in terms)
        case Product(factors):
            return any(is_tall(factor) for factor in factors)
        case Relation(sides):
            return any(is_tall(side) for side in sides)
        case Several(relations):
            return any(is_tall(relation) for relation in relations)
        case Call(function, arguments):
            return any(is_tall(each) for each in (function, *arguments))
        case Row(entries):
            return any(is_tall(entry) for entry in entries)
        case Power(of) | Root(of) | Size(of) | Transposed(of) | Delta(of) | Angled(of):
            return is_tall(of)
        case Symbol() | Number() | Words():
            return False
