"""Short formulas as lettering: runs of text on the line, raised or lowered, for what has no mathematics of its own."""

from __future__ import annotations

from dataclasses import dataclass

from lstmgen.derivation.formats.letters import ACCENTS, sign
from lstmgen.derivation.formula import (
    Call,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Row,
    Style,
    Sum,
    Symbol,
    Transposed,
    Words,
)
from lstmgen.derivation.greek import GREEK


@dataclass(frozen=True)
class Run:
    """A piece of text: ``level`` 1 is raised, -1 lowered, 0 on the line."""

    text: str
    level: int = 0
    italic: bool = False


def runs(formula: Formula | str) -> tuple[Run, ...]:
    """The lettering of a name or of a short formula; of anything longer what can be said in a line."""
    if isinstance(formula, str):
        return (Run(formula),)
    match formula:
        case Symbol():
            text = sign(formula.base) + ACCENTS.get(formula.accent, "")
            italic = formula.style is Style.ITALIC and formula.base not in GREEK
            return (Run(text, 0, italic), *_listed(formula.below, -1), *_listed(formula.above, 1))
        case Number(text) | Words(text):
            return (Run(text.replace("-", "−")),)
        case Transposed(of):
            return (*runs(of), Run("T", 1))
        case Power(base, exponent):
            return (*runs(base), *_listed((exponent,), 1))
        case Call(function, arguments):
            inner = [part for each in arguments for part in (Run(", "), *runs(each))][1:]
            return (*runs(function), Run("("), *inner, Run(")"))
        case Row(entries):
            inner = [part for each in entries for part in (Run(", "), *runs(each))][1:]
            return (Run("["), *inner, Run("]"))
        case Sum(terms):
            signs = ["−" if name == "-" else "+" for name, _ in terms]
            signs[0] = signs[0].removeprefix("+")
            return _joined(tuple(term for _, term in terms), tuple(signs))
        case Product(factors):
            return _joined(factors, ("",) * len(factors))
        case Fraction(above, below):
            return _joined((above, below), ("", "/"))
    return (Run("…"),)


def _listed(formulas: tuple[Formula, ...], level: int) -> list[Run]:
    """What stands raised or lowered, with commas between."""
    found = [Run(run.text, level, run.italic) for each in formulas for run in (Run(","), *runs(each))]
    return found[1:]


def _joined(formulas: tuple[Formula, ...], signs: tuple[str, ...]) -> tuple[Run, ...]:
    """Formulas in a line, each after its sign."""
    return tuple(
        run for each, before in zip(formulas, signs, strict=True) for run in (Run(before), *runs(each)) if run.text
    )


def width(formula: Formula | str, size: float) -> float:
    """About how wide the lettering is, in the unit of ``size``, the height of its letters."""
    return sum(len(run.text) * (0.56 if run.level == 0 else 0.4) for run in runs(formula)) * size
