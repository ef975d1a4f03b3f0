"""Scales folded into parameters: ``sigmoid(a) = 1/2 * tanh(1/2 * a) + 1/2`` without the multiplication of ``a``.

A target may compute a function as another one of a scaled argument (:class:`Fold`). Where the argument adds up terms
that are each linear in a parameter, copies of these parameters that are scaled once, when they are packed for the loop,
make it come out scaled at every step: ``half_a_f = (W_f / 2) @ x + (U_f / 2) @ h_prev + b_f / 2``. The inner function
then has an equation of its own, so that one call can cover it and the same function elsewhere: the gates and the
candidate of an LSTM.

Only the equations of forward and of rebuilding are rewritten. The parameters themselves are never written to, and
backward reads them unscaled.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer, Mul, Pow, Rational

from lstmgen.calculus.graph import Dependence, Graph, is_call, operands_of, substitute
from lstmgen.calculus.operations import Contract, Unflatten
from lstmgen.calculus.text import Text, inlined_products, number
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import DEFINITIONS
from lstmgen.declare.operations import Flatten, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value
from lstmgen.schedule.target import Fold
from lstmgen.schedule.work import Slot, Stack, Work

_FUNCTIONS = {each.name: each.function for each in DEFINITIONS.values()}
_WORDS = {0.5: ("half", "halved"), 2.0: ("twice", "doubled")}


@dataclass(frozen=True)
class Scaling:
    """What folding made of the equations of a step.

    ``scales`` are the factors with which parameters are packed for it, where that is not 1; ``folds`` are those in use,
    ``inner`` the values of their inner functions.
    """

    graph: Graph
    scales: dict[Value, float]
    folds: tuple[Fold, ...]
    inner: tuple[Value, ...]


def fold_scales(graph: Graph, fixed: Collection[Value], folds: Iterable[Fold]) -> Scaling:
    """Rewrites ``graph`` so that functions in ``folds`` find their arguments scaled, wherever parameters can see to it.

    That is where the argument is a sum of terms linear in one parameter each, directly or through further equations,
    and where these parameters and all values on the way serve nothing else. ``fixed`` values, such as residuals and
    results, must come out as they are.
    """
    known = {fold.function: fold for fold in folds}
    dependence = graph.dependence()
    linear = _Linear(graph.definitions(), graph.uses(), frozenset(fixed))
    folded: dict[Value, Fold] = {}
    scales: dict[Value, float] = {}
    scaled: dict[Value, float] = {}
    for equation in graph.equations:
        call = equation.expression
        fold = known.get(type(call).__name__) if is_call(call) else None
        # What depends on parameters alone is computed once: nothing is gained there.
        if fold is None or not isinstance(call.args[0], Value) or dependence[equation.target] is Dependence.SHARED:
            continue
        terms = linear.value(call.args[0])
        if terms is not None and terms.is_consistent and terms.values:
            folded[equation.target] = fold
            scales |= dict.fromkeys(terms.parameters, fold.input_scale)
            scaled |= dict.fromkeys(terms.values, fold.input_scale)
    rewritten, inner = _rewritten(graph, folded, scaled)
    return Scaling(rewritten, scales, tuple(dict.fromkeys(folded.values())), inner)


def rejoin(
    inner: Iterable[Value], work: Sequence[Work], stacks: Sequence[Stack], slots: Mapping[Value, Slot]
) -> tuple[tuple[Work, ...], tuple[Stack, ...], dict[Value, Slot]]:
    """Puts every inner function that came to share no call back into the work that reads it, which saves it a place."""
    by_target = {each.target: each for each in work}
    gone: dict[Value, Expr] = {}
    for value in inner:
        readers = [each for each in work if value in each.reads]
        if value in by_target and len(readers) == 1 and readers[0].target.dims == value.dims:
            gone[value] = by_target[value].expression

    def joined(each: Work) -> Work:
        if gone.keys().isdisjoint(each.reads):
            return each
        sources = tuple(replace(source, expression=substitute(source.expression, gone)) for source in each.sources)
        return replace(each, expression=substitute(each.expression, gone), sources=sources)

    return (
        tuple(joined(each) for each in work if each.target not in gone),
        tuple(
            replace(stack, members=tuple(tuple(each for each in slot if each not in gone) for slot in stack.members))
            for stack in stacks
        ),
        {value: slot for value, slot in slots.items() if value not in gone},
    )


def as_packed(scales: Mapping[Value, float]) -> dict[Value, Expr]:
    """Parameters that are packed scaled, as equations print them: ``W_f / 2``."""
    return {value: _times(Value(value.name, value.dims, Role.VALUE), scale) for value, scale in scales.items()}


def explanation(fold: Fold) -> str:
    """Why some parameters are packed scaled: a comment for where they are."""
    argument = Value("a")
    identity = f"{fold.function}(a) = {Text()(_outer(_inner(fold, _scaled(argument, fold.input_scale)), fold))}"
    return f"{identity}: parameters that serve such an a alone are packed times {number(Rational(fold.input_scale))}."


@dataclass(frozen=True)
class _Terms:
    """What a sum is linear in, all at once: scaling every one of ``parameters`` scales the sum.

    ``values`` are defined by equations and come out scaled with it; ``others`` are its factors besides, which must not.
    """

    parameters: tuple[Value, ...] = ()
    values: tuple[Value, ...] = ()
    others: tuple[Value, ...] = ()

    @property
    def is_consistent(self) -> bool:
        """Whether nothing is to be scaled in one place and left as it is in another."""
        return {*self.parameters, *self.values}.isdisjoint(self.others)

    def __add__(self, more: _Terms) -> _Terms:
        return _Terms((*self.parameters, *more.parameters), (*self.values, *more.values), (*self.others, *more.others))


@dataclass(frozen=True)
class _Linear:
    """Finds the parameters by which expressions can be scaled; None where they cannot."""

    definitions: Mapping[Value, Equation]
    uses: Mapping[Value, Sequence[Equation]]
    fixed: frozenset[Value]

    def value(self, value: Value) -> _Terms | None:
        if value in self.fixed or len(self.uses[value]) != 1:
            return None
        if value.role == Role.PARAMETER:
            return _Terms(parameters=(value,))
        if value not in self.definitions:
            return None
        terms = self.expression(self.definitions[value].expression)
        return None if terms is None else terms + _Terms(values=(value,))

    def expression(self, expression: Expr) -> _Terms | None:
        if isinstance(expression, Value):
            return self.value(expression)
        if isinstance(expression, Add):
            total = _Terms()
            for each in expression.args:
                terms = self.expression(each)
                if terms is None:
                    return None
                total += terms
            return total
        if isinstance(expression, Mul):
            return self._factors(expression.args)
        if isinstance(expression, Contract):
            return self._factors(expression.values)
        if isinstance(expression, SumOver | Transpose | Flatten | Unflatten):
            return self.expression(expression.values[0])
        return None

    def _factors(self, factors: Sequence[Expr]) -> _Terms | None:
        """A product is scaled by one factor: its only parameter, or if it has none the only one that can be."""
        found = [index for index, each in enumerate(factors) if _is_parameter(each)]
        found = found or [index for index, each in enumerate(factors) if self.expression(each) is not None]
        if len(found) != 1:
            return None
        terms = self.expression(factors[found[0]])
        others = tuple(value for index, each in enumerate(factors) if index not in found for value in operands_of(each))
        return None if terms is None else terms + _Terms(others=others)


def _is_parameter(factor: Expr) -> bool:
    return isinstance(factor, Value) and factor.role == Role.PARAMETER


def _rewritten(
    graph: Graph, folded: Mapping[Value, Fold], scaled: Mapping[Value, float]
) -> tuple[Graph, tuple[Value, ...]]:
    """``graph`` with ``scaled`` values under names that say so, and ``folded`` calls as those of the inner function.

    Products that are printed in place keep their names, which are never read. Returns the inner functions' values, too.
    """
    if not folded:
        return graph, ()
    taken = {value.name for value in (*graph.free, *graph.definitions())}

    def fresh(name: str) -> str:
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    inlined = inlined_products(graph).keys() - {graph.definitions()[each].expression.args[0] for each in folded}
    renamed = {
        value: Value(fresh(f"{_words(scale)[0]}_{value.name}"), value.dims, value.role)
        for value, scale in scaled.items()
        if value not in inlined
    }
    equations: list[Equation] = []
    inner: list[Value] = []
    for equation in graph.equations:
        target, expression, place = equation.target, substitute(equation.expression, renamed), equation.place
        if target in folded:
            fold, argument = folded[target], expression.args[0]
            inner.append(Value(fresh(f"{fold.inner}_{argument.name}"), argument.dims, Role.INTERMEDIATE))
            equations.append(Equation(inner[-1], _inner(fold, argument), "", place))
            meant = equation.expression.args[0]
            written = equation.expression.func(Value(meant.name, meant.dims, Role.VALUE))
            equations.append(Equation(target, _outer(inner[-1], fold), equation.description, place, written))
        elif target in renamed:
            description = equation.description and f"{equation.description}, {_words(scaled[target])[1]}"
            equations.append(Equation(renamed[target], expression, description, place))
        else:
            equations.append(Equation(target, expression, equation.description, place))
    return Graph(graph.name, graph.free, tuple(equations), graph.results).verify(), tuple(inner)


def _words(scale: float) -> tuple[str, str]:
    return _WORDS.get(scale, ("scaled", "scaled"))


def _inner(fold: Fold, argument: Expr) -> Expr:
    return _FUNCTIONS[fold.inner](argument)


def _outer(inner: Expr, fold: Fold) -> Expr:
    """``output_scale * inner + shift``."""
    value = _scaled(inner, fold.output_scale)
    return value if fold.shift == 0 else Add(value, Rational(fold.shift), evaluate=False)


def _scaled(value: Expr, scale: float) -> Expr:
    return value if scale == 1 else Mul(Rational(scale), value, evaluate=False)


def _times(value: Expr, scale: float) -> Expr:
    """``scale * value``, as a quotient where it is one."""
    factor = Rational(scale)
    if factor.p == 1 and factor.q != 1:
        return Mul(value, Pow(Integer(factor.q), -1, evaluate=False), evaluate=False)
    return _scaled(value, scale)
