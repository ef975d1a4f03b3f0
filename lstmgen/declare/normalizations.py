"""Softmax and layer normalisation: operations of a declaration that expand to named equations.

Each normalises the entries of one value, or of several together, along one dimension.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sympy import Expr, Integer, Number, sympify

from lstmgen.declare.dims import Dims, spell
from lstmgen.declare.operations import Operation, ShapeMistake, name_argument, operand, spell_any


class Normalization(Operation):
    """Base of what normalises the entries of one value, or of several together, along one dimension.

    ``args`` are the values, which of them this is the result for, and the dimension: empty for the last.
    """

    def __new__(cls, values: Sequence[Any], index: int, dim: Any, *options: Any) -> Any:
        return Expr.__new__(
            cls, *map(operand, values), Integer(index), name_argument(dim), *(sympify(each) for each in options)
        )

    options: ClassVar[int] = 0

    @property
    def values(self) -> tuple[Expr, ...]:
        return tuple(self.args[: -2 - self.options])

    @property
    def index(self) -> int:
        """Which of the values this is the result for."""
        return int(self.args[-2 - self.options])

    @property
    def given_dim(self) -> str:
        """The dimension as given; empty for the last."""
        return str(self.args[-1 - self.options].name)

    def dim(self, dims: Dims) -> str:
        """The dimension along which entries are normalised, of values that have ``dims``."""
        return self.given_dim or dims[-1]

    def with_values(self, values: Sequence[Expr]) -> Expr:
        made: Expr = self.func(values, self.index, self.given_dim, *self.args[len(self.args) - self.options :])
        return made

    def shape(self, operands: Sequence[Dims]) -> Dims:
        self.check_values()
        name = self.written
        for dims in operands:
            if not dims:
                raise ShapeMistake("LG102", f"{name} needs a dimension; the operand is a scalar", "give it a vector")
            if dims.count(self.dim(dims)) != 1:
                raise ShapeMistake(
                    "LG101",
                    f"{name} cannot go over {self.dim(dims)!r}: the operand has {spell(dims)}",
                    f"name one of {', '.join(map(repr, dims))}",
                )
        rest = [{dim for dim in dims if dim != self.dim(dims)} for dims in operands]
        if any(each != rest[0] for each in rest):
            raise ShapeMistake(
                "LG102",
                f"{name} cannot go over {' and '.join(map(spell, operands))} together",
                "besides the dimension that is normalised, all must have the same ones",
            )
        return operands[self.index]

    def check_values(self) -> None:
        """Raises :class:`ShapeMistake` where there are no values, or a number stands among them."""
        numbers = [value for value in self.values if isinstance(value, Number)]
        if numbers or not self.values:
            what = f"the number {float(numbers[0]):g} for a value" if numbers else "no value"
            raise ShapeMistake("LG117", f"{self.written} is given {what}", f"call it as in {self.usage}")

    written: ClassVar[str] = ""
    """The name of the function that makes it."""
    usage: ClassVar[str] = ""
    """How it is called."""


class Softmax(Normalization):
    """Positive entries that sum to 1: ``exp(v) / sum exp(v)``."""

    written = "softmax"
    usage = "softmax(a, 'key')"


class LayerNorm(Normalization):
    """Entries shifted to mean 0 and scaled to variance 1: ``(v - mean) / sqrt(variance + epsilon)``."""

    written = "layer_norm"
    usage = "layer_norm(a, 'key', epsilon=1e-5)"
    options = 1

    @property
    def epsilon(self) -> Expr:
        """What is added to the variance."""
        return self.args[-1]

    def shape(self, operands: Sequence[Dims]) -> Dims:
        if not isinstance(self.epsilon, Number) or not 0 <= float(self.epsilon) < float("inf"):
            raise ShapeMistake(
                "LG117",
                f"layer_norm cannot have epsilon={spell_any(self.epsilon)}",
                "epsilon is a number, zero or more",
            )
        return super().shape(operands)


def softmax(*values: Any, dim: str | None = None) -> Any:
    """Positive entries that sum to 1 along ``dim``, the last dimension unless given, as in ``softmax(s, "key")``.

    Several values are normalised together, so that all their entries sum to 1, and come back as a tuple:
    ``p, q = softmax(s, u)``. The largest entry is subtracted first, so that no exponential overflows.
    """
    return _normalized(Softmax, values, dim)


def layer_norm(*values: Any, dim: str | None = None, epsilon: float = 1e-5) -> Any:
    """Entries shifted to mean 0 and scaled to variance 1 along ``dim``, the last dimension unless given.

    Computes (v - mean) / sqrt(variance + epsilon); gain and bias are parameters of the cell. Several values share one
    mean and one variance and come back as a tuple: ``n_f, n_i = layer_norm(a_f, a_i)`` (Ba, Kiros & Hinton, arXiv
    1607.06450, 2016).
    """
    return _normalized(LayerNorm, values, dim, epsilon)


def _normalized(kind: type[Normalization], values: tuple[Any, ...], dim: str | None, *options: Any) -> Any:
    if len(values) > 1 and isinstance(values[-1], str):
        values, dim = values[:-1], values[-1]
    in_one = len(values) == 1 and isinstance(values[0], tuple | list)
    values = tuple(values[0]) if in_one else values
    made = tuple(kind(values, index, "" if dim is None else dim, *options) for index in range(len(values) or 1))
    return made if in_one or len(made) > 1 else made[0]
