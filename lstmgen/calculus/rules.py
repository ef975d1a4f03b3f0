"""The rules of differentiation, one table.

A rule receives an equation ``y = operation(...)`` and the adjoint ``d_y`` and returns one contribution for each value
operand, in order; None where nothing flows. Contributions are expressions in ``d_y`` and primal values, of the
operand's own dimensions or of more (then they are summed). Elementwise expressions need no rule here: SymPy
differentiates them, and :mod:`lstmgen.declare.functions` holds the derivatives of the nonlinear functions.

To add an operation: its class with a ``shape``, a rule in :data:`VJP`, a case in the interpreter, and its form in the
back ends. The test that fails first, by name, is the one that walks this table.
"""

from __future__ import annotations

from collections.abc import Callable

from sympy import Expr, Tuple
from sympy.core.symbol import Str

from lstmgen.calculus.operations import Contract, FirstMaximum, Gauge, Total, Unflatten
from lstmgen.declare.operations import (
    Flatten,
    MaxOver,
    Operation,
    StopGradient,
    SumOver,
    Transpose,
)
from lstmgen.declare.symbols import Value

Contributions = tuple[Expr | None, ...]
Rule = Callable[[Operation, Value, Value], Contributions]


def contract(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """d_left[l] = sum d_y[o] right[r] and d_right[r] = sum d_y[o] left[l]: the labels only change places."""
    assert isinstance(operation, Contract)
    left, right = operation.values
    of_left, of_right, of_y = operation.axes
    return Contract(d_y, right, of_y, of_right, of_left), Contract(left, d_y, of_left, of_y, of_right)


def sum_over(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """Every term of a sum receives the sum's adjoint: a broadcast."""
    return (d_y,)


def max_over(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """The first of the maxima receives the whole adjoint."""
    assert isinstance(operation, MaxOver)
    return (d_y * FirstMaximum(operation.values[0], Str(operation.dim)),)


def transpose(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """The transpose is its own adjoint."""
    return (Transpose(d_y),)


def flatten(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """Entries go back where they came from."""
    (value,) = operation.values
    assert isinstance(value, Value)
    return (Unflatten(d_y, Tuple(*map(Str, value.dims))),)


def unflatten(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """Entries go back where they came from."""
    (value,) = operation.values
    assert isinstance(value, Value)
    return (Flatten(d_y, value.dims[0]),)


def nothing(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """No adjoint passes."""
    return (None,)


def total(operation: Operation, y: Value, d_y: Value) -> Contributions:
    """Every row and step receives the total's adjoint: a broadcast."""
    return (d_y,)


VJP: dict[type[Operation], Rule] = {
    Contract: contract,
    SumOver: sum_over,
    MaxOver: max_over,
    FirstMaximum: nothing,
    Transpose: transpose,
    Flatten: flatten,
    Unflatten: unflatten,
    StopGradient: nothing,
    Gauge: nothing,
    Total: total,
}
"""The vector-Jacobian product of every structural operation."""
