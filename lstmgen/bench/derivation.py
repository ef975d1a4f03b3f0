"""From a gradient's equations to its :class:`Floor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from sympy import Add, Expr, Mul, Number

from lstmgen.bench.floor import BATCH, STEPS, Factor, Floor, When, merge, split_axes
from lstmgen.calculus.graph import Dependence, Graph, operands_of
from lstmgen.calculus.operations import Contract, Total
from lstmgen.calculus.reverse import Gradient, Origin
from lstmgen.declare.declaration import Equation
from lstmgen.declare.operations import StopGradient
from lstmgen.declare.symbols import Value

Known = Mapping[Value, Dependence]


def derive_floor(gradient: Gradient) -> Floor:
    """The matrix products that no implementation of the cell can do without."""
    primal, adjoint, states = gradient.primal, gradient.adjoint, gradient.declaration.states
    dependence = primal.dependence()
    names = _one_name([*primal.equations, *adjoint.equations])
    forward = _Pass(primal, dependence, frozenset(state.next for state in states), names)
    # Going backwards, all that forward computed is known; only what the next step sends back is not.
    known = {value: min(depends, Dependence.INPUT_ONLY) for value, depends in dependence.items()}
    for seed in gradient.seeds:
        later = seed.origin is Origin.NEXT_STEP
        known[seed.adjoint] = Dependence.RECURRENT if later else Dependence.INPUT_ONLY
    sent = frozenset(gradient.adjoints[each.previous] for each in states if each.previous in gradient.adjoints)
    backward = _Pass(adjoint, adjoint.dependence(known), sent, names)
    return Floor(merge(forward.factors()), merge(backward.factors()))


def _one_name(equations: Iterable[Equation]) -> dict[Value, Value]:
    """For every value that is another by a second name, that other."""
    found: dict[Value, Value] = {}
    for each in equations:
        value = each.expression.args[0] if isinstance(each.expression, StopGradient) else each.expression
        if isinstance(value, Value) and value.dims == each.target.dims:
            found[each.target] = found.get(value, value)
    return found


@dataclass(frozen=True)
class _Pass:
    """The equations of one pass. ``handed_on`` are the values that the next step of its loop receives."""

    graph: Graph
    dependence: Known
    handed_on: frozenset[Value]
    names: Mapping[Value, Value]

    def factors(self) -> Iterator[Factor]:
        """Every product of two values that is part of a matrix product."""
        needed = self._ancestors()
        sums = self._sums()
        totals = self._totals()
        for each in self.graph.equations:
            if isinstance(each.expression, Contract) and all(isinstance(v, Value) for v in each.expression.values):
                found = self._factor(each, each.target in needed, sums.get(each.target, ""), each.target in totals)
                if found is not None:
                    yield found

    def _factor(self, equation: Equation, needed: bool, sums: str, totalled: bool) -> Factor | None:
        left, right = equation.expression.values
        of_left, of_right, of_out = equation.expression.axes
        if self._has_rows(left) and not self._has_rows(right):  # the matrix comes first
            left, right, of_left, of_right = right, left, of_right, of_left
        stack, rows, inner, columns = split_axes(left.dims, right.dims, (of_left, of_right, of_out))
        names = self.names.get(left, left).name, self.names.get(right, right).name
        if not self._has_rows(right):
            return Factor(When.ONCE, *names, stack, rows, inner, columns, sums) if inner else None
        if totalled and self._has_rows(left):
            return Factor(When.ALL_STEPS, *names, stack, rows, (*inner, STEPS, BATCH), columns, total=True)
        if self._has_rows(left):
            if not inner or not (rows or columns):
                return None
            return Factor(When.EVERY_STEP, *names, (BATCH, *stack), rows, inner, columns)
        if not inner and not rows:
            return None
        looped = needed and self.dependence[right] is Dependence.RECURRENT
        over = (BATCH,) if looped else (STEPS, BATCH)
        when = When.EVERY_STEP if looped else When.ALL_STEPS
        return Factor(when, *names, stack, rows, inner, (*columns, *over), sums)

    def _has_rows(self, value: Value) -> bool:
        return self.dependence[value] is not Dependence.SHARED

    def _ancestors(self) -> set[Value]:
        """What the next step of the loop waits for."""
        found = set(self.handed_on)
        for each in reversed(self.graph.equations):
            if each.target in found:
                found |= set(operands_of(each.expression))
        return found

    def _totals(self) -> set[Value]:
        """Values that are only ever summed over rows and steps."""
        uses = self.graph.uses()
        summed = {each.expression.args[0] for each in self.graph.equations if isinstance(each.expression, Total)}
        return {value for value in summed if len(uses[value]) == 1}

    def _sums(self) -> dict[Value, str]:
        """For every value that one sum alone reads, a name for that sum."""
        uses, results = self.graph.uses(), set(self.graph.results)
        found: dict[Value, str] = {}
        for each in self.graph.equations:
            for number, terms in enumerate(_terms(each.expression)):
                for value in terms:
                    if len(uses[value]) == 1 and value not in results:
                        found[value] = f"{each.target.name}[{number}]"
        return found


def _terms(expression: Expr) -> Iterator[tuple[Value, ...]]:
    """The values that each sum in ``expression`` adds up, times numbers or not."""
    if isinstance(expression, Add):
        bare = [_without_number(term) for term in expression.args]
        yield tuple(term for term in bare if isinstance(term, Value))
    for arg in expression.args:
        yield from _terms(arg)


def _without_number(term: Expr) -> Expr:
    if isinstance(term, Mul):
        factors = [factor for factor in term.args if not isinstance(factor, Number)]
        return factors[0] if len(factors) == 1 else term
    return term
