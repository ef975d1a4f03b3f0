"""The structural operations of graphs: closed under differentiation.

A declaration's ``@``, ``outer`` and their transposes all become :class:`Contract`. With the reductions and reshapes of
:mod:`lstmgen.declare.operations` and the three below, the adjoint of every operation is again one of the set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import Expr, Integer, Tuple

from lstmgen.declare.dims import Dims
from lstmgen.declare.operations import Operation, StopGradient
from lstmgen.errors import InternalError

Axes = tuple[int, ...]


class Contract(Operation):
    """The sum of products over indexed axes: ``out[o] = sum left[l] * right[r]``.

    ``axes`` are three tuples of index labels, for ``left``, ``right`` and the result; a label that is not in the result
    is summed over. ``W @ x`` is ((0, 1), (1,), (0,)), an outer product ((0,), (1,), (0, 1)). Labels are needed beside
    dimension names because a parameter may repeat a name.
    """

    operands = 2

    def __new__(cls, left: Expr, right: Expr, *axes: Any) -> Contract:
        labels = [Tuple(*map(Integer, each)) for each in axes]
        made: Contract = Expr.__new__(cls, left, right, *labels)
        return made

    @property
    def axes(self) -> tuple[Axes, Axes, Axes]:
        """The index labels of left, right and result."""
        left, right, out = (tuple(int(label) for label in each.args) for each in self.args[2:])
        return left, right, out

    def shape(self, operands: Sequence[Dims]) -> Dims:
        left, right, out = self.axes
        names: dict[int, str] = {}
        for labels, dims in zip((left, right), operands, strict=True):
            if len(labels) != len(dims):
                raise InternalError(f"{self} has axes {labels} for an operand of dimensions {dims}")
            for label, dim in zip(labels, dims, strict=True):
                if names.setdefault(label, dim) != dim:
                    raise InternalError(f"{self} contracts {names[label]!r} with {dim!r}")
        return tuple(names[label] for label in out)


class Gauge(StopGradient):
    """A value that shifts or scales others without changing any result, such as the maximum in a softmax.

    Its adjoint vanishes, so the calculus holds it constant. A proof does not: finite differences move it, and so check
    that nothing depends on it.
    """


class Total(Operation):
    """The sum over all rows and all steps: what turns a row's contribution into the adjoint of a shared value."""

    def __new__(cls, value: Expr) -> Total:
        made: Total = Expr.__new__(cls, value)
        return made

    def shape(self, operands: Sequence[Dims]) -> Dims:
        return operands[0]


class FirstMaximum(Operation):
    """1 where ``value`` has its first maximum along a dimension, else 0: the derivative of ``MaxOver``."""

    def __new__(cls, value: Expr, dim: Any) -> FirstMaximum:
        made: FirstMaximum = Expr.__new__(cls, value, dim)
        return made

    @property
    def dim(self) -> str:
        """The dimension along which the maximum is taken."""
        return str(self.args[1].name)

    def shape(self, operands: Sequence[Dims]) -> Dims:
        return operands[0]


class Unflatten(Operation):
    """One dimension split into several again: the inverse of ``Flatten``."""

    def __new__(cls, value: Expr, dims: Any) -> Unflatten:
        made: Unflatten = Expr.__new__(cls, value, dims)
        return made

    @property
    def dims(self) -> Dims:
        """The dimensions of the result."""
        return tuple(str(each.name) for each in self.args[1].args)

    def shape(self, operands: Sequence[Dims]) -> Dims:
        return self.dims
