"""The one order in which factors and terms stand, in every printer and in generated code.

SymPy's own order depends on names and hashes and would write ``g*i + c_prev*f``. Here numbers come first, then
adjoints, then values in the order of their declaration, then compound factors; positive terms before negative ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sympy import Add, Expr, Mul, Number, NumberSymbol, Pow
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Not, Or

from lstmgen.declare.operations import Operation
from lstmgen.declare.symbols import Role, Value

_FIRST = {Role.ADJOINT: 0}


class Ordering:
    """Ranks values by role, then by place of declaration: the order in which ``values`` are given."""

    def __init__(self, values: Iterable[Value]) -> None:
        self._index: dict[Value, int] = {}
        for value in values:
            self.add(value)

    def add(self, value: Value) -> None:
        """Ranks one more value, after all others of its kind."""
        self._index.setdefault(value, len(self._index))

    def key(self, expression: Expr) -> tuple[Any, ...]:
        """The sorting key of a factor or term."""
        if isinstance(expression, Number | NumberSymbol):
            return (0, 0, float(expression), "")
        if isinstance(expression, Value):
            return (1, _FIRST.get(expression.role, 1), self._index.get(expression, len(self._index)), expression.name)
        if isinstance(expression, Pow) and isinstance(expression.base, Value) and expression.exp.is_positive:
            return self.key(expression.base)
        negative = isinstance(expression, Mul) and any(
            isinstance(arg, Number) and arg.is_negative for arg in expression.args
        )
        if isinstance(expression, Mul):
            factors = [self.key(arg) for arg in expression.args if not isinstance(arg, Number)]
            smallest = min(factors, default=(0, 0, 0.0, ""))
            return (1 if not negative else 3, *smallest[1:], len(factors))
        parts = [self.key(arg) for arg in expression.args if isinstance(arg, Expr)]
        smallest = min(parts, default=(0, 0, 0.0, ""))
        return (2, *smallest[1:], len(parts))

    def arrange(self, expression: Expr) -> Expr:
        """``expression`` with every sum and product in order, unevaluated so that it stays so."""
        if not expression.args or isinstance(expression, Operation):
            return expression
        arguments = [self.arrange(arg) for arg in expression.args]
        if isinstance(expression, Add | Mul):
            return type(expression)(*sorted(arguments, key=self.key), evaluate=False)
        if isinstance(expression, Pow | Relational | And | Or | Not):
            return expression.func(*arguments, evaluate=False)
        return expression.func(*arguments)
