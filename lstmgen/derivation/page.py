"""What every section of a derivation is written with: the telling, the notation, and the symbols they make."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Expr

from lstmgen.calculus.reverse import Gradient, adjoint_name
from lstmgen.declare.declaration import Equation
from lstmgen.declare.symbols import Value
from lstmgen.derivation.affine import joined_maps, paired_biases
from lstmgen.derivation.document import Inline
from lstmgen.derivation.formula import Formula
from lstmgen.derivation.naming import NOW, name_values
from lstmgen.derivation.narration import Derivation
from lstmgen.derivation.notation import Notation, Time
from lstmgen.derivation.ranges import Interval, ranges
from lstmgen.derivation.roles import roles
from lstmgen.derivation.telling import Telling, tell
from lstmgen.derivation.translate import Translator


@dataclass(frozen=True)
class Page:
    """A derivation, how it is told, and how it is written. ``numbers`` are those of forward equations."""

    telling: Telling
    notation: Notation
    write: Translator
    roles: dict[Value, str]
    numbers: dict[Value, int]

    @property
    def gradient(self) -> Gradient:
        """The gradient that is derived."""
        return self.telling.derivation.gradient

    @cached_property
    def ranges(self) -> Callable[[Expr], Interval]:
        """Between which bounds an expression lies."""
        return ranges(self.gradient.primal)

    def adjoint(self, value: Value) -> Formula:
        """The gradient of the loss by ``value``: for one term of a sum, that of the sum."""
        return self.write(self.gradient.adjoints[value])

    def own_adjoint(self, value: Value) -> Formula:
        """The gradient of the loss by ``value``, by its own name."""
        return self.write.names.adjoint(value, self.write(value))

    def own_adjoints(self, value: Value) -> tuple[Formula, ...]:
        """The same for everything that stands for ``value``: the biases that it is the sum of."""
        return tuple(self.write.names.adjoint(value, each) for each in self.write.symbols(value))

    def formula_of(self, expression: Expr) -> Formula:
        """The formula of an expression."""
        return self.write(expression)

    def equation_of(self, equation: Equation) -> Formula:
        """The formula of an equation."""
        return self.write.equation(equation)

    def printed_in(self, value: Value) -> tuple[Value, ...]:
        """The targets of the forward equations that print ``value`` or, if it is printed in place, hold it."""
        if value in self.numbers:
            return (value,)
        readers = self.gradient.primal.uses().get(value, ())
        return tuple(dict.fromkeys(home for each in readers for home in self.printed_in(each.target)))

    def words(self, description: str) -> str:
        """A description in the words of the notation."""
        words = self.notation.words
        if not words:
            return description
        pattern = r"\b(" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + r")\b"
        return re.sub(pattern, lambda match: words[match[1]], description)


def open_page(derivation: Derivation, notation: Notation, now: Formula = NOW, *, counted: bool = False) -> Page:
    """Tells a derivation of the step ``now``, t or the number of one, and gives its values their symbols.

    On a page that is ``counted`` every number has one symbol: no matrix stands for two, and no two biases for one.
    """
    gradient = derivation.gradient
    telling = tell(derivation, in_place=notation.time is not Time.SPELLED)
    names = replace(name_values(gradient, notation), now=now)
    known = roles(gradient)
    joined = joined_maps(gradient.primal, names, known)
    paired = paired_biases(gradient.primal, names, known)
    if counted:
        joined, paired = {}, {bias: each for bias, each in paired.items() if len(each.stems) == 1}
    plain = Translator(names, telling.inline, joined=joined, paired=paired)
    adjoints: dict[Value, Formula] = {seed.adjoint: names.seed(seed) for seed in gradient.seeds}
    for value, symbol in gradient.adjoints.items():
        if symbol.name == adjoint_name(value) and symbol not in telling.inline:
            adjoints[symbol] = names.adjoint(value, plain(value))
    write = replace(plain, adjoints=adjoints)
    numbers = {equation.target: number for number, equation in enumerate(telling.forward, 1)}
    return Page(telling, notation, write, known, numbers)


def anchor(value: Value) -> str:
    """The anchor of the forward equation that defines ``value``."""
    return f"forward-{value.name}"


def listed(pieces: Sequence[Inline], last: str = " and ") -> tuple[Inline, ...]:
    """``a, b and c`` as running text."""
    found: list[Inline] = []
    for index, piece in enumerate(pieces):
        if index:
            found.append(last if index == len(pieces) - 1 else ", ")
        found.append(piece)
    return tuple(found)
