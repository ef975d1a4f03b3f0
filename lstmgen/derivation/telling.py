"""How a derivation is told: which values are printed in place, and the ways from a value to what the reader sees.

The calculus names every part of an equation, so that it can be computed once. A reader would rather see ``tanh(c)``
than a name for it. What is printed in place in a forward equation has no passage of its own in the backward pass
either: the ways through it go on to the equation it is part of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sympy import Expr

from lstmgen.calculus.graph import is_atom, is_call, operands_of
from lstmgen.calculus.reverse import Seed, Step, adjoint_name
from lstmgen.declare.declaration import Equation
from lstmgen.declare.operations import MaxOver, Operation, SumOver
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.narration import Derivation, Passage
from lstmgen.derivation.roles import is_preactivation

_MOST = 4  # operands of an expression that is printed in place
_MOST_IN_A_CALL = 2  # and as the argument of a function


@dataclass(frozen=True)
class Way:
    """One way a value reaches the loss: by a seed, or by steps, the first of which leaves an equation of the page."""

    seed: Seed | None
    steps: tuple[Step, ...]

    @property
    def target(self) -> Value:
        """The value that the way goes through."""
        return self.steps[0].equation.target


@dataclass(frozen=True)
class Told:
    """What is told of one value's adjoint. ``evidence`` are the calculus' equations that its formula stands for."""

    value: Value
    ways: tuple[Way, ...]
    equation: Equation
    borrowed: bool
    evidence: tuple[Equation, ...]


@dataclass(frozen=True)
class Telling:
    """A derivation as it is told: ``inline`` are values, and adjoints, that are printed as what defines them."""

    derivation: Derivation
    inline: dict[Value, Expr]
    forward: tuple[Equation, ...]
    backward: tuple[Told, ...]
    sums: tuple[Told, ...]

    def parts(self, equation: Equation) -> tuple[Equation, ...]:
        """The calculus' equations that a printed forward equation stands for."""
        return _closure(equation, self.inline, self.derivation.gradient.primal.definitions())


def tell(derivation: Derivation, *, in_place: bool = True) -> Telling:
    """How ``derivation`` is told. Without ``in_place``, what has a name in the generated code is told by its name."""
    gradient = derivation.gradient
    hidden = derivation.inlined_forward | (_in_place(derivation) if in_place else {})
    by_operand: dict[Value, list[Step]] = {}
    for step in gradient.steps:
        by_operand.setdefault(step.operand, []).append(step)
    defined = gradient.adjoint.definitions()
    readers = gradient.adjoint.uses()
    seeded = {seed.of for seed in gradient.seeds}
    folded: dict[Value, Step] = {}
    inline: dict[Value, Expr] = {**hidden, **derivation.inlined_backward}
    for value in hidden:
        symbol = gradient.adjoints.get(value)
        if symbol is None or value in seeded or len(by_operand.get(value, ())) != 1:
            continue
        own = symbol.name == adjoint_name(value) and symbol in defined
        if own and not (in_place and _fits(value, defined[symbol].expression, readers.get(symbol, ()))):
            continue
        folded[value] = by_operand[value][0]
        if own:
            inline[symbol] = defined[symbol].expression

    def ways(value: Value) -> tuple[Way, ...]:
        found = [Way(seed, ()) for seed in gradient.seeds if seed.of == value]
        for step in by_operand.get(value, ()):
            steps = [step]
            while steps[0].equation.target in folded:
                steps.insert(0, folded[steps[0].equation.target])
            found.append(Way(None, tuple(steps)))
        return tuple(found)

    def told(passages: tuple[Passage, ...]) -> tuple[Told, ...]:
        return tuple(
            Told(
                each.value,
                ways(each.value),
                each.equation,
                each.borrowed,
                () if each.borrowed else _closure(each.equation, inline, defined),
            )
            for each in passages
            if each.value not in folded
        )

    forward = tuple(equation for equation in gradient.primal.equations if equation.target not in hidden)
    return Telling(derivation, inline, forward, told(derivation.backward), told(derivation.sums))


def _in_place(derivation: Derivation) -> dict[Value, Expr]:
    """Intermediates that read better in place: calls of a value, and what one equation reads and is short."""
    primal = derivation.gradient.primal
    uses = primal.uses()
    defined = {equation.target: equation.expression for equation in primal.equations}
    found: dict[Value, Expr] = {}
    for equation in primal.equations:
        target, expression = equation.target, equation.expression
        if target.role != Role.INTERMEDIATE or isinstance(expression, Operation) or is_preactivation(target, primal):
            continue
        simple = is_call(expression) and all(is_atom(arg) and arg not in found for arg in expression.args)
        reduces = any(isinstance(defined.get(each), SumOver | MaxOver) for each in operands_of(expression))
        readers = uses.get(target, ())
        argument = any(is_call(each.expression) and len(each.expression.args) == 1 for each in readers)
        most = _MOST_IN_A_CALL if argument else _MOST
        once = len(readers) == 1 and _size(expression, found) <= most and not reduces
        if (simple or once) and dims_of(expression) == target.dims:
            found[target] = expression
    return found


def _size(expression: Expr, hidden: Mapping[Value, Expr]) -> int:
    """How many values an expression names when it is printed."""
    return sum(_size(hidden[each], hidden) if each in hidden else 1 for each in operands_of(expression))


def _fits(value: Value, expression: Expr, readers: Sequence[Equation]) -> bool:
    """Whether the adjoint of ``value`` can be printed in place: it is short, and no product would miss a dimension."""
    aligned = not any(isinstance(reader.expression, Operation) for reader in readers)
    return (aligned or dims_of(expression) == value.dims) and _size(expression, {}) <= _MOST


def _closure(
    equation: Equation, inline: Mapping[Value, Expr], defined: Mapping[Value, Equation]
) -> tuple[Equation, ...]:
    """An equation after those of the values that are printed in place within it."""
    found: dict[Value, Equation] = {}

    def visit(each: Equation) -> None:
        for value in operands_of(each.expression):
            if value in inline and value in defined and value not in found:
                visit(defined[value])
        found[each.target] = each

    visit(equation)
    return tuple(found.values())
