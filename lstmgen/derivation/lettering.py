"""Short formulas as lettering: runs of text on the line, raised or lowered, for what has no mathematics of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

from lstmgen.derivation.drawing import Role
from lstmgen.derivation.formula import (
    Accent,
    Angled,
    Call,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Style,
    Sum,
    Symbol,
    Times,
    Transposed,
    Words,
)
from lstmgen.derivation.letters import RELATIONS, sign

SIZES = {Role.NAME: 0.87, Role.MARK: 0.8, Role.LEGEND: 0.75}
"""The height of letters of some roles beside all others'."""


@dataclass(frozen=True)
class Run:
    """A piece of text: ``level`` 1 is raised, -1 lowered, 0 on the line; ``accent`` stands over its first letter."""

    text: str
    level: int = 0
    italic: bool = False
    accent: Accent = Accent.NONE


def runs(formula: Formula | str) -> tuple[Run, ...]:
    """The lettering of a name or of a short formula; of anything longer what can be said in a line."""
    if isinstance(formula, str):
        return (Run(_ALONE.get(formula, formula)),)
    first, *others = _runs(formula)
    return (replace(first, text=first.text.lstrip(" ")), *others)


_ALONE = {"·": "•"}
"""Signs that fonts make too small to stand alone."""


def _runs(formula: Formula) -> tuple[Run, ...]:
    match formula:
        case Symbol():
            text = sign(formula.base)
            # Single letters are quantities, words are not: so it is in the equations.
            italic = formula.style is Style.ITALIC and len(text) == 1 and text.isalpha()
            return (Run(text, 0, italic, formula.accent), *_listed(formula.below, -1), *_listed(formula.above, 1))
        case Number(text):
            return (Run(text.replace("-", "−")),)
        case Words(text):
            return (Run(f" {text.strip()} "),)
        case Angled(of):
            return (Run("⟨"), *_runs(of), Run("⟩"))
        case Root(of):
            return (*_runs(of), Run("1/2", 1))  # a root's sign has to be as high as what it is of
        case Transposed(of):
            return (*_runs(of), Run("T", 1))
        case Power(base, exponent):
            return (*_runs(base), *_listed((exponent,), 1))
        case Call(function, arguments):
            inner = [part for each in arguments for part in (Run(", "), *_runs(each))][1:]
            return (*_runs(function), Run("("), *inner, Run(")"))
        case Row(entries):
            inner = [part for each in entries for part in (Run("\u2009, "), *_runs(each))][1:]
            return (Run("["), *inner, Run("\u2009]"))  # thin spaces: slanted subscripts hang over
        case Sum(terms):
            signs = ["−" if name == "-" else "+" for name, _ in terms]
            signs[0] = signs[0].removeprefix("+")
            return _joined(tuple(term for _, term in terms), tuple(signs))
        case Product(factors, times):
            return _joined(factors, ("", *(_between(times, *pair) for pair in pairwise(factors))))
        case Relation(sides, between):
            return _joined(sides, ("", *(f" {RELATIONS.get(each, each)} " for each in between)))
        case Fraction(above, below):
            return _joined((above, below), ("", "/"))
    return (Run("…"),)


def _between(times: Times, *factors: Formula) -> str:
    """What stands between factors: a thin space beside a word."""
    words = [each for each in factors if isinstance(each, Symbol) and len(sign(each.base)) > 1]
    return "\u2009" if times is Times.SCALAR and words else ""


def _listed(formulas: tuple[Formula, ...], level: int) -> list[Run]:
    """What stands raised or lowered, with commas between."""
    found = [replace(run, level=level) for each in formulas for run in (Run(","), *_runs(each))]
    return found[1:]


def _joined(formulas: tuple[Formula, ...], signs: tuple[str, ...]) -> tuple[Run, ...]:
    """Formulas in a line, each after its sign."""
    return tuple(
        run for each, before in zip(formulas, signs, strict=True) for run in (Run(before), *_runs(each)) if run.text
    )


def width(formula: Formula | str, size: float) -> float:
    """About how wide the lettering is, in the unit of ``size``, the height of its letters."""
    return sum(map(_width, runs(formula))) * size


def height(formula: Formula | str, size: float) -> tuple[float, float]:
    """About how far the lettering goes above its line, and below it."""
    found = runs(formula)
    up = max(RISE + 0.72 * SMALL if run.level > 0 else 0.95 if run.accent else 0.7 for run in found)
    down = max(RISE if run.level < 0 else 0.22 if set(run.text) & _DEEP else 0.03 for run in found)
    return up * size, down * size


_DEEP = frozenset("gjpqyµζημρφχψβγ()[]⟨⟩,")


@dataclass(frozen=True)
class Accented:
    """An accent over a letter: the letter's middle and its top, from where the lettering begins, and their size."""

    accent: Accent
    x: float
    y: float
    size: float


def accents(formula: Formula | str, size: float) -> tuple[Accented, ...]:
    """Where the accents of the lettering stand: fonts set combining signs too low over capitals, or not at all."""
    found, x = [], 0.0
    for run in runs(formula):
        if run.accent:
            letter, scale = run.text[0], SMALL if run.level else 1.0
            top = -(0.7 if letter.isupper() or letter in "bdfhklt" else 0.5) * scale - RISE * run.level
            slant = 0.06 if run.italic else 0.0
            found.append(Accented(run.accent, (x + (_advance(letter) / 2 + slant) * scale) * size, top * size, scale))
        x += _width(run)
    return tuple(found)


SMALL, RISE = 0.7, 0.32
"""The size of raised and lowered letters beside the others', and how far they stand from the line."""


def _width(run: Run) -> float:
    return sum(map(_advance, run.text)) * (SMALL if run.level else 1.0)


def _advance(letter: str) -> float:
    """About how wide a letter is, beside its height: what serif letters of several fonts have."""
    if letter in _NARROW:
        return 0.42 if letter == " " else 0.3
    return 0.85 if letter in "mwMWΓ…−+×÷=≤≥⊗" else 0.72 if letter.isupper() else 0.54


_NARROW = frozenset(" \u2009ijltf.,·|()[]⟨⟩/")
