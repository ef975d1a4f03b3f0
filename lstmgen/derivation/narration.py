"""Gradient in, derivation out: every quantity in the order of its telling, with the equation that gives its adjoint.

Nothing is printed here. A derivation holds the calculus' own expressions, the ones that kernels are made of; how it is
told is decided in :mod:`lstmgen.derivation.telling`, and formats turn that into text with a notation.
"""

from __future__ import annotations

from dataclasses import dataclass

from sympy import Expr

from lstmgen.calculus.reverse import Gradient, adjoint_name
from lstmgen.calculus.text import inlined_products
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Role, Value


@dataclass(frozen=True)
class Passage:
    """The adjoint of one value, and the equation that gives it.

    A value that lstmgen named, as one term of a sum, has the sum's adjoint for its own; ``equation`` is then the sum's.
    """

    value: Value
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
    forward: tuple[Equation, ...]
    backward: tuple[Passage, ...]
    sums: tuple[Passage, ...]
    inlined_forward: dict[Value, Expr]
    inlined_backward: dict[Value, Expr]


def narrate(gradient: Gradient) -> Derivation:
    """Tells the steps of ``gradient`` in the order of the walk that found them."""
    primal, defined = gradient.primal, gradient.adjoint.definitions()
    inlined = inlined_products(primal)
    inlined_backward = {
        target: equation.expression for target, equation in defined.items() if target.role == Role.INTERMEDIATE
    }
    found = [Passage(value, defined[symbol]) for value, symbol in gradient.adjoints.items() if symbol in defined]
    # A product in a sum is read as part of it.
    passages = [each for each in found if not (each.value in inlined and each.borrowed)]
    parameters = {each.value for each in gradient.declaration.parameters}
    return Derivation(
        gradient,
        tuple(equation for equation in primal.equations if equation.target not in inlined),
        tuple(each for each in passages if each.value not in parameters),
        tuple(each for each in passages if each.value in parameters),
        inlined,
        inlined_backward,
    )
