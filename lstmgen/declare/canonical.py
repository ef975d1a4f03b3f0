"""The one door between SymPy's trees and ours: flat sums and products in the order they were written.

What comes in is whatever a user's Python built under ``sympy.evaluate(False)``; what goes out has n-ary ``Add`` and
``Mul`` in declared order, only functions of :mod:`lstmgen.declare.functions`, and no number that SymPy would spell
differently from one release to the next. Nothing is simplified here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import sympy
from sympy import Add, Expr, Float, Integer, Mul, Number, NumberSymbol, Pow, Symbol, evaluate
from sympy.core.function import Function
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.declare.functions import DEFINITIONS, FROM_SYMPY, known_functions, sqrt, where
from lstmgen.declare.normalizations import Normalization
from lstmgen.declare.operations import Operation, ShapeMistake, Transpose, spell_any


def _flat(kind: type[Expr], arguments: list[Expr]) -> list[Expr]:
    return [inner for arg in arguments for inner in (arg.args if isinstance(arg, kind) else (arg,))]


def _number(number: Number) -> Expr:
    """A number that arrays can hold, in one spelling: releases of SymPy differ on whether 1.0 equals 1."""
    value = float(number)
    if not math.isfinite(value):
        raise ShapeMistake("LG117", f"{spell_any(number)} is no number that arrays can hold", "use a finite number")
    return Integer(int(value)) if isinstance(number, Float) and value.is_integer() else number


def _sum(terms: list[Expr]) -> Expr:
    """A sum without the zero that Python's ``sum`` begins with."""
    rest = [term for term in _flat(Add, terms) if term != 0]
    return Add(*rest, evaluate=False) if len(rest) > 1 else rest[0] if rest else Integer(0)


def _product(factors: list[Expr]) -> Expr:
    """A product with its numbers folded into one leading coefficient, so that ``2 * -x`` has one spelling."""
    flat = _flat(Mul, factors)
    numbers = [factor for factor in flat if isinstance(factor, Number)]
    rest = [factor for factor in flat if not isinstance(factor, Number)]
    coefficient = numbers[0] if numbers else Integer(1)
    if len(numbers) > 1:
        with evaluate(True):  # tracing runs under evaluate(False), where SymPy does not even multiply 2 by 3
            coefficient = _number(Mul(*numbers))
    if coefficient != 1 or not rest:
        rest.insert(0, coefficient)
    return rest[0] if len(rest) == 1 else Mul(*rest, evaluate=False)


_WRITTEN = {
    sympy.Mod: "the remainder %",
    sympy.floor: "floor, which // contains,",
    sympy.Derivative: "SymPy's Derivative",
}
"""How what has no derivative is written, where that is not the name of its class."""


def _unknown(expression: object) -> ShapeMistake:
    kind = type(expression)
    return ShapeMistake(
        "LG112",
        f"{_WRITTEN.get(kind, kind.__name__)} has no derivative in lstmgen",
        f"use one of {', '.join(known_functions())}; to add a function, give it a Definition in "
        "lstmgen/declare/functions.py and a form in each back end",
    )


def _no_value(given: object) -> ShapeMistake:
    results = tuple(given) if isinstance(given, tuple | list | sympy.Tuple) else ()
    if results and isinstance(results[0], Normalization):
        results[0].check_values()
        name = results[0].written
        return ShapeMistake(
            "LG117",
            f"{name} of several values gives one result for each",
            f"take the results apart: p, q = {name}(a, b)",
        )
    return ShapeMistake(
        "LG117",
        f"{spell_any(given)} stands where a value belongs",
        "leave out the quotes"
        if isinstance(given, str)
        else "use values and numbers; a comparison belongs in where(condition, a, b)",
    )


def canonical(expression: Expr) -> Expr:
    """``expression`` in the one form that the rest of lstmgen reads.

    Raises :class:`ShapeMistake` for a function or construct that has no derivative here (LG112), and for what is no
    value at all (LG117).
    """
    if not isinstance(expression, Expr):
        raise _no_value(expression)
    if expression is sympy.I:
        raise ShapeMistake("LG117", "complex numbers are no values", "use real numbers")
    if isinstance(expression, Symbol | NumberSymbol):
        return expression
    if isinstance(expression, Number):
        return _number(expression)
    if isinstance(expression, Operation):
        return expression.with_values([canonical(value) for value in expression.values])
    if isinstance(expression, Add):
        return _sum([canonical(arg) for arg in expression.args])
    if isinstance(expression, Mul):
        return _product([canonical(arg) for arg in expression.args])
    if isinstance(expression, Pow):
        return _power(*[canonical(arg) for arg in expression.args])
    if isinstance(expression, sympy.transpose | sympy.adjoint):  # what Expr.transpose and Expr.adjoint give
        return Transpose(canonical(expression.args[0]))
    kind = FROM_SYMPY.get(type(expression), type(expression))
    definition = DEFINITIONS.get(kind)
    if definition is None:
        raise _unknown(expression)
    arguments = [
        _condition(arg) if (kind, index) == (where, 0) else canonical(arg) for index, arg in enumerate(expression.args)
    ]
    if isinstance(expression, sympy.Max | sympy.Min):  # of any number of operands; ours take two, from the left
        return functools.reduce(kind, arguments)
    if len(arguments) != definition.arguments:
        raise ShapeMistake(
            "LG117",
            f"{definition.name} takes {definition.arguments} argument{'s' * (definition.arguments != 1)}, "
            f"{len(arguments)} given",
            "see lstmgen.api for what it means",
        )
    if definition.expansion is not None:
        return canonical(definition.expansion(*arguments))
    return kind(*arguments)


def _condition(expression: Expr) -> Expr:
    """A comparison, or several joined by ``&``, ``|`` and ``~``, with canonical sides."""
    if isinstance(expression, Relational):
        return expression.func(*[canonical(side) for side in expression.args], evaluate=False)
    if isinstance(expression, And | Or | Not):
        return expression.func(*[_condition(arg) for arg in expression.args], evaluate=False)
    raise ShapeMistake(
        "LG117",
        f"{spell_any(expression)} is no comparison",
        "compare with <, <=, >, >= or equal(a, b): Python's own == compares the symbols themselves",
    )


def _power(base: Expr, exponent: Expr) -> Expr:
    if not isinstance(exponent, Number):
        raise ShapeMistake(
            "LG112",
            "a power whose exponent is not a number has no derivative in lstmgen",
            "write a**b as exp(b * log(a)), for positive a",
        )
    if float(exponent) == 0.5:
        return sqrt(base)
    if float(exponent) == -0.5:
        return Pow(sqrt(base), Integer(-1), evaluate=False)
    if not isinstance(base, Number):
        return Pow(base, exponent, evaluate=False)
    with evaluate(True):
        power = Pow(base, exponent)
        is_real = power.is_real
    if not is_real:
        raise ShapeMistake("LG117", f"{base} to the power {exponent} is no real number", "use a finite number")
    return power


def rebuild(expression: Expr, leaf: Callable[[Expr], Expr] = lambda each: each) -> Expr:
    """``expression`` evaluated by SymPy from its leaves up, for the calculus; printing keeps the declared tree."""
    if not expression.args or isinstance(expression, Operation | Function):
        return leaf(expression)
    return expression.func(*[rebuild(arg, leaf) for arg in expression.args])
