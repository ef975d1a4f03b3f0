"""Formulas as Unicode text in one line."""

from __future__ import annotations

from lstmgen.derivation.document import Inline
from lstmgen.derivation.formats.brackets import Place, needs_brackets
from lstmgen.derivation.formats.pieces import Kind, Mark, Piece, is_linear, pieces
from lstmgen.derivation.formula import (
    Angled,
    Call,
    Cases,
    Column,
    Delta,
    Derivative,
    Formula,
    Fraction,
    Number,
    Power,
    Product,
    Relation,
    Root,
    Row,
    Several,
    Size,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
    Words,
)
from lstmgen.derivation.letters import ACCENTS, RELATIONS, sign

# Only signs that every part of a time can be made of: a subscript is either all raised letters or none.
SUBSCRIPTS = str.maketrans("0123456789+-−t", "₀₁₂₃₄₅₆₇₈₉₊₋₋ₜ")
SUPERSCRIPTS = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
TIMES = {
    Times.ELEMENTWISE: " ⊙ ",
    Times.MATRIX: " ",
    Times.SCALAR: " ",
    Times.STAR: " * ",
    Times.AT: " @ ",
    Times.OUTER: " ⊗ ",
    Times.NUMBERS: " · ",
    Times.CONTRACTION: ", ",
}


def plain(formula: Formula) -> str:
    """``formula`` in one line of Unicode."""
    if is_linear(formula):
        return line(pieces(formula, inline=True))
    match formula:
        case Symbol():
            return _symbol(formula)
        case Number(text):
            return text.replace("-", "−")
        case Fraction(above, below):
            return f"{_at(above, Place.OVER)} / {_at(below, Place.OVER)}"
        case Power(base, exponent):
            return _at(base, Place.RAISED) + _raised(plain(exponent))
        case Root(of):
            return f"√({plain(of)})"
        case Call(function, arguments):
            return f"{plain(function)}({', '.join(map(plain, arguments))})"
        case Size(of):
            return f"|{plain(of)}|"
        case Transposed(of):
            return _at(of, Place.RAISED) + "ᵀ"
        case Delta(of):
            return "δ" + _at(of, Place.SIGNED)
        case Angled(of):
            return f"⟨{_tight(of)}⟩"
        case Derivative(of, by):
            return f"∂{_at(of, Place.SIGNED)}/∂{_at(by, Place.SIGNED)}"
        case Total(of, index, first, last):
            return f"{_sum_sign(index, first, last)} {_at(of, Place.SUMMED)}"
        case Column(entries):
            return f"[{'; '.join(map(plain, entries))}]"
        case Row(entries):
            return f"[{', '.join(map(plain, entries))}]"
        case Cases(cases):
            return "{ " + "; ".join(_case(value, condition) for value, condition in cases) + " }"
        case Words(text):
            return f" {text.strip()} "
        case Product(factors):
            return f"contract({', '.join(map(plain, factors))})"
        case Sum() | Relation() | Several():
            raise AssertionError("made of pieces")


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text in one line."""
    return "".join(piece if isinstance(piece, str) else plain(piece) for piece in pieces)


def line(row: tuple[Piece, ...]) -> str:
    """Pieces in a line, as they stand."""
    return "".join(piece_text(piece) for piece in row)


def piece_text(piece: Piece) -> str:
    """One piece with its marks."""
    return "".join([*map(_mark, piece.before), plain(piece.formula), *map(_mark, piece.after)])


def _mark(mark: Mark) -> str:
    match mark.kind:
        case Kind.GAP:
            return "    "
        case Kind.RELATION:
            return f" {RELATIONS.get(mark.text, mark.text)} "
        case Kind.BINARY:
            return " + " if mark.text == "+" else " − "
        case Kind.UNARY:
            return "−"
        case Kind.TIMES:
            return TIMES[Times(mark.text)]
        case Kind.STROKE:
            return " / "
        case Kind.OPEN | Kind.CLOSE:
            return mark.text
        case Kind.COMMA:
            return ", "
        case Kind.TOTAL:
            assert isinstance(mark.of, Total)
            return f"{_sum_sign(mark.of.index, mark.of.first, mark.of.last)} "
        case Kind.NAME:
            assert mark.of is not None
            return plain(mark.of)


def _at(formula: Formula, place: Place) -> str:
    text = plain(formula)
    return f"({text})" if needs_brackets(formula, place, inline=True) else text


def _symbol(symbol: Symbol) -> str:
    base = sign(symbol.base)
    if symbol.accent:  # it stands over the first letter, as terminals set it
        base = base[:1] + ACCENTS[symbol.accent] + base[1:]
    below, above = (",".join(_tight(each) for each in part) for part in (symbol.below, symbol.above))
    return base + (_lowered(below) if below else "") + (_raised(above) if above else "")


def _tight(formula: Formula) -> str:
    return plain(formula).replace(" ", "") if is_linear(formula) else plain(formula).strip()


def _lowered(text: str) -> str:
    if all(ord(letter) in SUBSCRIPTS for letter in text):
        return text.translate(SUBSCRIPTS)
    return f"_{text}" if text.isalnum() else f"_{{{text}}}"


def _raised(text: str) -> str:
    if all(ord(letter) in SUPERSCRIPTS for letter in text):
        return text.translate(SUPERSCRIPTS)
    if "," in text:
        return f"^{{{text}}}"
    return f"^{text}" if text.isalnum() or text.startswith("⟨") else f"^({text})"


def _sum_sign(index: Formula, first: Formula | None, last: Formula | None) -> str:
    lower = plain(index) if first is None else f"{plain(index)}={plain(first)}"
    if last is None:
        return f"Σ_{lower}" if lower.isalnum() else f"Σ_{{{lower}}}"
    return f"Σ_{{{lower}..{plain(last)}}}"


def _case(value: Formula, condition: Formula | None) -> str:
    return f"{plain(value)} {'otherwise' if condition is None else 'if ' + plain(condition)}"
