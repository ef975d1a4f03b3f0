"""Symbols for the values of a cell, by their roles.

A role is what a declaration says of a value ("forget gate"), or what the value does: an input, a pre-activation, the
weights of an input. A notation has letters for roles. A value whose role has none keeps its declared name, split at its
first underscore: ``W_f`` is W with an f below it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from string import ascii_uppercase

from lstmgen.calculus.graph import Dependence, operands_of
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
from lstmgen.derivation.letters import GREEK
from lstmgen.derivation.notation import Adjoints, Letter, Notation, Time, Weight
from lstmgen.derivation.roles import Use, is_preactivation, roles, uses_of_parameters

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
    """Every value's symbol in one notation, at the step ``now``: t, or the number of one.

    ``gates`` are what stands below weights besides the letter of their operand, for those that have such a letter.
    """

    notation: Notation
    stems: Mapping[Value, Stem]
    gates: Mapping[Value, tuple[str, ...]]
    timed: frozenset[Value]
    before: frozenset[Value]
    several_outputs: bool
    now: Formula = NOW

    @property
    def loss(self) -> Symbol:
        """The loss."""
        return self.unused("L", "J", "E")

    def unused(self, *letters: str) -> Symbol:
        """The first of ``letters`` that names no value of the cell, for what the derivation speaks of besides.

        Where all are taken, the first capital letter that is not.
        """
        others = (each for each in (*letters, *ascii_uppercase) if not self.is_taken(each))
        return Symbol(next(others, letters[0]))

    def is_taken(self, base: str) -> bool:
        """Whether a value of the cell is called so, with nothing but its time below."""
        return any(stem.base == base and not stem.below for stem in self.stems.values())

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


def name_values(gradient: Gradient, notation: Notation) -> Names:
    """Gives every value of a cell its symbol. Symbols that would look alike keep their declared names."""
    declaration, primal = gradient.declaration, gradient.primal
    values = [*primal.free, *(equation.target for equation in primal.equations)]
    nexts = {state.previous: state.next for state in declaration.states}
    own = _told_apart({value: _own(value, notation) for value in values if value not in nexts})
    unnamed = {value for value in own if value.role == Role.INTERMEDIATE and not is_preactivation(value, primal)}
    plain: set[Value] = set(own) if notation.time is Time.SPELLED else set()
    unlettered: set[Value] = set()
    while True:  # what keeps its name has no letter below other symbols either
        chosen = _chosen(gradient, notation, own, plain, unlettered)
        stems = {**own, **chosen.stems}
        counts = Counter(stem for value, stem in stems.items() if value not in unnamed)
        clashing = {value for value, stem in stems.items() if counts[stem] > 1 and stem != own[value]}
        if not clashing:
            break
        # Pre-activations and parameters are called after gates: they may clash no more when these have their names.
        first = (clashing & chosen.described) or clashing
        plain |= first - (chosen.lettered - unlettered)
        unlettered |= first & chosen.lettered
    for value in unnamed:  # it gives way
        if counts[stems[value]]:
            stems[value] = Stem(value.name, style=Style.UPRIGHT)
    dependence = primal.dependence()
    timed = {value for value in values if dependence[value] != Dependence.SHARED and value.role != Role.STEP_INDEX}
    return Names(
        notation,
        stems | {previous: stems[value] for previous, value in nexts.items()},
        chosen.gates,
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


@dataclass(frozen=True)
class _Chosen:
    """The symbols that a notation has for values; ``gates`` are those of :class:`Names`.

    ``described`` are the values that have the letter of their description, ``lettered`` the parameters that have that
    of their role.
    """

    stems: Mapping[Value, Stem]
    gates: Mapping[Value, tuple[str, ...]]
    described: frozenset[Value]
    lettered: frozenset[Value]


def _chosen(
    gradient: Gradient,
    notation: Notation,
    own: Mapping[Value, Stem],
    plain: Collection[Value],
    unlettered: Collection[Value],
) -> _Chosen:
    """Symbols for all but the ``plain`` values: first for those with a role, then for what depends on them.

    Parameters that are ``unlettered`` have their declared letter.
    """
    known, uses = roles(gradient), uses_of_parameters(gradient)
    found: dict[Value, Stem] = {}
    gates: dict[Value, tuple[str, ...]] = {}
    lettered: set[Value] = set()
    indices: dict[str, str] = {}  # of a declared name, as it stands below parameters and pre-activations
    for value in own:
        chosen = notation.letters.get(known.get(value, ""))
        if chosen is not None and value.role != Role.PARAMETER and value not in plain:
            base = chosen.base or _state_letter(value, gradient, notation, known, own)
            beside = (chosen.below,) if chosen.below else ()
            found[value] = Stem(base, beside, chosen.accent, letter(base).style if chosen.base == "" else chosen.style)
            indices[value.name] = chosen.index or chosen.below or base
    described = frozenset(found)
    by_name = {value.name: value for value in own}
    for value, stem in own.items():
        head, _, tail = value.name.rstrip("_").partition("_")
        if value in plain:
            continue
        if is_preactivation(value, gradient.primal):
            if notation.preactivation:
                found[value] = Stem(notation.preactivation, (indices.get(tail, tail),))
            elif tail in by_name:
                gate = found.get(by_name[tail], own[by_name[tail]])
                found[value] = replace(gate, accent=Accent.BAR)
        elif value.role == Role.PARAMETER and tail:
            use = uses.get(value)
            known_as = notation.weights.get(use.role) if use and _is_of_gate(tail, use) else None
            weight = known_as if value not in unlettered else None
            if weight:
                lettered.add(value)
            base, below = weight.base if weight else head, _indexed(tail, indices)
            if weight and weight.operand and use:
                gates[value] = below
                operand = _operand_letter(use, weight, gradient, {**own, **found})
                below = _with_operand(below, operand, first=weight.operand_first)
            found[value] = Stem(base, below, style=letter(base).style)
        elif tail and value not in found and stem.below and value.role != Role.SIZE:
            found[value] = replace(stem, below=(*stem.below[: -1 - tail.count("_")], *_indexed(tail, indices)))
    return _Chosen(found, gates, described, frozenset(lettered))


def _is_of_gate(tail: str, use: Use) -> bool:
    """Whether a parameter is one of those that notations have letters for: named for a gate, with its dimensions."""
    return not tail.isdigit() and bool(use.result.dims)


def _operand_letter(use: Use, weight: Weight, gradient: Gradient, stems: Mapping[Value, Stem]) -> str:
    """The letter of what weights are multiplied with: the notation's for the input and the hidden state, else its own.

    What has no name of its own, such as a state behind a gate, counts as the state.
    """
    declaration, partner = gradient.declaration, use.partner
    assert partner is not None
    nexts = {state.previous: state.next for state in declaration.states}
    hidden = {state.previous for state in declaration.states if state.next in declaration.outputs}
    if partner in (declaration.inputs[0], *hidden) or partner.role == Role.INTERMEDIATE:
        return weight.operand
    return stems[nexts.get(partner, partner)].base


def _with_operand(below: tuple[str, ...], operand: str, *, first: bool) -> tuple[str, ...]:
    """``W_{if}``: two letters are one index; longer names stand apart."""
    if len(below) == 1 and len(below[0]) == len(operand) == 1:
        return (operand + below[0] if first else below[0] + operand,)
    return (operand, *below) if first else (*below, operand)


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
