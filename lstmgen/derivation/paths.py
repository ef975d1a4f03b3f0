"""The ways that lead from a state to the next one within a step, read off the calculus' own steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from sympy import Add, Expr, Integer, Mul

from lstmgen.calculus.graph import is_call
from lstmgen.calculus.ordering import Ordering
from lstmgen.calculus.reverse import Gradient, Step
from lstmgen.declare.canonical import rebuild
from lstmgen.declare.declaration import Declaration, State
from lstmgen.declare.functions import sigmoid
from lstmgen.declare.symbols import Role, Value

_UNNAMED = (Role.INTERMEDIATE, Role.PREACTIVATION)


def direct_path(gradient: Gradient, state: State) -> Expr | None:
    """The partial of a state by its previous value along sums and products, unit by unit.

    What an activation gives under a name of its own, as a gate, is held fixed; what lstmgen named itself, and
    pre-activations, are part of the equation they stand in. None where there is no such path, or where every one leads
    through an operation that mixes units.
    """
    arrange = _arrangement(gradient)
    passed = _passed(gradient)

    def along(target: Value) -> list[Expr]:
        found: list[Expr] = []
        for step in gradient.steps:
            if step.equation.target != target or not (step.operand == state.previous or step.operand in passed):
                continue
            if step.partial is not None:  # what mixes units is no part of the direct path
                rest = [Integer(1)] if step.operand == state.previous else along(step.operand)
                found += [rebuild(Mul(step.partial, each)) for each in rest]
        return found

    terms = along(state.next)
    return arrange(rebuild(Add(*terms))) if terms else None


def ways(gradient: Gradient, state: State, most: int) -> tuple[tuple[Step, ...], ...] | None:
    """All ways from a state's previous value to the next, as their steps in order; None if more than ``most``."""

    def to(target: Value) -> Iterator[tuple[Step, ...]]:
        for step in gradient.steps:
            if step.equation.target != target:
                continue
            if step.operand == state.previous:
                yield (step,)
            else:
                yield from ((*before, step) for before in to(step.operand))

    found = tuple(islice(to(state.next), most + 1))
    return found if len(found) <= most else None


def has_other_ways(gradient: Gradient) -> bool:
    """Whether anything but direct paths leads from states to the next ones."""
    nexts = {state.next for state in gradient.declaration.states}
    passed = _passed(gradient)

    def others(value: Value, own: Value) -> bool:
        if value == own:
            return bool(reached(gradient, value) & nexts)
        steps = [step for step in gradient.steps if step.operand == value]
        along = [step for step in steps if step.partial is not None]
        targets = {step.equation.target for step in along}
        direct = {target for target in targets if target == own or target in passed}
        beside = {step.equation.target for step in steps if step.partial is None} | (targets - direct)
        leaves = any(target in nexts or reached(gradient, target) & nexts for target in beside)
        leaves = leaves or any(target in nexts and target != own for target in direct)
        return leaves or any(others(target, own) for target in direct)

    states = gradient.declaration.states
    entered = {value for state in states for value in reached(gradient, state.previous)}
    # A state that no state reaches is made anew at every step: no way leads through it to the next.
    return any(others(state.previous, state.next) for state in states if state.next in entered)


def reached(gradient: Gradient, value: Value) -> set[Value]:
    """What a value enters within a step, at once or by other values."""
    found: set[Value] = set()
    waiting = [value]
    while waiting:
        here = waiting.pop()
        more = {step.equation.target for step in gradient.steps if step.operand == here} - found
        found |= more
        waiting += more
    return found


def gates_of(declaration: Declaration) -> dict[Value, Value | None]:
    """Values between 0 and 1 that a sigmoid gives, with the bias of each: the vector that is added to its maps."""
    defined = {equation.target: equation.expression for equation in declaration.equations}
    found = {}
    for target, expression in defined.items():
        if isinstance(expression, sigmoid):
            inner = defined.get(expression.args[0], expression.args[0])
            terms = inner.args if isinstance(inner, Add) else (inner,)
            biases = [term for term in terms if isinstance(term, Value) and term.role == Role.PARAMETER]
            found[target] = biases[0] if len(biases) == 1 else None
    return found


def _passed(gradient: Gradient) -> set[Value]:
    """The values that a direct path goes through: what has no name of its own, and what is no activation."""
    return {
        each.target
        for each in gradient.primal.equations
        if each.target.role in _UNNAMED or not is_call(each.expression)
    }


def _arrangement(gradient: Gradient) -> Callable[[Expr], Expr]:
    primal = gradient.primal
    return Ordering([*primal.free, *(equation.target for equation in primal.equations)]).arrange
