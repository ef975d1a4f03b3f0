"""Symbols with named dimensions.

A :class:`Value` is a SymPy ``Symbol`` that knows the names of its dimensions and the role it plays; elementwise algebra
on such symbols is SymPy's algebra. Values are identified by name, dimensions and role and by nothing else: descriptions
and places in the source live in the declaration, so that two traces of one cell give equal symbols.
"""

from __future__ import annotations

from typing import Any

from sympy import Expr, Symbol

from lstmgen.declare.dims import Dims
from lstmgen.declare.operations import Matmul, Transpose


class Role:
    """The roles a value can play; ``let`` may give any other word, for a notation to recognise."""

    INPUT = "input"
    PARAMETER = "parameter"
    STATE = "state"  # the value of the step before
    VALUE = "value"  # defined by an equation of this step
    PREACTIVATION = "pre-activation"
    INTERMEDIATE = "intermediate"  # named by lstmgen, not by the user
    SIZE = "size"
    CONSTANT = "constant"  # an array of numbers, fixed when the cell is traced
    STEP_INDEX = "step index"
    ADJOINT = "adjoint"


SHARED_ROLES = frozenset({Role.PARAMETER, Role.SIZE, Role.CONSTANT})
"""The roles of values from outside that are the same in every row and at every step."""


class Value(Symbol):  # type: ignore[misc]  # SymPy has no types
    """A real array-valued symbol with named dimensions.

    SymPy caches symbols by name and assumptions; this class goes past that cache (``__xnew__``), or a vector ``h`` and
    a matrix ``h`` of two cells would be one object.
    """

    __slots__ = ("dims", "role")

    dims: Dims
    role: str

    def __new__(cls, name: str, dims: Dims = (), role: str = Role.VALUE) -> Value:
        value: Value = Symbol.__xnew__(cls, name, real=True)
        value.dims = tuple(dims)
        value.role = role
        return value

    def _hashable_content(self) -> tuple[Any, ...]:
        return (self.name, self.dims, self.role)

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return ((self.name, self.dims, self.role), {})

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (Value, (self.name, self.dims, self.role))

    # SymPy's transpose of a real symbol is the symbol itself, which would make W - W.T vanish.
    @property
    def T(self) -> Expr:
        """The transpose: the last two dimensions exchanged."""
        return Transpose(self)

    def transpose(self) -> Expr:
        """The transpose: the last two dimensions exchanged."""
        return self.T

    def __matmul__(self, other: object) -> Expr:
        return Matmul(self, other)

    def __rmatmul__(self, other: object) -> Expr:
        return Matmul(other, self)
