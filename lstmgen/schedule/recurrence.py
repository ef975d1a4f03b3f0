"""The recurrence class of a cell: how much its units exchange within a step, and whether its update is affine."""

from __future__ import annotations

from sympy import Add, Expr, Integer, Mul, diff

from lstmgen.calculus.graph import Dependence, Graph, is_call, operands_of
from lstmgen.calculus.operations import Contract
from lstmgen.declare.canonical import rebuild
from lstmgen.declare.declaration import Declaration
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Value
from lstmgen.schedule.work import Recurrence


def classify(declaration: Declaration, primal: Graph) -> Recurrence:
    """Counts exchanges on the longest path from state to state, and tests whether the update is affine."""
    dependence = primal.dependence()
    depth: dict[Value, int] = {state.previous: 0 for state in declaration.states}
    for equation in primal.equations:
        reached = [depth[value] for value in operands_of(equation.expression) if value in depth]
        if reached:
            exchange = isinstance(equation.expression, Contract | SumOver | MaxOver)
            depth[equation.target] = max(reached) + exchange
    exchanges = max((depth.get(state.next, 0) for state in declaration.states), default=0)
    return Recurrence(exchanges, _is_affine(declaration, primal, dependence))


def _is_affine(declaration: Declaration, primal: Graph, dependence: dict[Value, Dependence]) -> bool:
    affine = {state.previous for state in declaration.states}
    others: set[Value] = set()
    for equation in primal.equations:
        operands = operands_of(equation.expression)
        recurrent = [value for value in operands if dependence[value] is Dependence.RECURRENT]
        if not recurrent:
            continue
        if any(value in others for value in recurrent) or not _linear_in(equation.expression, recurrent):
            others.add(equation.target)
        else:
            affine.add(equation.target)
    return all(state.next in affine for state in declaration.states)


def _linear_in(expression: Expr, values: list[Value]) -> bool:
    if isinstance(expression, Contract):
        return sum(value in values for value in expression.values) == 1
    if isinstance(expression, Operation):
        return isinstance(expression, SumOver | Transpose | Flatten | StopGradient)
    if is_call(expression):
        return False
    if expression in values:
        return True
    if not isinstance(expression, Add | Mul):
        return False
    evaluated = rebuild(expression)
    return all(diff(evaluated, a, b) == Integer(0) for a in values for b in values)
