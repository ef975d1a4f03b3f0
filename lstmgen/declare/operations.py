"""Structural operations: the few that mix units, opaque to SymPy.

Each is an ``Expr`` whose value operands come first in ``args`` and whose ``shape`` computes its dimensions from
theirs, raising :class:`ShapeMistake` where they do not fit. Operators never raise while a cell is traced: a node is
built from whatever it is given, and the equation builder asks for shapes afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from sympy import Basic, Expr, Symbol, SympifyError, sympify
from sympy.core.symbol import Str

from lstmgen.declare.dims import Dims, last_index, spell
from lstmgen.declare.names import reason_against


class ShapeMistake(Exception):  # noqa: N818 - a user's mistake, told as a diagnostic
    """Dimensions that do not fit: a diagnostic's code, message and hint, without its place."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


def spell_any(value: Any) -> str:
    """Whatever a user gave, as a message names it: what is SymPy's by its text, anything else by its type too."""
    text = repr(value)
    text = text if len(text) <= 40 else text[:37] + "..."
    kind = "text" if isinstance(value, str) else type(value).__name__
    return text if isinstance(value, Basic) else f"{kind} {text}"


class Operation(Expr):  # type: ignore[misc]  # SymPy has no types
    """Base of the structural operations; ``operands`` says how many leading ``args`` are values."""

    operands: ClassVar[int] = 1
    is_commutative = True
    is_real = True
    is_extended_real = True

    @property
    def values(self) -> tuple[Expr, ...]:
        """The operands that are values."""
        return tuple(self.args[: self.operands])

    def shape(self, operands: Sequence[Dims]) -> Dims:
        """The dimensions of the result, from those of the operands."""
        raise NotImplementedError

    def with_values(self, values: Sequence[Expr]) -> Expr:
        """The same operation on other operands."""
        return self.func(*values, *self.args[self.operands :])


def operand(value: Any) -> Any:
    """A value operand. What is no expression stays as it was given, for the equation builder to find and to tell."""
    try:
        return sympify(value, strict=True)
    except SympifyError:
        return value


def name_argument(value: Any) -> Str:
    return value if isinstance(value, Str) else Str(str(value))


class Matmul(Operation):
    """``left @ right``: contracts the last dimension of ``left`` with the last of ``right``.

    Further dimensions of ``right`` must be a prefix of those of ``left`` and act as a batch.
    """

    operands = 2

    def __new__(cls, left: Any, right: Any) -> Matmul:
        made: Matmul = Expr.__new__(cls, operand(left), operand(right))
        return made

    def shape(self, operands: Sequence[Dims]) -> Dims:
        left, right = operands
        if not left or not right:
            raise ShapeMistake(
                "LG102",
                f"`@` needs a dimension to contract on both sides; the operands have {spell(left)} and {spell(right)}",
                "use * to multiply by a scalar",
            )
        named = all(isinstance(each, Symbol) for each in self.args)
        vector, matrix = map(str, self.args) if named else ("x", "W")
        if left[-1] != right[-1]:
            hint = f"the left operand needs {right[-1]!r} as its last dimension"
            if right[-1] in left:
                hint += ", or transpose it"
            elif left[-1:] == right[-2:-1]:
                hint = f"the matrix comes first: write {matrix}.T @ {vector} for what NumPy calls {vector} @ {matrix}"
            raise ShapeMistake(
                "LG102",
                f"`@` contracts the last dimension of both operands, but {spell(left)} ends in {left[-1]!r} and "
                f"{spell(right)} in {right[-1]!r}",
                hint,
            )
        if len(left) < len(right):
            raise ShapeMistake(
                "LG102",
                f"`@` needs the matrix on its left: {spell(left)} has fewer dimensions than {spell(right)}",
                f"exchange the operands: {matrix} @ {vector}",
            )
        batch = right[:-1]
        if left[: len(batch)] != batch:
            raise ShapeMistake(
                "LG102",
                f"the dimensions {spell(batch)} of the right operand must be a prefix of the left's {spell(left)}",
                "reorder the matrix's dimensions so that the batch comes first",
            )
        return left[:-1]


class Outer(Operation):
    """``outer(left, right)``: every product of an entry of ``left`` with one of ``right``."""

    operands = 2

    def __new__(cls, left: Any, right: Any) -> Outer:
        made: Outer = Expr.__new__(cls, operand(left), operand(right))
        return made

    def shape(self, operands: Sequence[Dims]) -> Dims:
        left, right = operands
        return left + right


class _Reduction(Operation):
    def __new__(cls, value: Any, dim: Any) -> Any:
        return Expr.__new__(cls, operand(value), name_argument(dim))

    @property
    def dim(self) -> str:
        """The name of the dimension that is reduced."""
        return str(self.args[1].name)

    def shape(self, operands: Sequence[Dims]) -> Dims:
        (dims,) = operands
        if dims.count(self.dim) != 1:
            raise ShapeMistake(
                "LG101",
                f"cannot reduce over {self.dim!r}: the operand has {spell(dims)}",
                f"name one of {', '.join(map(repr, dims))}"
                if dims
                else "the operand is a scalar: there is nothing to reduce",
            )
        return tuple(dim for dim in dims if dim != self.dim)


class SumOver(_Reduction):
    """The sum over one named dimension.

    The calculus also sums a square matrix to a number, one of its two equal names after the other, the last first. A
    declaration may not: the adjoint of one such sum alone could not say along which of the two it is spread.
    """

    def shape(self, operands: Sequence[Dims]) -> Dims:
        (dims,) = operands
        if dims.count(self.dim) < 2:
            return super().shape(operands)
        last = last_index(dims, self.dim)
        return dims[:last] + dims[last + 1 :]


class MeanOver(_Reduction):
    """The mean over one named dimension."""


class MaxOver(_Reduction):
    """The largest entry along one named dimension; of tied maxima the first gets the gradient."""


class Transpose(Operation):
    """The last two dimensions exchanged."""

    def __new__(cls, value: Any) -> Transpose:
        made: Transpose = Expr.__new__(cls, operand(value))
        return made

    @property
    def arg(self) -> Expr:
        """The operand. SymPy prints every class of this name as its own ``Transpose``, through this property."""
        return self.args[0]

    def shape(self, operands: Sequence[Dims]) -> Dims:
        (dims,) = operands
        if len(dims) < 2:
            raise ShapeMistake(
                "LG102", f"cannot transpose {spell(dims)}: it has fewer than two dimensions", "use it as it is"
            )
        return (*dims[:-2], dims[-1], dims[-2])


class Flatten(Operation):
    """All dimensions joined to one, the last running fastest."""

    def __new__(cls, value: Any, to: Any) -> Flatten:
        made: Flatten = Expr.__new__(cls, operand(value), name_argument(to))
        return made

    @property
    def to(self) -> str:
        """The name of the joined dimension."""
        return str(self.args[1].name)

    def shape(self, operands: Sequence[Dims]) -> Dims:
        (dims,) = operands
        reason = reason_against(self.to, is_dimension=True)
        if reason:
            raise ShapeMistake(*reason)
        if self.to in dims:
            raise ShapeMistake(
                "LG102",
                f"cannot flatten {spell(dims)} to {self.to!r}, one of its own dimensions",
                "give the joined dimension a name of its own",
            )
        if len(dims) < 2 or len(set(dims)) != len(dims):
            raise ShapeMistake(
                "LG102",
                f"cannot flatten {spell(dims)} to {self.to!r}",
                "give it two or more dimensions of distinct names",
            )
        return (self.to,)


class StopGradient(Operation):
    """The value itself, held constant by the calculus."""

    def __new__(cls, value: Any) -> StopGradient:
        made: StopGradient = Expr.__new__(cls, operand(value))
        return made

    def shape(self, operands: Sequence[Dims]) -> Dims:
        return operands[0]


def outer(left: Any, right: Any) -> Expr:
    """The outer product: dimensions of ``left`` followed by those of ``right``."""
    return Outer(left, right)


def sum_over(value: Any, dim: str) -> Expr:
    """The sum of ``value`` over the dimension named ``dim``."""
    return SumOver(value, dim)


def mean_over(value: Any, dim: str) -> Expr:
    """The mean of ``value`` over the dimension named ``dim``."""
    return MeanOver(value, dim)


def max_over(value: Any, dim: str) -> Expr:
    """The maximum of ``value`` over the dimension named ``dim``; of tied maxima the first gets the gradient."""
    return MaxOver(value, dim)


def transpose(value: Any) -> Expr:
    """``value`` with its last two dimensions exchanged."""
    return Transpose(value)


def flatten(value: Any, to: str = "hidden") -> Expr:
    """All dimensions of ``value`` joined to one named ``to`` (heads x head to hidden)."""
    return Flatten(value, to)


def stop_gradient(value: Any) -> Expr:
    """``value``, treated as a constant by the calculus."""
    return StopGradient(value)


@contextmanager
def matrix_operators() -> Iterator[None]:
    """Let ``@`` and ``.T`` work between composite expressions, such as ``(W - W.T) @ (r * h)``, while a cell is traced.

    SymPy's ``Expr`` defines neither; a subclass cannot help, since ``W - W.T`` is SymPy's own ``Add``. The two names
    are taken away again when tracing ends.
    """
    additions = {
        "__matmul__": lambda self, other: Matmul(self, other),
        "__rmatmul__": lambda self, other: Matmul(other, self),
        "T": property(Transpose),
    }
    added = [name for name in additions if not hasattr(Expr, name)]
    for name in added:
        setattr(Expr, name, additions[name])
    try:
        yield
    finally:
        for name in added:
            delattr(Expr, name)
