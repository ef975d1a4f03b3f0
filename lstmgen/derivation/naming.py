"""Symbols for the values of a cell, by their roles.

A role is what a declaration says of a value ("forget gate"), or what the value does: an input, a pre-activation, the
weights of an input. A notation has letters for roles. A value whose role has none keeps its declared name, split at its
first underscore: ``W_f`` is W with an f below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sympy import Add, Expr, Mul

from lstmgen.calculus.graph import Dependence, Graph, is_call, operands_of
from lstmgen.calculus.operations import Contract
from lstmgen.calculus.reverse import Gradient, Origin, Seed
from lstmgen.declare.symbols import Role, Value
from lstmgen.derivation.formula import (
    Accent,
    Angled,
    Delta,
    Derivative,
    Formula,
    Number,
    Style,
    Sum,
    Symbol,
)
from lstmgen.derivation.notation import (
    BIAS,
    INPUT,
    INPUT_WEIGHTS,
    PEEPHOLE,
    RECURRENT_WEIGHTS,
    Adjoints,
    Letter,
    Notation,
    Time,
)

GREEK = frozenset(
    (
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "pi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
    )
)
"""The letters that are called by their English names."""


NOW = Symbol("t")
"""The index of the step that equations are told of."""


@dataclass(frozen=True)
class Stem:
    """A symbol without its time: what tells one quantity from another."""

    base: str
    below: tuple[str, ...] = ()
    accent: Accent = Accent.NONE
    style: Style = Style.ITALIC


@dataclass(frozen=True)
class Names:
    """Every value's symbol in one notation, at the step ``now``: t, or the number of one."""

    notation: Notation
    stems: Mapping[Value, Stem]
    timed: frozenset[Value]
    before: frozenset[Value]
    several_outputs: bool
    now: Formula = NOW

    @property
    def loss(self) -> Symbol:
        """The loss."""
        return self.unused("L", "J", "E")

    def unused(self, *letters: str) -> Symbol:
        """The first of ``letters`` that names no value of the cell, for what the derivation speaks of besides."""
        taken = {stem.base for stem in self.stems.values() if not stem.below}
        return Symbol(next((each for each in letters if each not in taken), letters[0]))

    def symbol(self, value: Value, shift: int = 0) -> Symbol:
        """The symbol of ``value``, at a step that is ``shift`` steps from now."""
        stem = self.stems.get(value) or spelled(value.name)
        symbol = Symbol(stem.base, stem.style, stem.accent, tuple(lowered(each) for each in stem.below))
        if value not in self.timed:
            return symbol
        return self._at(symbol, shift - (value in self.before))

    def adjoint(self, value: Value, of: Formula, shift: int = 0) -> Formula:
        """The gradient of the loss by ``value``, which is printed as ``of``.

        The adjoint of a previous state is what this step sends back to the step before.
        """
        if value in self.before and self.notation.adjoints is not Adjoints.SPELLED:
            return self._sent_back(of, shift - 1)
        match self.notation.adjoints:
            case Adjoints.PARTIAL:
                return Derivative(self.loss, of)
            case Adjoints.DELTA:
                return Delta(of)
            case Adjoints.BAR:
                return replace(of if isinstance(of, Symbol) else self.symbol(value, shift), accent=Accent.BAR)
            case Adjoints.SPELLED:
                return Symbol(f"d_{value.name}", Style.UPRIGHT)

    def seed(self, seed: Seed, shift: int = 0) -> Formula:
        """An adjoint that comes into the step."""
        if self.notation.adjoints is Adjoints.SPELLED:
            return Symbol(seed.adjoint.name, Style.UPRIGHT)
        of = self.symbol(seed.of, shift)
        if seed.origin is Origin.NEXT_STEP:
            return self._sent_back(of, shift)
        match self.notation.adjoints:
            case Adjoints.DELTA:
                stem = self.stems[seed.of]
                below = (Symbol(stem.base, stem.style, stem.accent),) if self.several_outputs else ()
                return self._at(Symbol("Delta", below=below), shift)
            case Adjoints.BAR:
                return replace(of, accent=Accent.BAR, above=(*of.above, Symbol("out", Style.UPRIGHT)))
        return Derivative(self._at(self.loss, shift), of)

    def _at(self, symbol: Symbol, shift: int) -> Symbol:
        return at_time(symbol, self.notation.time, shift, self.now)

    def _sent_back(self, of: Formula, shift: int) -> Formula:
        assert isinstance(of, Symbol)
        if self.notation.adjoints is Adjoints.PARTIAL:
            later = self._at(self.loss, shift)
            return Derivative(replace(later, above=(*later.above, LATER)), of)
        marked = replace(of, above=(*of.above, LATER))
        return Delta(marked) if self.notation.adjoints is Adjoints.DELTA else replace(marked, accent=Accent.BAR)


LATER = Number("+")
"""Marks the loss of all later steps, and what the next step sends back."""


def letter(name: str) -> Symbol:
    """A letter, or a word, as a symbol."""
    return Symbol(name, Style.ITALIC if len(name) == 1 or name in GREEK else Style.UPRIGHT)


def lowered(name: str) -> Symbol:
    """A letter, two letters that are one index, or a word, as it stands below a symbol."""
    return Symbol(name, Style.ITALIC if len(name) <= 2 or name in GREEK else Style.UPRIGHT)


def time(shift: int = 0, now: Formula = NOW) -> Formula:
    """The index of the step that is ``shift`` steps from ``now``: ``t - 1``, or a number."""
    if not shift:
        return now
    if isinstance(now, Number):
        return Number(str(int(now.text) + shift))
    return Sum((("+", now), ("+" if shift > 0 else "-", Number(str(abs(shift))))))


def at_time(symbol: Symbol, how: Time, shift: int = 0, now: Formula = NOW) -> Symbol:
    """``symbol`` at the step that is ``shift`` steps from ``now``."""
    index = time(shift, now)
    match how:
        case Time.LOWERED:
            return replace(symbol, below=(*symbol.below, index))
        case Time.RAISED:
            return replace(symbol, above=(*symbol.above, index))
        case Time.ANGLED:
            return replace(symbol, above=(*symbol.above, Angled(index)))
        case Time.SPELLED:  # a name in a loop, which stands for another value at every step: it tells no number
            ending = {-1: "_prev", 0: "", 1: "_next"}.get(shift, f"_{shift}")
            return replace(symbol, base=symbol.base + ending)


def spelled(name: str) -> Stem:
    """A declared name as a symbol: what follows an underscore is lowered."""
    base, *below = name.split("_")
    digits = base.rstrip("0123456789")
    if digits != base and (len(digits) == 1 or digits in GREEK):
        base, below = digits, [base[len(digits) :], *below]
    return Stem(base, tuple(each for each in below if each), style=letter(base).style)


def roles(gradient: Gradient) -> dict[Value, str]:
    """The roles of all values that have one a notation can have a letter for."""
    declaration, primal = gradient.declaration, gradient.primal
    found = {equation.target: equation.description for equation in primal.equations if equation.description}
    found |= {declaration.inputs[0]: INPUT}
    found |= {state.previous: found[state.next] for state in declaration.states if state.next in found}
    return found | _parameter_roles(gradient)


def name_values(gradient: Gradient, notation: Notation) -> Names:
    """Gives every value of a cell its symbol. Symbols that would look alike keep their declared names."""
    declaration, primal = gradient.declaration, gradient.primal
    values = [*primal.free, *(equation.target for equation in primal.equations)]
    nexts = {state.previous: state.next for state in declaration.states}
    own = _told_apart({value: _own(value, notation) for value in values if value not in nexts})
    preferred = own if notation.time is Time.SPELLED else own | _preferred(gradient, notation, own)
    clashing: set[Value] = set()
    while True:
        stems = {value: own[value] if value in clashing else preferred[value] for value in own}
        counts = Counter(stems.values())
        more = {value for value, stem in stems.items() if counts[stem] > 1 and stem != own[value]}
        if not more:
            break
        clashing |= more
    dependence = primal.dependence()
    timed = {value for value in values if dependence[value] != Dependence.SHARED and value.role != Role.STEP_INDEX}
    return Names(
        notation,
        stems | {previous: stems[value] for previous, value in nexts.items()},
        frozenset(timed),
        frozenset(nexts),
        len(declaration.outputs) > 1,
    )


def _told_apart(own: dict[Value, Stem]) -> dict[Value, Stem]:
    """Declared names as symbols; those that would look alike, such as ``x1`` and ``x_1``, to the letter."""
    counts = Counter(own.values())
    return {value: stem if counts[stem] == 1 else Stem(value.name, style=Style.UPRIGHT) for value, stem in own.items()}


def _own(value: Value, notation: Notation) -> Stem:
    if notation.time is Time.SPELLED:
        return Stem(value.name, style=Style.UPRIGHT)
    if value.role == Role.SIZE:
        return Stem("d", (value.name,))
    return spelled(value.name)


def _preferred(gradient: Gradient, notation: Notation, own: Mapping[Value, Stem]) -> dict[Value, Stem]:
    """The symbols that a notation has for values: first those of described values, then what depends on them."""
    known = roles(gradient)
    found: dict[Value, Stem] = {}
    indices: dict[str, str] = {}  # of a declared name, as it stands below parameters and pre-activations
    for value in own:
        chosen = notation.letters.get(known.get(value, ""))
        if chosen is not None and value.role != Role.PARAMETER:
            base = chosen.base or _state_letter(value, gradient, notation, known, own)
            below = (chosen.below,) if chosen.below else ()
            found[value] = Stem(base, below, chosen.accent, letter(base).style if chosen.base == "" else chosen.style)
            indices[value.name] = chosen.index or chosen.below or base
    by_name = {value.name: value for value in own}
    for value, stem in own.items():
        head, _, tail = value.name.rstrip("_").partition("_")
        if is_preactivation(value, gradient.primal):
            if notation.preactivation:
                found[value] = Stem(notation.preactivation, (indices.get(tail, tail),))
            elif tail in by_name:
                gate = found.get(by_name[tail], own[by_name[tail]])
                found[value] = replace(gate, accent=Accent.BAR)
        elif value.role == Role.PARAMETER and tail:
            weight = notation.weights.get(known.get(value, ""))
            base = weight.base if weight else head
            first, *more = _indexed(tail, indices)
            if weight and weight.operand:  # W_{if}: two letters, one index
                first = weight.operand + first if weight.operand_first else first + weight.operand
            found[value] = Stem(base, (first, *more), style=letter(base).style)
        elif tail and value not in found and stem.below and value.role != Role.SIZE:
            found[value] = replace(stem, below=(*stem.below[: -1 - tail.count("_")], *_indexed(tail, indices)))
    return found


def _indexed(tail: str, indices: Mapping[str, str]) -> tuple[str, ...]:
    """What stands below a symbol for the rest of its declared name: gates by the letters of the notation."""
    if tail in indices:
        return (indices[tail],)
    return tuple(indices.get(part, part) for part in tail.split("_") if part)


def _state_letter(
    value: Value, gradient: Gradient, notation: Notation, known: Mapping[Value, str], own: Mapping[Value, Stem]
) -> str:
    """The letter of the first state that ``value`` enters."""
    definitions = gradient.primal.definitions()
    for state in gradient.declaration.states:
        read = operands_of(definitions[state.next].expression) if state.next in definitions else ()
        within = [each for operand in read if operand.role == Role.INTERMEDIATE for each in _inputs(operand, gradient)]
        if value in read or value in within:
            chosen: Letter | None = notation.letters.get(known.get(state.next, ""))
            return chosen.base if chosen else own[state.next].base
    return own[value].base


def _inputs(value: Value, gradient: Gradient) -> tuple[Value, ...]:
    return operands_of(gradient.primal.definitions()[value].expression)


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


def _parameter_roles(gradient: Gradient) -> dict[Value, str]:
    """What parameters do: weights of an input or of what depends on states, biases, peepholes."""
    dependence = gradient.primal.dependence()
    found: dict[Value, str] = {}
    for equation in gradient.primal.equations:
        for parameter, partner in _pairs(equation.expression):
            if parameter.role != Role.PARAMETER or parameter in found:
                continue
            if partner is None:
                found[parameter] = BIAS
            elif not isinstance(equation.expression, Contract):
                found[parameter] = PEEPHOLE
            elif dependence[partner] != Dependence.SHARED:
                recurrent = dependence[partner] == Dependence.RECURRENT
                found[parameter] = RECURRENT_WEIGHTS if recurrent else INPUT_WEIGHTS
    return found


def _pairs(expression: Expr) -> Iterator[tuple[Value, Value | None]]:
    """Every value with the other one of its product; None where it stands alone in a sum."""
    if isinstance(expression, Contract):
        left, right = expression.values
        assert isinstance(left, Value)
        assert isinstance(right, Value)
        yield left, right
    elif isinstance(expression, Mul) and len(expression.args) == 2:
        left, right = expression.args
        if isinstance(left, Value) and isinstance(right, Value):
            yield left, right
    elif isinstance(expression, Add):
        for term in expression.args:
            if isinstance(term, Value):
                yield term, None
            else:
                yield from _pairs(term)
