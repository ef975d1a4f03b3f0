"""Equations as plain text, in the notation of code: ``a_f = W_f @ x + U_f @ h_prev + b_f``.

Products that lstmgen named itself are printed in place, so that an equation reads as it was declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Add, Expr, Mul, Number, NumberSymbol, Pow, Rational
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.calculus.graph import Graph, operands_of
from lstmgen.calculus.operations import Contract, FirstMaximum, Gauge, Total, Unflatten
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import written_name
from lstmgen.declare.normalizations import LayerNorm, Normalization
from lstmgen.declare.operations import (
    Flatten,
    Matmul,
    MaxOver,
    MeanOver,
    Operation,
    Outer,
    StopGradient,
    SumOver,
    Transpose,
)
from lstmgen.declare.symbols import Role, Value

SUM, PRODUCT, UNARY, POWER, ATOM = range(5)
_COMPARE = {
    "StrictGreaterThan": ">",
    "GreaterThan": ">=",
    "StrictLessThan": "<",
    "LessThan": "<=",
    "Equality": "==",
    "Unequality": "!=",
}


def inlined_products(graph: Graph) -> dict[Value, Expr]:
    """The structural operations that lstmgen named itself and one equation uses: they read better in place."""
    uses = graph.uses()
    return {
        equation.target: equation.expression
        for equation in graph.equations
        if equation.target.role == Role.INTERMEDIATE
        and isinstance(equation.expression, Operation)
        and len(uses.get(equation.target, ())) == 1
    }


class Text:
    """Prints expressions; ``inline`` are values that are printed as what defines them."""

    def __init__(self, inline: Mapping[Value, Expr] | None = None) -> None:
        self.inline = inline or {}

    def equation(self, equation: Equation) -> str:
        """``target = expression``."""
        return f"{equation.target.name} = {self(equation.expression)}"

    def operands(self, expression: Expr) -> tuple[Value, ...]:
        """The values that the printed expression names."""
        found: dict[Value, None] = {}
        for value in operands_of(expression):
            inner = self.operands(self.inline[value]) if value in self.inline else (value,)
            found |= dict.fromkeys(inner)
        return tuple(found)

    def __call__(self, expression: Expr) -> str:
        return self._print(expression)[0]

    def _wrap(self, expression: Expr, least: int) -> str:
        text, precedence = self._print(expression)
        return text if precedence >= least else f"({text})"

    def _print(self, expression: Expr) -> tuple[str, int]:
        if isinstance(expression, Value):
            if expression in self.inline:
                return self._print(self.inline[expression])
            return expression.name, ATOM
        if isinstance(expression, Number | NumberSymbol):
            text = number(expression)
            return text, UNARY if expression.is_negative else PRODUCT if "/" in text else ATOM
        if isinstance(expression, Operation):
            return self._operation(expression)
        if isinstance(expression, Add):
            return self._sum(expression), SUM
        if isinstance(expression, Mul):
            return self._product(expression)
        if isinstance(expression, Pow):
            return self._power(expression)
        if isinstance(expression, Relational):
            left, right = (self(side) for side in expression.args)
            return f"{left} {_COMPARE[type(expression).__name__]} {right}", SUM
        if isinstance(expression, And | Or):
            word = " and " if isinstance(expression, And) else " or "
            return word.join(f"({self(arg)})" for arg in expression.args), SUM
        if isinstance(expression, Not):
            return f"not ({self(expression.args[0])})", SUM
        arguments = ", ".join(self(arg) for arg in expression.args)
        return f"{written_name(type(expression))}({arguments})", ATOM

    def _sum(self, expression: Add) -> str:
        text = ""
        for term in expression.args:
            sign, body = split_sign(term)
            printed = self._wrap(body, PRODUCT)
            text += (f" {sign} " if text else ("-" if sign == "-" else "")) + printed
        return text

    def _product(self, expression: Mul) -> tuple[str, int]:
        sign, body = split_sign(expression)
        if sign == "-":
            return f"-{self._wrap(body, PRODUCT)}", UNARY
        above, below = split_quotient(expression)
        # A product `@` beside a `*` is put in parentheses: Python would read it from the left.
        top = " * ".join(self._factor(each, first=each is above[0]) for each in above) or "1"
        if not below:
            return top, PRODUCT
        bottom = " * ".join(self._factor(each) for each in below)
        return f"{top} / {bottom if len(below) == 1 and not isinstance(below[0], Mul) else f'({bottom})'}", PRODUCT

    def _factor(self, factor: Expr, *, first: bool = False) -> str:
        text, precedence = self._print(factor)
        bracket = precedence in (SUM, UNARY) or ("@" in text and precedence < ATOM)
        bracket |= precedence == PRODUCT and "/" in text and not first
        return f"({text})" if bracket else text

    def _power(self, expression: Pow) -> tuple[str, int]:
        base, exponent = expression.args
        if exponent.is_negative:
            bottom = Pow(base, -exponent, evaluate=False) if exponent != -1 else base
            return f"1 / {self._wrap(bottom, POWER)}", PRODUCT
        return f"{self._wrap(base, ATOM)}**{self._wrap(exponent, ATOM)}", POWER

    def _operation(self, expression: Operation) -> tuple[str, int]:
        values = expression.values
        if isinstance(expression, Matmul):
            return f"{self._wrap(values[0], POWER)} @ {self._wrap(values[1], POWER)}", PRODUCT
        if isinstance(expression, Contract):
            return self._contract(expression)
        names = [self(value) for value in values]
        if isinstance(expression, Transpose):
            return f"{self._wrap(values[0], ATOM)}.T", ATOM
        if isinstance(expression, SumOver | MeanOver | MaxOver):
            word = {"SumOver": "sum_over", "MeanOver": "mean_over", "MaxOver": "max_over"}[type(expression).__name__]
            return f'{word}({names[0]}, "{expression.dim}")', ATOM
        if isinstance(expression, FirstMaximum):
            return f'first_maximum({names[0]}, "{expression.dim}")', ATOM
        if isinstance(expression, Flatten):
            return f'flatten({names[0]}, "{expression.to}")', ATOM
        if isinstance(expression, Unflatten):
            return f"unflatten({names[0]}, {' x '.join(expression.dims)})", ATOM
        if isinstance(expression, Normalization):
            return self._normalization(expression, names)
        word = {Outer: "outer", Total: "total", StopGradient: "stop_gradient", Gauge: "stop_gradient"}[type(expression)]
        return f"{word}({', '.join(names)})", ATOM

    def _normalization(self, expression: Normalization, names: Sequence[str]) -> tuple[str, int]:
        arguments = [*names]
        if expression.given_dim:
            arguments.append(f'"{expression.given_dim}"')
        if isinstance(expression, LayerNorm) and float(expression.epsilon) != 1e-5:
            arguments.append(f"epsilon={number(expression.epsilon)}")
        which = f"[{expression.index}]" if len(names) > 1 else ""
        return f"{expression.written}({', '.join(arguments)}){which}", ATOM

    def _contract(self, expression: Contract) -> tuple[str, int]:
        left, right, out = expression.axes
        a, b = expression.values
        batch = right[:-1]
        if out == left + right:
            return f"outer({self(a)}, {self(b)})", ATOM
        if right and len(left) > len(right) - 1 and left[: len(batch)] == batch:
            if right[-1] == left[-1] and out == left[:-1]:
                return f"{self._wrap(a, POWER)} @ {self._wrap(b, POWER)}", PRODUCT
            if len(left) >= 2 and right[-1] == left[-2] and out == (*left[:-2], left[-1]):
                return f"{self._wrap(a, ATOM)}.T @ {self._wrap(b, POWER)}", PRODUCT
        spec = ",".join("".join(chr(97 + label) for label in labels) for labels in (left, right))
        result = "".join(chr(97 + label) for label in out)
        return f'contract({self(a)}, {self(b)}, "{spec}->{result}")', ATOM


def number(expression: Expr) -> str:
    """A number as it is printed: integers and simple fractions as such, others as Python's shortest float."""
    if expression.is_Integer:
        return str(int(expression))
    if isinstance(expression, Rational) and expression.q <= 1000:
        return f"{expression.p}/{expression.q}"
    return repr(float(expression))


def split_sign(term: Expr) -> tuple[str, Expr]:
    """A term's sign and what is left of it."""
    if isinstance(term, Number) and term.is_negative:
        return "-", -term
    if isinstance(term, Mul) and isinstance(term.args[0], Number) and term.args[0].is_negative:
        first, rest = -term.args[0], term.args[1:]
        factors = rest if first == 1 else (first, *rest)
        return "-", factors[0] if len(factors) == 1 else Mul(*factors, evaluate=False)
    return "+", term


def split_quotient(expression: Mul) -> tuple[list[Expr], list[Expr]]:
    """The factors above and below the fraction bar."""
    above: list[Expr] = []
    below: list[Expr] = []
    for factor in expression.args:
        if isinstance(factor, Pow) and factor.exp.is_negative:
            power = -factor.exp
            below.append(factor.base if power == 1 else Pow(factor.base, power, evaluate=False))
        else:
            above.append(factor)
    return above, below
