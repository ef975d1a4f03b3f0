"""Dimensions of an expression: elementwise operands align by name, structural operations compute their own."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Add, Expr, Mul, Pow
from sympy.core.relational import Relational

from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.operations import Operation, ShapeMistake
from lstmgen.declare.symbols import Value


def align(shapes: Sequence[Dims]) -> Dims:
    """The dimensions of an elementwise result: the union by name, in the order of the largest operand.

    Raises :class:`ShapeMistake` where a name is ambiguous because one operand repeats it.
    """
    ordered = sorted((dims for dims in shapes if dims), key=len, reverse=True)
    if not ordered:
        return ()
    result = ordered[0]
    for dims in ordered[1:]:
        if dims == result:
            continue
        for repeated in (result, dims):
            if len(set(repeated)) != len(repeated) and set(result) & set(dims):
                raise ShapeMistake(
                    "LG114",
                    f"ambiguous product: {spell(dims)} meets {spell(result)} element by element, and "
                    f"{spell(repeated)} repeats a name",
                    "multiply by the matrix first: r * (U @ h), or U @ (r * h)",
                )
        result += tuple(dim for dim in dims if dim not in result)
    return result


def dims_of(expression: Expr) -> Dims:
    """The named dimensions of ``expression``; raises :class:`ShapeMistake` if its operands do not fit."""
    if isinstance(expression, Value):
        return expression.dims
    if isinstance(expression, Operation):
        return expression.shape([dims_of(value) for value in expression.values])
    if isinstance(expression, Add | Mul | Pow | Relational) or expression.args:
        return align([dims_of(arg) for arg in expression.args])
    return ()
