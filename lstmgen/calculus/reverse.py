"""Reverse mode: graph in, adjoint graph and the steps of its derivation out.

The equations are walked backwards, one at a time. Each use of a value adds one contribution to its adjoint, by one use
of the chain rule: a :class:`Step`. The printed derivation and the emitted kernel both come from these steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sympy import Add, Expr, Integer, Mul, diff

from lstmgen.calculus.graph import Dependence, Graph, is_atom, is_call, operands_of
from lstmgen.calculus.normal_form import Normalizer
from lstmgen.calculus.operations import Total
from lstmgen.calculus.ordering import Ordering
from lstmgen.calculus.rules import VJP
from lstmgen.declare.canonical import rebuild
from lstmgen.declare.declaration import Declaration, Equation
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Operation, SumOver
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import SHARED_ROLES, Role, Value
from lstmgen.errors import InternalError


@dataclass(frozen=True)
class Step:
    """One use of the chain rule: what ``equation`` contributes to the adjoint of ``operand``.

    ``partial`` is the local derivative of an elementwise equation, None where a structural rule applied;
    ``contribution`` is the whole term, in the adjoint of the equation's target.
    """

    equation: Equation
    operand: Value
    rule: str
    partial: Expr | None
    contribution: Expr


class Origin(StrEnum):
    """Where an adjoint that comes into a step comes from."""

    LOSS = "loss"
    NEXT_STEP = "next step"


@dataclass(frozen=True)
class Seed:
    """An adjoint that comes in from outside a step: from the loss, or from the step after."""

    adjoint: Value
    of: Value
    origin: Origin


@dataclass(frozen=True)
class Gradient:
    """The adjoint of a cell's step.

    ``adjoints`` maps every value that the loss depends on to the symbol that holds its adjoint. ``residuals`` are the
    primal values that the adjoint graph reads, parameters and sizes left out.
    """

    declaration: Declaration
    primal: Graph
    adjoint: Graph
    adjoints: dict[Value, Value]
    seeds: tuple[Seed, ...]
    residuals: tuple[Value, ...]
    steps: tuple[Step, ...]


def adjoint_name(value: Value) -> str:
    """The name of a value's adjoint."""
    return f"d_{value.name}"


def differentiate(declaration: Declaration, primal: Graph) -> Gradient:
    """Differentiates one step: adjoints of outputs and next states in, of inputs, parameters, previous states out."""
    return _Reverse(declaration, primal).run()


class _Reverse:
    """The walk's state: contributions collected so far, by value."""

    def __init__(self, declaration: Declaration, primal: Graph) -> None:
        self.declaration = declaration
        self.primal = primal
        self.dependence = primal.dependence()
        self.uses = primal.uses()
        self.varying = _varying(primal)
        values = [*primal.free, *(equation.target for equation in primal.equations)]
        self.ordering = Ordering(values)
        self.normalizer = Normalizer(values)
        self.normalizer.reserve(adjoint_name(value) for value in values)
        self.contributions: dict[Value, list[Expr]] = {}
        self.adjoints: dict[Value, Value] = {}
        self.steps: list[Step] = []
        self.seeds = self._seed()
        self.descriptions = {equation.target: equation.description for equation in declaration.equations}

    def _seed(self) -> tuple[Seed, ...]:
        outputs = self.declaration.outputs
        several = len(outputs) > 1
        origins = [(each, f"d_outputs_{each.name}" if several else "d_outputs", Origin.LOSS) for each in outputs]
        origins += [(each.next, f"d_{each.name}_next", Origin.NEXT_STEP) for each in self.declaration.states]
        seeds = []
        for of, name, origin in origins:
            # The name may be taken: the adjoint of a value that a user called h_next is d_h_next.
            adjoint = Value(self.normalizer.fresh(name), of.dims, Role.ADJOINT)
            self.contributions.setdefault(of, []).append(adjoint)
            self.ordering.add(adjoint)
            seeds.append(Seed(adjoint, of, origin))
        return tuple(seeds)

    def run(self) -> Gradient:
        for equation in reversed(self.primal.equations):
            d_target = self._collect(equation.target)
            if d_target is not None:
                self._visit(equation, d_target)
        wanted = [
            *(state.previous for state in self.declaration.states),
            *self.declaration.inputs,
            *(parameter.value for parameter in self.declaration.parameters),
        ]
        for value in wanted:
            self._collect(value, always=True)
        results = tuple(dict.fromkeys(self.adjoints[value] for value in wanted if value in self.adjoints))
        equations = _needed(self.normalizer.equations, results)
        read = [value for equation in equations for value in operands_of(equation.expression)]
        primal_values = [*self.primal.free, *(equation.target for equation in self.primal.equations)]
        used = [value for value in primal_values if value in set(read)]
        sizes = [size for size in self.normalizer.sizes.values() if size in set(read) and size not in used]
        seeds = tuple(seed.adjoint for seed in self.seeds)
        adjoint = Graph(f"{self.primal.name}: adjoint", (*seeds, *used, *sizes), tuple(equations), results).verify()
        residuals = tuple(value for value in used if value.role not in SHARED_ROLES)
        return Gradient(self.declaration, self.primal, adjoint, self.adjoints, self.seeds, residuals, tuple(self.steps))

    def _collect(self, value: Value, *, always: bool = False) -> Value | None:
        """The adjoint of ``value``, defined as the sum of its contributions; None if the loss does not depend on it."""
        terms = self.contributions.get(value, [])
        if not terms:
            return None
        if value.role == Role.INTERMEDIATE and len(terms) == 1 and not always:
            (term,) = terms
            # A name that lstmgen gave to a term of a sum needs no adjoint of its own: it is the sum's, or a multiple
            # that another term of the sum has given a name to.
            known = term if isinstance(term, Value) else self.normalizer.named(term)
            if known is not None and known.dims == value.dims:
                self.adjoints[value] = known
                return known
        target = Value(adjoint_name(value), value.dims, Role.ADJOINT)
        expression = terms[0] if len(terms) == 1 else Add(*terms, evaluate=False)
        self.normalizer.define(target, expression, self.descriptions.get(value, ""))
        self.adjoints[value] = target
        self.ordering.add(target)
        return target

    def _visit(self, equation: Equation, d_target: Value) -> None:
        expression = equation.expression
        if isinstance(expression, Operation):
            rule = VJP.get(type(expression))
            if rule is None:
                raise InternalError(f"no rule differentiates {type(expression).__name__}; add one to calculus/rules.py")
            terms = rule(expression, equation.target, d_target)
            for operand, term in zip(expression.values, terms, strict=True):
                if isinstance(operand, Value) and term is not None:
                    self._contribute(equation, operand, rule.__name__, None, term)
            return
        for operand, partial in _partials(equation):
            if partial == 0:
                continue
            term = self.ordering.arrange(rebuild(Mul(d_target, partial)))
            rule_name = type(expression).__name__ if is_call(expression) else "elementwise"
            self._contribute(equation, operand, rule_name, self.ordering.arrange(partial), term)

    def _contribute(self, equation: Equation, operand: Value, rule: str, partial: Expr | None, term: Expr) -> None:
        if operand not in self.varying:
            return
        self.steps.append(Step(equation, operand, rule, partial, term))
        missing = [dim for dim in dims_of(term) if dim not in operand.dims]
        owner = f"{adjoint_name(operand)}_{equation.target.name}"
        shared = self.dependence[operand] == Dependence.SHARED
        totalled = shared and self.dependence[equation.target] != Dependence.SHARED
        for dim in missing:
            term = SumOver(self.normalizer.atom(term, owner, hint=f"{owner}_row"), dim)
        if totalled:
            term = Total(self.normalizer.atom(term, owner, hint=f"{adjoint_name(operand)}_row"))
        elif isinstance(term, Operation):
            term = self.normalizer.normal(term, owner)
        several = len(self.uses[operand]) > 1 or operand in self.contributions
        if isinstance(term, Operation) and several:
            term = self.normalizer.atom(term, owner, hint=owner)
        self.contributions.setdefault(operand, []).append(term)


def _varying(primal: Graph) -> set[Value]:
    """The values that depend on a parameter, an input or a state: those that can have an adjoint."""
    found = {value for value in primal.free if value.role in (Role.PARAMETER, Role.INPUT, Role.STATE)}
    for equation in primal.equations:
        if not found.isdisjoint(operands_of(equation.expression)):
            found.add(equation.target)
    return found


def _partials(equation: Equation) -> list[tuple[Value, Expr]]:
    """The local derivatives of an elementwise equation, by operand."""
    expression = equation.expression
    if is_atom(expression):
        return [(expression, Integer(1))] if isinstance(expression, Value) else []
    if is_call(expression):
        definition = DEFINITIONS[type(expression)]
        if definition.partials is None:
            raise InternalError(f"{definition.name} has no derivative")
        found: dict[Value, Expr] = {}
        partials = definition.partials(equation.target, *expression.args)
        for arg, partial in zip(expression.args, partials, strict=True):
            if isinstance(arg, Value):  # maximum(x, x) reads x twice
                found[arg] = found.get(arg, Integer(0)) + partial
        return list(found.items())
    evaluated = rebuild(expression)
    return [(operand, diff(evaluated, operand)) for operand in operands_of(expression)]


def _needed(equations: list[Equation], results: tuple[Value, ...]) -> list[Equation]:
    """The equations that some result depends on, in order: adjoints that lead to no result are dropped."""
    wanted = set(results)
    kept: list[Equation] = []
    for equation in reversed(equations):
        if equation.target in wanted:
            kept.append(equation)
            wanted |= set(operands_of(equation.expression))
    return kept[::-1]
