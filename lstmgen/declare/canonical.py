"""The one door between SymPy's trees and ours: flat sums and products in the order they were written.

What comes in is whatever a user's Python built under ``sympy.evaluate(False)``; what goes out has n-ary ``Add`` and
``Mul`` in declared order, only functions of :mod:`lstmgen.declare.functions`, and no number that SymPy would spell
differently from one release to the next. Nothing is simplified here.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Add, Expr, Integer, Mul, Number, NumberSymbol, Pow, Rational, Symbol
from sympy.core.function import AppliedUndef, Function
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Boolean, Not, Or

from lstmgen.declare.functions import DEFINITIONS, FROM_SYMPY, known_functions, sqrt
from lstmgen.declare.operations import Operation, ShapeMistake


def _flat(kind: type[Expr], arguments: list[Expr]) -> list[Expr]:
    return [inner for arg in arguments for inner in (arg.args if isinstance(arg, kind) else (arg,))]


def _product(factors: list[Expr]) -> Expr:
    """A product with its numbers folded into one leading coefficient, so that ``2 * -x`` has one spelling."""
    coefficient: Expr = Integer(1)
    rest: list[Expr] = []
    for factor in _flat(Mul, factors):
        if isinstance(factor, Number):
            coefficient = Mul(coefficient, factor, evaluate=True)  # tracing runs under evaluate(False)
        else:
            rest.append(factor)
    if coefficient != 1 or not rest:
        rest.insert(0, coefficient)
    return rest[0] if len(rest) == 1 else Mul(*rest, evaluate=False)


def _unknown(expression: object) -> ShapeMistake:
    name = type(expression).__name__
    return ShapeMistake(
        "LG112",
        f"{name} has no derivative in lstmgen",
        f"use one of {', '.join(known_functions())}; to add a function, give it a Definition in "
        "lstmgen/declare/functions.py and a form in each back end",
    )


def canonical(expression: Expr) -> Expr:
    """``expression`` in the one form that the rest of lstmgen reads.

    Raises :class:`ShapeMistake` (LG112) for a function or construct that has no derivative here.
    """
    if isinstance(expression, Symbol | Number | NumberSymbol | Boolean) and not expression.args:
        return expression
    if isinstance(expression, Operation):
        return expression.with_values([canonical(value) for value in expression.values])
    arguments = [canonical(arg) for arg in expression.args]
    if isinstance(expression, Add):
        return Add(*_flat(Add, arguments), evaluate=False)
    if isinstance(expression, Mul):
        return _product(arguments)
    if isinstance(expression, Pow):
        return _power(arguments[0], arguments[1])
    if isinstance(expression, Relational | And | Or | Not):
        return expression.func(*arguments, evaluate=False)
    kind: type[Expr] = type(expression)
    if kind in FROM_SYMPY:
        return _fold(FROM_SYMPY[kind], arguments)
    definition = DEFINITIONS.get(kind)
    if definition is None or isinstance(expression, AppliedUndef):
        raise _unknown(expression)
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


def _fold(function: type[Expr], arguments: list[Expr]) -> Expr:
    """SymPy's Max and Min take any number of operands; ours take two, from the left."""
    if DEFINITIONS[function].arguments == 2:
        folded = arguments[0]
        for arg in arguments[1:]:
            folded = function(folded, arg)
        return folded
    return function(*arguments)


def _power(base: Expr, exponent: Expr) -> Expr:
    if exponent == Rational(1, 2):
        return sqrt(base)
    if exponent == Rational(-1, 2):
        return Pow(sqrt(base), Integer(-1), evaluate=False)
    if not isinstance(exponent, Number):
        raise ShapeMistake(
            "LG112", "a power whose exponent is not a number has no derivative in lstmgen", "write exp(b * log(a))"
        )
    if isinstance(base, Number):
        return Pow(base, exponent, evaluate=True)
    return Pow(base, exponent, evaluate=False)


def rebuild(expression: Expr, leaf: Callable[[Expr], Expr] = lambda each: each) -> Expr:
    """``expression`` evaluated by SymPy from its leaves up, as the calculus needs it; printing keeps the declared tree."""
    if not expression.args or isinstance(expression, Operation | Function):
        return leaf(expression)
    return expression.func(*[rebuild(arg, leaf) for arg in expression.args])
