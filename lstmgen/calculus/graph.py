"""Graphs: single-assignment lists of equations in A-normal form.

In A-normal form an expression is one elementwise expression over symbols, one call of a nonlinear function, or one
structural operation; whatever is worth reusing has a name. Every value depends on parameters only (*shared*), on
parameters and inputs (*input-only*), or on states as well (*recurrent*).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from sympy import Add, Expr, Mul, Number, NumberSymbol, Pow
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, Boolean, Not, Or

from lstmgen.calculus.operations import Total
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.normalizations import Normalization
from lstmgen.declare.operations import Matmul, MeanOver, Operation, Outer
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.errors import InternalError


class Dependence(IntEnum):
    """What a value depends on; a value is as dependent as the most dependent of its operands."""

    SHARED = 0
    INPUT_ONLY = 1
    RECURRENT = 2


def operands_of(expression: Expr) -> tuple[Value, ...]:
    """The values an expression reads, each once, in the order it first reads them."""
    found: dict[Value, None] = {}

    def visit(node: Expr) -> None:
        if isinstance(node, Value):
            found.setdefault(node)
        for arg in node.args:
            visit(arg)

    visit(expression)
    return tuple(found)


def is_call(expression: Expr) -> bool:
    """Whether ``expression`` is a call of a nonlinear function."""
    return type(expression) in DEFINITIONS


def is_atom(expression: Expr) -> bool:
    """Whether ``expression`` is a value or a number."""
    return isinstance(expression, Value | Number | NumberSymbol)


def is_condition(expression: object) -> bool:
    """Whether ``expression`` is a comparison, or several of them combined."""
    return isinstance(expression, Relational | And | Or | Not)


@dataclass(frozen=True)
class Graph:
    """``free`` are the values given from outside, ``results`` those that are asked for."""

    name: str
    free: tuple[Value, ...]
    equations: tuple[Equation, ...]
    results: tuple[Value, ...]

    def definitions(self) -> dict[Value, Equation]:
        """The equations by their targets."""
        return {equation.target: equation for equation in self.equations}

    def dependence(self, known: Mapping[Value, Dependence] | None = None) -> dict[Value, Dependence]:
        """What every value depends on; ``known`` says it for free values whose role does not."""
        found = dict(known or {})
        by_role = {
            **dict.fromkeys(SHARED_ROLES, Dependence.SHARED),
            **dict.fromkeys([Role.INPUT, Role.STEP_INDEX], Dependence.INPUT_ONLY),
        }
        for value in self.free:
            found.setdefault(value, by_role.get(value.role, Dependence.RECURRENT))
        for equation in self.equations:
            if isinstance(equation.expression, Total):
                found[equation.target] = Dependence.SHARED
            else:
                classes = [found[value] for value in operands_of(equation.expression)]
                found[equation.target] = max(classes, default=Dependence.SHARED)
        return found

    def uses(self) -> dict[Value, tuple[Equation, ...]]:
        """For every value the equations that read it, in order."""
        found: dict[Value, list[Equation]] = {}
        for equation in self.equations:
            for value in operands_of(equation.expression):
                found.setdefault(value, []).append(equation)
        return {value: tuple(equations) for value, equations in found.items()}

    def verify(self) -> Graph:
        """The graph itself, if it keeps what it promises; :class:`InternalError` where it does not."""
        defined: set[Value] = set(self.free)
        names = {value.name for value in self.free}
        if len(names) != len(self.free):
            raise InternalError(f"graph {self.name}: two free values share a name")
        for equation in self.equations:
            target, expression = equation.target, equation.expression
            missing = [value.name for value in operands_of(expression) if value not in defined]
            if missing:
                raise InternalError(f"graph {self.name}: {target} reads {', '.join(missing)} before it is defined")
            if target.name in names:
                raise InternalError(f"graph {self.name}: {target} is defined twice")
            if not _in_normal_form(expression):
                raise InternalError(f"graph {self.name}: {target} = {expression} is not in A-normal form")
            dims = dims_of(expression)
            fits = set(dims) <= set(target.dims) if is_elementwise(expression) else dims == target.dims
            if not fits:
                raise InternalError(f"graph {self.name}: {target} has {target.dims}, its expression {dims}")
            defined.add(target)
            names.add(target.name)
        lost = [value.name for value in self.results if value not in defined]
        if lost:
            raise InternalError(f"graph {self.name}: nothing defines {', '.join(lost)}")
        return self

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.equations)


def is_elementwise(expression: Expr) -> bool:
    """Whether ``expression`` is algebra over symbols and numbers, or a call: no structural operation."""
    return not isinstance(expression, Operation)


def _in_normal_form(expression: Expr) -> bool:
    if isinstance(expression, Operation):
        # What a declaration writes with @, outer, mean_over, softmax and layer_norm is made of other equations here.
        declared = isinstance(expression, Matmul | Outer | MeanOver | Normalization)
        return not declared and all(is_atom(value) for value in expression.values)
    if is_call(expression):
        return all(is_atom(arg) or (is_condition(arg) and _condition_over_atoms(arg)) for arg in expression.args)
    return _is_algebra(expression)


def _condition_over_atoms(condition: Boolean) -> bool:
    if isinstance(condition, Relational):
        return all(is_atom(side) for side in condition.args)
    return all(_condition_over_atoms(arg) for arg in condition.args)


def _is_algebra(expression: Expr) -> bool:
    if is_atom(expression):
        return True
    return isinstance(expression, Add | Mul | Pow) and all(_is_algebra(arg) for arg in expression.args)


def substitute(expression: Expr, replacement: Mapping[Value, Expr]) -> Expr:
    """``expression`` with values replaced and every sum and product left as it stands (``xreplace`` would reorder)."""
    if isinstance(expression, Value):
        return replacement.get(expression, expression)
    if not expression.args or not (expression.free_symbols & replacement.keys()):
        return expression
    arguments = [substitute(arg, replacement) for arg in expression.args]
    if isinstance(expression, Add | Mul | Pow) or is_condition(expression):
        return expression.func(*arguments, evaluate=False)
    return expression.func(*arguments)
