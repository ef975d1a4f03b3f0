"""What stands in nodes: the signs of functions, and numbers and parameters as they act on what comes in.

What comes in stands on the open side of a sign that begins or ends in ``×``, ``÷``, ``+`` or ``−``: ``1−`` is one minus
it, ``×s`` is it times s. Where a function is not of that alone, dots stand for what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sympy import Expr

from lstmgen.declare import functions
from lstmgen.derivation.formula import Call, Formula, Number, Product, Relation, Row, Style, Sum, Symbol, Times, Words
from lstmgen.derivation.translate import function_symbol

MINUS, OVER, TIMES, THEN, ELSE = "−", "÷", "×", "then", "else"
"""Marks of edges: how a value enters."""
DOT = Symbol("·", Style.UPRIGHT)
_SPELLED: dict[type[Expr], Formula] = {
    functions.absolute: Symbol("| |", Style.UPRIGHT),
    functions.sqrt: Symbol("√", Style.UPRIGHT),
    functions.logsigmoid: Product((Symbol("log", Style.UPRIGHT), function_symbol(functions.sigmoid)), Times.SCALAR),
}


def function(kind: type[Expr]) -> Formula:
    """The sign of an elementwise function, as equations have it."""
    return _SPELLED.get(kind) or function_symbol(kind)


def stands_alone(kind: type[Expr]) -> bool:
    """Whether numbers can be written beside a function's sign."""
    return kind not in _SPELLED


def scaled(by: Formula, sign: Formula) -> Formula:
    """A function times a number."""
    if by == Number("-1"):
        return Sum((("-", sign),))
    return Product((by, sign), Times.SCALAR)


def factor(by: Formula, over: bool = False) -> Formula:
    """What comes in times ``by``, or divided by it."""
    return Product((Symbol(OVER if over else TIMES, Style.UPRIGHT), by), Times.MATRIX)


def shift(by: Formula, minus: bool) -> Formula:
    """What comes in added to ``by``, or subtracted from it."""
    return Product((by, Symbol(MINUS if minus else "+", Style.UPRIGHT)), Times.MATRIX)


def acting(first: Formula | None, addends: Sequence[tuple[str, Formula]]) -> Formula:
    """What comes in times something, if anything, and with more added."""
    if first is not None:
        return Sum((("+", first), *addends)) if addends else first
    pieces = [(Symbol(MINUS if sign == "-" else "+", Style.UPRIGHT), each) for sign, each in addends]
    return Product(tuple(piece for pair in pieces for piece in pair), Times.MATRIX)


def side_by_side(parameters: Sequence[Formula]) -> Formula:
    """The parameters of one map."""
    return parameters[0] if len(parameters) == 1 else Row(tuple(parameters))


def call(sign: Formula, arguments: Sequence[Formula | None]) -> Formula:
    """A function of what comes in, at the places of None, and of what is written."""
    if all(each is None for each in arguments):
        return sign
    return Call(sign, tuple(DOT if each is None else each for each in arguments))


def choice(condition: Formula, then: Formula | None, otherwise: Formula | None) -> Formula:
    """A condition, and those of its two values that do not come in."""
    pieces: list[Formula] = [Words("if"), condition]
    if isinstance(condition, Relation):  # in a product it would have brackets
        first, *others = condition.sides
        asked = replace(condition, sides=(Product((Words("if"), first), Times.MATRIX), *others))
        if then is None and otherwise is None:
            return asked
        pieces = [asked]
    for word, each in ((THEN, then), (ELSE, otherwise)):
        pieces += [Words(word), each] if each is not None else []
    return Product(tuple(pieces), Times.MATRIX)
