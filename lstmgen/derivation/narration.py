"""Gradient in, derivation out: every quantity, every path by which it reaches the loss, and what they add up to.

Nothing is printed here. A derivation holds the calculus' own expressions, the ones that kernels are made of; formats
turn them into text with a notation.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

from lstmgen.calculus.reverse import Gradient, Seed, Step, adjoint_name
from lstmgen.calculus.text import inlined_products
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Role, Value


@dataclass(frozen=True)
class Line:
    """A forward equation with its number."""

    number: int
    equation: Equation


@dataclass(frozen=True)
class Path:
    """One way a value reaches the loss: through an equation of the step (``line``), or as a seed from outside it."""

    line: int | None
    step: Step | None
    seed: Seed | None


@dataclass(frozen=True)
class Passage:
    """The adjoint of one value: its paths, and the equation they add up to.

    A value that lstmgen named, as one term of a sum, has the sum's adjoint for its own; ``equation`` is then the sum's.
    """

    value: Value
    paths: tuple[Path, ...]
    equation: Equation

    @property
    def borrowed(self) -> bool:
        """Whether ``equation`` is that of another value's adjoint."""
        return bool(self.equation.target.name != adjoint_name(self.value))


@dataclass(frozen=True)
class Derivation:
    """A cell's derivation: ``forward`` in order, ``backward`` in the reverse order, then what adds up over time.

    ``inlined_forward`` and ``inlined_backward`` are the values that lstmgen named and that read better in place.
    """

    gradient: Gradient
    forward: tuple[Line, ...]
    backward: tuple[Passage, ...]
    sums: tuple[Passage, ...]
    inlined_forward: dict[Value, Expr]
    inlined_backward: dict[Value, Expr]


def narrate(gradient: Gradient) -> Derivation:
    """Tells the steps of ``gradient`` in the order of the walk that found them."""
    primal, adjoint = gradient.primal, gradient.adjoint
    inlined = inlined_products(primal)
    shown = [equation for equation in primal.equations if equation.target not in inlined]
    numbers = {equation.target: index + 1 for index, equation in enumerate(shown)}
    uses, defined = primal.uses(), adjoint.definitions()
    for equation in reversed(primal.equations):  # a product printed in place counts as the equation it stands in
        if equation.target in inlined:
            numbers[equation.target] = numbers[uses[equation.target][0].target]
    inlined_backward = {
        target: equation.expression for target, equation in defined.items() if target.role == Role.INTERMEDIATE
    }
    passages = []
    for value, symbol in gradient.adjoints.items():
        if symbol not in defined:
            continue
        paths = [Path(None, None, seed) for seed in gradient.seeds if seed.of == value]
        paths += [Path(numbers[step.equation.target], step, None) for step in gradient.steps if step.operand == value]
        passage = Passage(value, tuple(paths), defined[symbol])
        if not (value in inlined and passage.borrowed):  # a product in a sum is read as part of it
            passages.append(passage)
    parameters = {each.value for each in gradient.declaration.parameters}
    return Derivation(
        gradient,
        tuple(Line(numbers[equation.target], equation) for equation in shown),
        tuple(each for each in passages if each.value not in parameters),
        tuple(each for each in passages if each.value in parameters),
        inlined,
        inlined_backward,
    )
