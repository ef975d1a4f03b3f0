"""What the values of a cell are for: the roles by which a notation names them.

A described value has its description for its role. What parameters are for is seen from what they are multiplied with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sympy import Add, Expr, Mul

from lstmgen.calculus.graph import Dependence, Graph, is_call
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Gradient
from lstmgen.declare.declaration import Equation, State
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.notation import BIAS, GAIN, INPUT, INPUT_WEIGHTS, PEEPHOLE, RECURRENT_WEIGHTS


@dataclass(frozen=True)
class Use:
    """What a parameter is for: its role, and the value that it is multiplied with, None for one that is added.

    ``result`` is what the product is, or the sum.
    """

    role: str
    partner: Value | None
    result: Value


def roles(gradient: Gradient) -> dict[Value, str]:
    """The roles of all values that have one a notation can have a letter for."""
    declaration, primal = gradient.declaration, gradient.primal
    found = {equation.target: equation.description for equation in primal.equations if equation.description}
    found |= {declaration.inputs[0]: INPUT}
    found |= {state.previous: found[state.next] for state in declaration.states if state.next in found}
    return found | {parameter: use.role for parameter, use in uses_of_parameters(gradient).items()}


def uses_of_parameters(gradient: Gradient) -> Mapping[Value, Use]:
    """What parameters are for, by the first equation that tells: weights, gains, peepholes, biases."""
    declaration, dependence = gradient.declaration, gradient.primal.dependence()
    inner = {each for state in declaration.states if state.next not in declaration.outputs for each in _both(state)}
    outer = {each for state in declaration.states if state.next in declaration.outputs for each in _both(state)}

    def role_of(partner: Value | None, *, multiplied: bool) -> str:
        if partner is None:
            return BIAS
        if multiplied:
            known = {Dependence.RECURRENT: RECURRENT_WEIGHTS, Dependence.INPUT_ONLY: INPUT_WEIGHTS}
            return known.get(dependence[partner], "")
        return PEEPHOLE if partner in inner else RECURRENT_WEIGHTS if partner in outer else GAIN

    found: dict[Value, Use] = {}
    for equation in gradient.primal.equations:
        for parameter, partner in _pairs(equation.expression):
            role = role_of(partner, multiplied=isinstance(equation.expression, Contract))
            if parameter.role == Role.PARAMETER and parameter not in found and role:
                found[parameter] = Use(role, partner, equation.target)
    return found


def partners(equation: Equation, parameter: Value) -> Iterator[Value]:
    """What an equation multiplies a parameter with."""
    for one, other in _pairs(equation.expression):
        if other is not None and parameter in (one, other):
            yield other if one == parameter else one


def _both(state: State) -> tuple[Value, Value]:
    return state.previous, state.next


def is_preactivation(value: Value, primal: Graph) -> bool:
    """Whether ``value`` is an affine map that was declared as one, or what a described call is applied to."""
    if value.role == Role.PREACTIVATION:
        return True
    readers = primal.uses().get(value, ())
    return (
        value.role == Role.INTERMEDIATE
        and len(readers) == 1
        and is_call(readers[0].expression)
        and value.name == f"a_{readers[0].target.name}"
    )


def _pairs(expression: Expr) -> Iterator[tuple[Value, Value | None]]:
    """Every value with the other one of its product; None where it stands alone in a sum."""
    if isinstance(expression, Contract):
        left, right = expression.values
        assert isinstance(left, Value)
        assert isinstance(right, Value)
        yield left, right
    elif isinstance(expression, Mul):
        values = [factor for factor in expression.args if isinstance(factor, Value)]
        if len(expression.args) == len(values) == 2:
            yield values[0], values[1]
        for factor in expression.args:
            yield from _pairs(factor)
    elif isinstance(expression, Add):
        for term in expression.args:
            if isinstance(term, Value):
                yield term, None
            else:
                yield from _pairs(term)
