"""Numbers in formulas: how a value is written, and formulas with numbers put in for their symbols."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from lstmgen.derivation.formula import Formula, Number, Power, Product, Row, Sum, Times, Transposed

Array = Any


def rounded(value: float, digits: int = 4) -> Formula:
    """A number to so many digits: ``0.6225``; ``2.5`` times a power of ten where it is very small or large."""
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        return Number(f"{value:.{digits}g}")
    mantissa, exponent = f"{value:.{min(digits, 3) - 1}e}".split("e")
    return Product((Number(mantissa), Power(Number("10"), Number(str(int(exponent))))), Times.NUMBERS)


def written(array: Array, digits: int = 4) -> Formula:
    """A value: a number, or the numbers of a vector in a row, of a matrix in a row of rows."""
    values = np.asarray(array)
    if values.size == 1:
        return rounded(float(values.reshape(())), digits)
    return Row(tuple(written(each, digits) for each in values))


def put_in(formula: Formula, values: Mapping[Formula, Formula]) -> Formula:
    """``formula`` with values for the symbols that have one.

    A number needs no transpose, and numbers side by side would read as one: their product gets a sign.
    """
    if formula in values:
        return values[formula]
    changed = {each.name: _each(getattr(formula, each.name), values) for each in fields(formula)}
    made = replace(formula, **changed)
    if isinstance(made, Transposed) and isinstance(made.of, Number):
        return made.of
    if isinstance(made, Product) and made != formula and any(isinstance(each, Number) for each in made.factors):
        return replace(made, times=Times.NUMBERS)
    return Sum(tuple(map(_signed, made.terms))) if isinstance(made, Sum) else made


def _signed(term: tuple[str, Formula]) -> tuple[str, Formula]:
    """A term whose number brings its sign along, with one sign."""
    sign, formula = term
    if isinstance(formula, Number) and formula.text.startswith("-"):
        return ("-" if sign == "+" else "+", Number(formula.text[1:]))
    return term


def _each(part: Any, values: Mapping[Formula, Formula]) -> Any:
    if isinstance(part, tuple):
        return tuple(_each(each, values) for each in part)
    return put_in(part, values) if is_dataclass(part) and not isinstance(part, type) else part  # type: ignore[arg-type]
