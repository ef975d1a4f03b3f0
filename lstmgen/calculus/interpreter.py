"""Evaluates graphs in plain NumPy, slowly and obviously: the oracle that every emitter is held against.

A value that depends on parameters only is an array of its dimensions; any other has one axis of rows (the batch) before
them. Real and complex arrays both work; comparisons look at real parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sympy import Add, Expr, Mul, Pow
from sympy.core.relational import Equality, GreaterThan, LessThan, StrictGreaterThan, StrictLessThan, Unequality
from sympy.logic.boolalg import And, Not

from lstmgen.calculus.graph import Dependence, Graph, is_condition
from lstmgen.calculus.operations import Contract, FirstMaximum, Total, Unflatten
from lstmgen.declare.declaration import Declaration, Equation
from lstmgen.declare.dims import Dims, last_index
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import InternalError

Array = Any  # ndarray, real or complex

_COMPARE = {
    StrictGreaterThan: np.greater,
    GreaterThan: np.greater_equal,
    StrictLessThan: np.less,
    LessThan: np.less_equal,
    Equality: np.equal,
    Unequality: np.not_equal,
}


class Interpreter:
    """Evaluates one graph. ``known`` says of free values what they depend on, where their role does not."""

    def __init__(self, graph: Graph, sizes: Mapping[str, int], known: Mapping[Value, Dependence] | None = None) -> None:
        self.graph = graph
        self.sizes = sizes
        self.dependence = graph.dependence(known)

    def __call__(self, values: Mapping[Value, Array], rows: int) -> dict[Value, Array]:
        """Every value of the graph, from its free ones."""
        found: dict[Value, Array] = dict(values)
        for value in self.graph.free:
            if value.role == Role.SIZE:
                found[value] = np.asarray(float(self.sizes[value.name]))
        for equation in self.graph.equations:
            found[equation.target] = self._evaluate(equation, found, rows)
        return found

    def has_rows(self, value: Value) -> bool:
        """Whether the value has one entry per row."""
        return self.dependence[value] != Dependence.SHARED

    def shape(self, value: Value, rows: int) -> tuple[int, ...]:
        """The shape of the array that holds the value."""
        dims = tuple(self.sizes[dim] for dim in value.dims)
        return (rows, *dims) if self.has_rows(value) else dims

    def _evaluate(self, equation: Equation, found: Mapping[Value, Array], rows: int) -> Array:
        target, expression = equation.target, equation.expression
        if isinstance(expression, Operation):
            return self._operation(expression, found)
        result = self._elementwise(expression, target, found)
        return np.array(np.broadcast_to(result, self.shape(target, rows)))

    def _elementwise(self, expression: Expr, target: Value, found: Mapping[Value, Array]) -> Array:
        if isinstance(expression, Value):
            return self._aligned(expression, target, found)
        if not expression.args:
            return float(expression)
        arguments = [self._elementwise(arg, target, found) for arg in expression.args]
        if isinstance(expression, Add):
            return sum(arguments[1:], arguments[0])
        if isinstance(expression, Mul):
            return _product(arguments)
        if isinstance(expression, Pow):
            exponent = expression.exp
            return arguments[0] ** (int(exponent) if exponent.is_Integer else float(exponent))
        if is_condition(expression):
            return _condition(expression, arguments)
        evaluate = DEFINITIONS[type(expression)].evaluate
        if evaluate is None:
            raise InternalError(f"{type(expression).__name__} reached the interpreter unexpanded")
        return evaluate(*[np.asarray(each) for each in arguments])

    def _aligned(self, value: Value, target: Value, found: Mapping[Value, Array]) -> Array:
        """The value's array with its axes in the target's order, and length-1 axes where it has none."""
        array = np.asarray(found[value])
        dims = value.dims
        if self.has_rows(value):
            dims = ("", *dims)
        wanted: Dims = ("", *target.dims) if self.has_rows(target) else target.dims
        if len(set(wanted)) != len(wanted):
            return array  # only parameters of equal dimensions repeat a name: nothing to align
        order = sorted(range(len(dims)), key=lambda axis: wanted.index(dims[axis]))
        shape = iter([array.shape[axis] for axis in order])
        return array.transpose(order).reshape([next(shape) if dim in dims else 1 for dim in wanted])

    def _operation(self, expression: Operation, found: Mapping[Value, Array]) -> Array:
        value = expression.values[0]
        assert isinstance(value, Value)
        array = found[value]
        rows = 1 if self.has_rows(value) else 0
        if isinstance(expression, Contract):
            return self._contract(expression, found)
        if isinstance(expression, Total):
            return array.sum(axis=0) if rows else array
        if isinstance(expression, SumOver):
            return array.sum(axis=rows + last_index(value.dims, expression.dim))
        if isinstance(expression, MaxOver | FirstMaximum):
            axis = rows + last_index(value.dims, expression.dim)
            where = np.expand_dims(np.argmax(array.real, axis=axis), axis)
            if isinstance(expression, MaxOver):
                return np.take_along_axis(array, where, axis).squeeze(axis)
            first = np.zeros(array.shape)
            np.put_along_axis(first, where, 1.0, axis)
            return first
        if isinstance(expression, Transpose):
            return np.swapaxes(array, -1, -2)
        if isinstance(expression, Flatten):
            return array.reshape(*array.shape[:rows], self.sizes[expression.to])
        if isinstance(expression, Unflatten):
            return array.reshape(*array.shape[:rows], *(self.sizes[dim] for dim in expression.dims))
        if isinstance(expression, StopGradient):
            return array
        raise InternalError(f"the interpreter has no case for {type(expression).__name__}")

    def _contract(self, expression: Contract, found: Mapping[Value, Array]) -> Array:
        left, right, out = expression.axes
        letters = []
        any_rows = False
        for value, labels in zip(expression.values, (left, right), strict=True):
            assert isinstance(value, Value)
            any_rows |= self.has_rows(value)
            letters.append(("z" if self.has_rows(value) else "") + "".join(chr(97 + label) for label in labels))
        result = ("z" if any_rows else "") + "".join(chr(97 + label) for label in out)
        arrays = [found[value] for value in expression.values]
        return np.einsum(f"{letters[0]},{letters[1]}->{result}", *arrays)


def _product(factors: list[Array]) -> Array:
    result = factors[0]
    for factor in factors[1:]:
        result = result * factor
    return result


def _condition(expression: Expr, arguments: list[Array]) -> Array:
    if isinstance(expression, Not):
        return np.logical_not(arguments[0])
    compare = _COMPARE.get(type(expression))
    if compare is not None:
        return compare(np.real(arguments[0]), np.real(arguments[1]))
    combine = np.logical_and if isinstance(expression, And) else np.logical_or
    result = arguments[0]
    for arg in arguments[1:]:
        result = combine(result, arg)
    return result


def interpret(
    graph: Graph,
    values: Mapping[Value, Array],
    *,
    rows: int,
    sizes: Mapping[str, int],
    known: Mapping[Value, Dependence] | None = None,
) -> dict[Value, Array]:
    """Every value of ``graph`` from its free ones, for ``rows`` rows of the batch. See :class:`Interpreter`."""
    return Interpreter(graph, sizes, known)(values, rows)


def size_names(declaration: Declaration, primal: Graph) -> tuple[str, ...]:
    """The dimensions whose sizes a user chooses, in order of declaration: those of parameters, inputs and states.

    A dimension that only a ``flatten`` makes is the product of others and not among them, nor is one that a constant
    fixes.
    """
    settled = {*derived_sizes(primal), *declaration.fixed_sizes}
    return tuple(dim for dim in all_dims(declaration, primal) if dim not in settled)


def derived_sizes(primal: Graph) -> dict[str, Dims]:
    """Dimensions that ``flatten`` makes, with those they join."""
    found: dict[str, Dims] = {}
    for equation in primal.equations:
        if isinstance(equation.expression, Flatten):
            (value,) = equation.expression.values
            assert isinstance(value, Value)
            found[equation.expression.to] = value.dims
    return found


def all_dims(declaration: Declaration, primal: Graph) -> tuple[str, ...]:
    """Every dimension of a cell, inputs' first."""
    values = [
        *declaration.inputs,
        *(state.next for state in declaration.states),
        *(parameter.value for parameter in declaration.parameters),
        *(constant.value for constant in declaration.constants),
        *(equation.target for equation in primal.equations),
    ]
    return tuple(dict.fromkeys(dim for value in values for dim in value.dims))
