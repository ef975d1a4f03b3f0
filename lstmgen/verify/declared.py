"""Evaluates a declaration as its author wrote it, one row and one equation at a time.

This knows nothing of the canonical form, of graphs, or of what softmax and layer normalisation expand to: a proof holds
the graph against it, so that an error made while tracing is seen too. A value is an array with the names of its axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import sympy
from sympy import Add, Expr, Mul, Pow
from sympy.core.relational import Equality, GreaterThan, LessThan, StrictGreaterThan, StrictLessThan, Unequality
from sympy.logic.boolalg import And, Not, Or

from lstmgen.declare.declaration import Declaration
from lstmgen.declare.dims import Dims, last_index
from lstmgen.declare.functions import DEFINITIONS, FROM_SYMPY, clip, gelu, hard_sigmoid, silu
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
from lstmgen.errors import InternalError

Array = Any


class Named(NamedTuple):
    """An array and the names of its axes."""

    array: Array
    dims: Dims


def run_declared(
    declaration: Declaration,
    sizes: Mapping[str, int],
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    initial: Mapping[str, Array],
    start: int = 0,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Outputs (steps, rows, ...) and final states (rows, ...) by name, in float64.

    ``inputs`` are (steps, rows, ...), ``initial`` states (rows, ...); the first step has the index ``start``.
    """
    steps, rows = next(iter(inputs.values())).shape[:2]
    outputs = {
        value.name: np.zeros((steps, rows, *(sizes[dim] for dim in value.dims))) for value in declaration.outputs
    }
    final = {name: np.array(array) for name, array in initial.items()}
    fixed: dict[Value, Array] = {each.value: parameters[each.value.name] for each in declaration.parameters}
    fixed |= {each.value: each.array() for each in declaration.constants}
    for row in range(rows):
        state = {each.previous: initial[each.name][row] for each in declaration.states}
        for t in range(steps):
            values: dict[Value, Array] = {**fixed, **state}
            values |= {value: inputs[value.name][t, row] for value in declaration.inputs}
            if declaration.step_index is not None:
                values[declaration.step_index] = float(start + t)
            for equation in declaration.equations:
                found = _Evaluation(values, sizes)(equation.written or equation.expression)
                values[equation.target] = _spread(found, equation.target.dims, sizes)
            state = {each.previous: values[each.next] for each in declaration.states}
            for value in declaration.outputs:
                outputs[value.name][t, row] = values[value]
        for each in declaration.states:
            final[each.name][row] = state[each.previous]
    return outputs, final


def _aligned(operand: Named, dims: Dims) -> Array:
    """The operand's array with its axes in the order of ``dims`` and axes of length one for those it lacks."""
    if operand.dims == dims:
        return operand.array
    array = np.asarray(operand.array).transpose([operand.dims.index(dim) for dim in dims if dim in operand.dims])
    return array.reshape([operand.array.shape[operand.dims.index(dim)] if dim in operand.dims else 1 for dim in dims])


def _spread(found: Named, dims: Dims, sizes: Mapping[str, int]) -> Array:
    return np.broadcast_to(_aligned(found, dims), [sizes[dim] for dim in dims])


def _together(operands: Sequence[Named], function: Callable[..., Array]) -> Named:
    """An elementwise function of operands that are aligned by the names of their axes."""
    dims: Dims = ()
    for operand in sorted(operands, key=lambda each: len(each.dims), reverse=True):
        if operand.dims != dims:
            dims += tuple(dim for dim in operand.dims if dim not in dims) if dims else operand.dims
    return Named(function(*(_aligned(operand, dims) for operand in operands)), dims)


_COMPARE: dict[type, Callable[..., Array]] = {
    StrictGreaterThan: np.greater,
    GreaterThan: np.greater_equal,
    StrictLessThan: np.less,
    LessThan: np.less_equal,
    Equality: np.equal,
    Unequality: np.not_equal,
    And: lambda *parts: np.logical_and.reduce(np.broadcast_arrays(*parts)),
    Or: lambda *parts: np.logical_or.reduce(np.broadcast_arrays(*parts)),
    Not: np.logical_not,
    sympy.Max: lambda *parts: np.max(np.broadcast_arrays(*parts), axis=0),
    sympy.Min: lambda *parts: np.min(np.broadcast_arrays(*parts), axis=0),
    clip: lambda x, low, high: np.minimum(np.maximum(x, low), high),
    silu: lambda x: x / (1 + np.exp(-x)),
    gelu: lambda x: x * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) / 2,
    hard_sigmoid: lambda x: np.minimum(np.maximum(x / 6 + 0.5, 0), 1),
    Pow: np.power,
}
"""What is written with a head of its own, beside the functions that are defined by how they evaluate."""


class _Evaluation:
    """Evaluates expressions at one step of one row."""

    def __init__(self, values: Mapping[Value, Array], sizes: Mapping[str, int]) -> None:
        self.values, self.sizes = values, sizes

    def __call__(self, expression: Expr) -> Named:
        if isinstance(expression, Value):
            number = expression.role == Role.SIZE
            return Named(
                np.asarray(self.sizes[expression.name] if number else self.values[expression]), expression.dims
            )
        if not expression.args:
            return Named(np.asarray(float(expression)), ())
        if isinstance(expression, Operation):
            return self._operation(expression)
        if isinstance(expression, sympy.transpose | sympy.adjoint):
            return self._operation(Transpose(expression.args[0]))
        operands = [self(arg) for arg in expression.args]
        if isinstance(expression, Add | Mul):
            combine = np.add if isinstance(expression, Add) else np.multiply
            total = operands[0]
            for operand in operands[1:]:
                total = _together([total, operand], combine)
            return total
        kind = type(expression)
        function = _COMPARE.get(kind)
        if function is None:
            function = DEFINITIONS[FROM_SYMPY.get(kind, kind)].evaluate
        if function is None:
            raise InternalError(f"a proof has no plain form of {kind.__name__}")
        return _together([Named(np.asarray(each.array), each.dims) for each in operands], function)

    def _operation(self, expression: Operation) -> Named:
        operands = [self(value) for value in expression.values]
        if isinstance(expression, Normalization):
            return _normalized(expression, operands)
        array, dims = operands[0]
        if isinstance(expression, Matmul):
            other = operands[1]
            batch = len(other.dims) - 1
            letters = [chr(97 + axis) for axis in range(len(dims))]
            spec = f"{''.join(letters)},{''.join(letters[:batch])}{letters[-1]}->{''.join(letters[:-1])}"
            return Named(np.einsum(spec, array, other.array), dims[:-1])
        if isinstance(expression, Outer):
            return Named(np.multiply.outer(array, operands[1].array), dims + operands[1].dims)
        if isinstance(expression, SumOver | MeanOver | MaxOver):
            axis = last_index(dims, expression.dim)
            reductions: dict[type, Callable[..., Array]] = {SumOver: np.sum, MeanOver: np.mean, MaxOver: np.max}
            reduce = reductions[type(expression)]
            return Named(reduce(array, axis=axis), dims[:axis] + dims[axis + 1 :])
        if isinstance(expression, Transpose):
            return Named(np.swapaxes(array, -1, -2), (*dims[:-2], dims[-1], dims[-2]))
        if isinstance(expression, Flatten):
            return Named(array.reshape(-1), (expression.to,))
        if isinstance(expression, StopGradient):
            return operands[0]
        raise InternalError(f"a proof has no plain form of {type(expression).__name__}")


def _normalized(expression: Normalization, operands: Sequence[Named]) -> Named:
    """Softmax or layer normalisation: all entries that go together in one array."""
    wanted = operands[expression.index]
    dim = expression.dim(wanted.dims)
    rest = tuple(each for each in wanted.dims if each != dim)
    rows = [_aligned(Named(each.array, each.dims), (*rest, expression.dim(each.dims))) for each in operands]
    whole = np.concatenate(rows, axis=-1)
    if isinstance(expression, LayerNorm):
        centred = whole - whole.mean(axis=-1, keepdims=True)
        whole = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + float(expression.epsilon))
    else:
        powers = np.exp(whole - whole.max(axis=-1, keepdims=True))
        whole = powers / powers.sum(axis=-1, keepdims=True)
    begin = sum(each.shape[-1] for each in rows[: expression.index])
    part = whole[..., begin : begin + rows[expression.index].shape[-1]]
    return Named(_aligned(Named(part, (*rest, dim)), wanted.dims), wanted.dims)
