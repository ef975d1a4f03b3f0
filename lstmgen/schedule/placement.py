"""Placement: what leaves the time loop.

Forward, whatever depends on no state is computed for all steps before the loop, and products that no state depends on
after it. Backward, the adjoints that no earlier step depends on (those of parameters and inputs) are computed after the
loop from what it kept, and those that depend on the loss alone before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from sympy import Add, Expr

from lstmgen.calculus.graph import Dependence, Graph, operands_of, substitute
from lstmgen.calculus.operations import Contract, Total
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.work import Region, Work


def ancestors(equations: Sequence[Equation], of: Iterable[Value]) -> set[Value]:
    """Every value that one of ``of`` depends on, themselves included."""
    wanted = set(of)
    for equation in reversed(equations):
        if equation.target in wanted:
            wanted |= set(operands_of(equation.expression))
    return wanted


def place(
    equations: Sequence[Equation],
    dependence: Mapping[Value, Dependence],
    carried_out: Iterable[Value],
    *,
    defer: Literal["products", "all"],
    carried_in: Iterable[Value] = (),
) -> tuple[Work, ...]:
    """Gives every equation its region.

    ``carried_out`` are the values handed to the next step of the loop; ``carried_in`` are those handed in of which only
    the current one is at hand, so that what reads them stays in the loop. ``defer`` says what else may wait until after
    the loop: ``"products"`` with parameters and what follows from them, or ``"all"`` that is not carried.
    """
    handed_on, handed_in = set(carried_out), set(carried_in)
    tied = {each.target for each in equations if handed_in.intersection(operands_of(each.expression))}
    needed = ancestors(equations, handed_on | tied)
    looped: set[Value] = set()
    deferred: set[Value] = set()
    placed = []
    for equation in equations:
        target, expression = equation.target, equation.expression
        reads = operands_of(expression)
        # What is handed on is computed in the loop, whatever it depends on, and so is what reads it.
        depends = Dependence.RECURRENT if any(value in looped for value in reads) else dependence[target]
        if target in handed_on or target in tied:
            region = Region.LOOP
        elif isinstance(expression, Total) or any(value in deferred for value in reads):
            region = Region.AFTER
        elif depends is Dependence.SHARED:
            region = Region.ONCE
        elif depends is Dependence.INPUT_ONLY:
            region = Region.BEFORE
        elif target in needed or (defer == "products" and not _multiplies_parameter(expression, dependence)):
            region = Region.LOOP
        else:
            region = Region.AFTER
        if region is Region.AFTER:
            deferred.add(target)
        elif region is Region.LOOP:
            looped.add(target)
        placed.append(Work(target, expression, region, (equation,)))
    return tuple(placed)


def _multiplies_parameter(expression: Expr, dependence: Mapping[Value, Dependence]) -> bool:
    return isinstance(expression, Contract) and any(
        isinstance(value, Value) and dependence[value] is Dependence.SHARED for value in expression.values
    )


def split_sums(
    graph: Graph, dependence: Mapping[Value, Dependence]
) -> tuple[tuple[Equation, ...], dict[Value, Dependence]]:
    """Takes the terms of a recurrent sum that depend on inputs alone out into an equation of their own.

    ``a_f = W_f @ x + U_f @ h_prev + b_f`` becomes ``a_f_x = W_f @ x + b_f`` and ``a_f = a_f_x + U_f @ h_prev``, so that
    the first can leave the loop. Returns the equations and what each value depends on.
    """
    found = dict(dependence)
    names = {value.name for value in found}
    equations: list[Equation] = []
    for equation in graph.equations:
        target, expression = equation.target, equation.expression
        terms = list(expression.args) if isinstance(expression, Add) else []
        static = [term for term in terms if _static(term, found)]
        from_input = [
            term for term in static if any(found[value] is Dependence.INPUT_ONLY for value in operands_of(term))
        ]
        dims = set(target.dims)
        if (
            found[target] is Dependence.RECURRENT
            and from_input
            and len(static) >= 2
            and all(dims == {dim for value in operands_of(term) for dim in value.dims} for term in static)
        ):
            name = f"{target.name}_{operands_of(from_input[0])[0].name.rsplit('_', 1)[-1]}"
            while name in names:
                name += "_"
            names.add(name)
            part = Value(name, target.dims, Role.INTERMEDIATE)
            found[part] = Dependence.INPUT_ONLY
            equations.append(Equation(part, Add(*static, evaluate=False), "", equation.place))
            rest = [term for term in terms if term not in static]
            expression = Add(part, *rest, evaluate=False)
        equations.append(Equation(target, expression, equation.description, equation.place))
    return tuple(equations), found


def _static(term: Expr, dependence: Mapping[Value, Dependence]) -> bool:
    return all(dependence[value] is not Dependence.RECURRENT for value in operands_of(term))


def without_aliases(
    equations: Sequence[Equation], results: Iterable[Value], moving: Iterable[Value] = ()
) -> tuple[tuple[Equation, ...], dict[Value, Value]]:
    """Drops equations that only rename a value of equal dimensions, unless a result is defined so; returns the names.

    ``moving`` values are handed from step to step: their name stands for another step's value when the loop is over, so
    what renames them stays.
    """
    keep, moving = set(results), set(moving)
    renamed: dict[Value, Value] = {}
    kept = []
    for equation in equations:
        expression = substitute(equation.expression, renamed)
        target = equation.target
        renames = isinstance(expression, Value) and expression.dims == target.dims and expression not in moving
        if renames and target not in keep:
            renamed[target] = expression
        else:
            kept.append(Equation(target, expression, equation.description, equation.place))
    return tuple(kept), renamed
