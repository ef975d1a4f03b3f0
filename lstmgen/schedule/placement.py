"""Placement: what leaves the time loop.

A pass goes through the steps chunk by chunk, and through a chunk's steps in the time loop. Forward, whatever depends
on no state is computed for all steps of a chunk before its loop, and products that no state depends on after it.
Backward, the adjoints that no earlier step depends on (those of parameters and inputs) are computed after the loop from
what it kept, and those that depend on the loss alone before it; what depends on totals waits for the last chunk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sympy import Add, Expr, Mul

from lstmgen.calculus.graph import Dependence, Graph, operands_of, substitute
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.text import split_sign
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import Dims
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
    totals: set[Value] = set()
    placed = []
    for equation in equations:
        target, expression = equation.target, equation.expression
        reads = operands_of(expression)
        # What is handed on is computed in the loop, whatever it depends on, and so is what reads it.
        depends = Dependence.RECURRENT if any(value in looped for value in reads) else dependence[target]
        if any(value in totals for value in reads):
            region = Region.END
        elif target in handed_on or target in tied:
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
        if isinstance(expression, Total) or region is Region.END:
            totals.add(target)
        if region is Region.AFTER:
            deferred.add(target)
        elif region is Region.LOOP:
            looped.add(target)
        placed.append(Work(target, expression, region, (equation,)))
    return _with_large_ones_in_loop(placed)


def _with_large_ones_in_loop(work: Sequence[Work]) -> tuple[Work, ...]:
    """Keeps outer products that only the loop reads in the loop: for many steps at once they would fill the memory."""
    read_in: dict[Value, set[Region]] = {}
    found: list[Work] = []
    for each in reversed(work):
        readers = read_in.get(each.target, set())
        if each.region is Region.BEFORE and readers == {Region.LOOP} and _is_outer(each.expression):
            each = replace(each, region=Region.LOOP)
        for value in each.reads:
            read_in.setdefault(value, set()).add(each.region)
        found.append(each)
    return tuple(reversed(found))


def _is_outer(expression: Expr) -> bool:
    return isinstance(expression, Contract) and {*expression.axes[0], *expression.axes[1]} == {*expression.axes[2]}


def _multiplies_parameter(expression: Expr, dependence: Mapping[Value, Dependence]) -> bool:
    return isinstance(expression, Contract) and any(
        isinstance(value, Value) and dependence[value] is Dependence.SHARED for value in expression.values
    )


def split_sums(
    graph: Graph, dependence: Mapping[Value, Dependence]
) -> tuple[tuple[Equation, ...], dict[Value, Dependence]]:
    """Takes what depends on inputs alone out of recurrent sums and products, into equations of their own.

    ``a_f = W_f @ x + U_f @ h_prev + b_f`` becomes ``a_f_x = W_f @ x + b_f`` and ``a_f = a_f_x + U_f @ h_prev``, so that
    the first can leave the loop; where ``z`` and ``n`` depend on no state, ``h = (1 - z) * h_prev + z * n`` becomes
    ``h = h_z * h_prev + h_n``. Returns the equations and what each value depends on.
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
        if found[target] is Dependence.RECURRENT and isinstance(expression, Add | Mul):
            parts: list[Equation] = []
            expression = _without_static(expression, found, _Parts(equation, names, parts))
            found |= dict.fromkeys((part.target for part in parts), Dependence.INPUT_ONLY)
            equations += parts
        equations.append(replace(equation, expression=expression))
    return tuple(equations), found


@dataclass(frozen=True)
class _Parts:
    """Makes names for the parts of an equation that depend on inputs alone."""

    equation: Equation
    names: set[str]
    found: list[Equation]

    def name(self, expression: Expr, dims: Dims) -> Value:
        target = self.equation.target
        names = [f"{target.name}_{value.name}" for value in reversed(operands_of(expression))]
        name = next((each for each in names if each not in self.names), names[0])
        while name in self.names:
            name += "_"
        self.names.add(name)
        part = Value(name, dims, Role.INTERMEDIATE)
        self.found.append(Equation(part, expression, "", self.equation.place))
        return part


def _without_static(expression: Expr, dependence: Mapping[Value, Dependence], parts: _Parts) -> Expr:
    """A recurrent sum or product with values for what in it depends on inputs alone, where that is to be computed."""
    args = list(expression.args)
    static = [each for each in args if operands_of(each) and _static(each, dependence)]
    operands = [value for each in static for value in operands_of(each)]
    present = {dim for value in operands for dim in value.dims}
    dims = tuple(dim for dim in parts.equation.target.dims if dim in present)
    # As large as one of what it is made of, or many steps of it would take more memory than they save time.
    fits = any(dependence[value] is Dependence.INPUT_ONLY and {*value.dims} >= present for value in operands)
    if fits and (len(static) > 1 or not isinstance(split_sign(static[0])[1], Value)):
        whole = static[0] if len(static) == 1 else expression.func(*static, evaluate=False)
        first = args.index(static[0])
        rest = [each for each in args if each not in static]
        args = [*rest[:first], parts.name(whole, dims), *rest[first:]]
    kept = []
    for each in args:
        mixed = isinstance(each, Add | Mul) and not _static(each, dependence)
        kept.append(_without_static(each, dependence, parts) if mixed else each)
    return kept[0] if len(kept) == 1 else expression.func(*kept, evaluate=False)


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
