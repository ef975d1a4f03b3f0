"""Numbers in formulas: how a value is written, and formulas with numbers put in for their symbols."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np

from lstmgen.derivation.formula import (
    Delta,
    Derivative,
    Formula,
    Number,
    Power,
    Product,
    Relation,
    Row,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
)

Array = Any


def rounded(value: float, digits: int = 4) -> Formula:
    """A number to so many digits: ``0.6225``; ``2.5`` times a power of ten where it is very small or large.

    Zeros at its end are digits too, and left out only where they are all that follows: ``0.5`` is that very number.
    """
    if value == 0:
        return Number("0")  # without the sign that zeros have too
    if 1e-4 <= abs(value) < 1e5:
        return Number(f"{value:.{digits}g}" if is_short(value, digits) else _to_digits(value, digits))
    mantissa, exponent = f"{value:.{min(digits, 3) - 1}e}".split("e")
    return Product((Number(mantissa), Power(Number("10"), Number(str(int(exponent))))), Times.NUMBERS)


def is_short(value: float, digits: int = 4) -> bool:
    """Whether so many digits are all of a number."""
    return float(f"{value:.{digits}g}") == value


def _to_digits(value: float, digits: int) -> str:
    """So many digits, rounded as people do: a five at the end rounds away from zero."""
    exact = Decimal(value)
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP)
    if rounded.adjusted() > exact.adjusted():  # 9.9999 is 10.00
        rounded = rounded.quantize(Decimal(1).scaleb(rounded.adjusted() - digits + 1))
    return f"{rounded:f}"


def written(array: Array, digits: int = 4) -> Formula:
    """A value: a number, or the numbers of a vector in a row, of a matrix in a row of rows."""
    values = np.asarray(array)
    if values.size == 1:
        return rounded(float(values.reshape(())), digits)
    return Row(tuple(written(each, digits) for each in values))


def put_in(formula: Formula, values: Mapping[Formula, Formula], single: Collection[Formula] = ()) -> Formula:
    """``formula`` with values for the parts that have one.

    A number needs no transpose, and numbers side by side would read as one: their product gets a sign. The sum over an
    index in ``single``, which takes one value only, is what it is of.
    """
    if formula in values:
        return values[formula]
    made = _rebuilt(formula, lambda part: put_in(part, values, single))
    match made:
        case Total(of, index) if index in single:
            return of
        case Transposed(Number() as of):
            return of
        case Sum((("-", Number(text)),)) if not text.startswith("-"):
            return Number(f"-{text}")
        case Sum(terms):
            return Sum(tuple(map(_signed, terms)))
        case Product(factors) if made != formula and any(isinstance(each, Number) for each in factors):
            return replace(made, times=Times.NUMBERS)
    return made


def found_in(formula: Formula, wanted: Callable[[Formula], bool]) -> tuple[Formula, ...]:
    """The largest parts of ``formula`` that are ``wanted``, of those that :func:`put_in` can put values in for."""
    if wanted(formula):
        return (formula,)
    found: dict[Formula, None] = {}

    def look(part: Formula) -> Formula:
        found.update(dict.fromkeys(found_in(part, wanted)))
        return part

    _rebuilt(formula, look)
    return tuple(found)


def added(terms: Iterable[Formula]) -> Formula:
    """The sum of numbers, or of products of numbers, each with one sign."""
    return Sum(tuple(_signed(("+", each)) for each in terms))


def _signed(term: tuple[str, Formula]) -> tuple[str, Formula]:
    """A term whose number, or first number, brings its sign along, with one sign."""
    sign, formula = term
    turned = "-" if sign == "+" else "+"
    match formula:
        case Number(text) if text.startswith("-"):
            return turned, Number(text[1:])
        case Product((Number(text), *rest), Times.NUMBERS) if text.startswith("-"):
            return turned, replace(formula, factors=(Number(text[1:]), *rest))
    return term


def _rebuilt(formula: Formula, change: Callable[[Formula], Formula]) -> Formula:
    """``formula`` with every part changed that can have a value of its own."""
    if isinstance(formula, Derivative | Delta):  # the name of a gradient
        return formula
    if isinstance(formula, Symbol):  # what stands below is part of the name, but for the condition of an indicator
        below = tuple(change(each) if isinstance(each, Relation) else each for each in formula.below)
        return replace(formula, below=below)
    return replace(formula, **{each.name: _changed(getattr(formula, each.name), change) for each in fields(formula)})


def _changed(part: Any, change: Callable[[Formula], Formula]) -> Any:
    if isinstance(part, tuple):
        return tuple(_changed(each, change) for each in part)
    return change(part) if is_dataclass(part) and not isinstance(part, type) else part  # type: ignore[arg-type]
