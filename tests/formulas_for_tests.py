"""The least notation that tests of parts of a document need: names as declared, with the step lowered."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sympy import Add, Basic, Expr, Mul, Pow

from lstmgen.calculus.operations import Contract
from lstmgen.calculus.text import Text, split_sign
from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.formula import Call, Formula, Number, Power, Product, Style, Sum, Symbol, Times, Words

BEFORE = Sum((("+", Symbol("t")), ("-", Number("1"))))


def name_of(expression: Expr) -> Formula:
    """The name of a value; words for anything else."""
    if not isinstance(expression, Value):
        return Words(Text()(expression))
    if expression.role == Role.PARAMETER:
        return Symbol(expression.name, Style.UPRIGHT)
    name = expression.name.removesuffix("_prev")
    style = Style.ITALIC if len(name) == 1 else Style.UPRIGHT
    return Symbol(name, style, below=(BEFORE if name != expression.name else Symbol("t"),))


def translator(inline: Mapping[Value, Expr]) -> Callable[[Expr], Formula]:
    """Formulas of expressions, with the values in ``inline`` written in place."""

    def translate(expression: Basic) -> Formula:
        match expression:
            case Value():
                return translate(inline[expression]) if expression in inline else name_of(expression)
            case Add():
                return Sum(tuple((sign, translate(body)) for sign, body in map(split_sign, expression.args)))
            case Mul():
                return Product(tuple(map(translate, expression.args)), Times.ELEMENTWISE)
            case Pow():
                return Power(*map(translate, expression.args))
            case Contract():
                return Product(tuple(map(translate, expression.values)), Times.MATRIX)
            case Operation():
                arguments = expression.values
            case _ if not expression.args:
                return Number(Text()(expression))
            case _:
                arguments = expression.args
        return Call(Symbol(type(expression).__name__, Style.UPRIGHT), tuple(map(translate, arguments)))

    return translate
