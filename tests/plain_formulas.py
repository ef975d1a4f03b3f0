"""Formulas as plain text, for tests: every node has a form of its own, and brackets stand where precedence asks."""

from __future__ import annotations

from unicodedata import normalize

from lstmgen.derivation.document import Derived, Document, Equation, Inline, Paragraph, Table
from lstmgen.derivation.formula import (
    Accent,
    Angled,
    Binding,
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
    binds,
)

_SIGN = {
    Times.ELEMENTWISE: " ⊙ ",
    Times.STAR: " * ",
    Times.MATRIX: " ",
    Times.AT: " @ ",
    Times.SCALAR: " · ",
    Times.OUTER: " ⊗ ",
    Times.CONTRACTION: " : ",
}
_ACCENT = {Accent.NONE: "", Accent.TILDE: "\u0303", Accent.BAR: "\u0304", Accent.HAT: "\u0302"}
_GREEK = {"sigma": "σ", "Gamma": "Γ", "delta": "δ", "Delta": "Δ", "lambda": "λ"}


def plain(formula: Formula) -> str:
    """The formula in one line."""
    match formula:
        case Symbol(base, _, accent, below, above):
            base = _GREEK.get(base, base)
            base = normalize("NFC", "".join(letter + _ACCENT[accent] for letter in base))
            return base + _raised("_", below) + _raised("^", above)
        case Number(text) | Words(text):
            return text
        case Fraction(above, below):
            return f"{_in(above, Binding.POWER)} / {_in(below, Binding.POWER)}"
        case Sum(terms):
            text = ""
            for sign, term in terms:
                text += (f" {sign} " if text else "-" * (sign == "-")) + _in(term, Binding.PRODUCT)
            return text
        case Product(factors, times):
            return _SIGN[times].join(_in(each, Binding.POWER) for each in factors)
        case Power(base, exponent):
            return f"{_in(base, Binding.ATOM)}^{_in(exponent, Binding.ATOM)}"
        case Root(of):
            return f"√({plain(of)})"
        case Call(function, arguments):
            return f"{plain(function)}({', '.join(map(plain, arguments))})"
        case Size(of):
            return f"|{plain(of)}|"
        case Transposed(of):
            return f"{_in(of, Binding.ATOM)}ᵀ"
        case Delta(of):
            return f"δ{_in(of, Binding.ATOM)}"
        case Angled(of):
            return f"⟨{plain(of)}⟩"
        case Derivative(of, by):
            return f"∂{_in(of, Binding.ATOM)}/∂{_in(by, Binding.ATOM)}"
        case Total(of, index):
            return f"Σ_{plain(index)} {_in(of, Binding.PRODUCT)}"
        case Column(entries):
            return f"[{'; '.join(map(plain, entries))}]"
        case Row(entries):
            return f"[{', '.join(map(plain, entries))}]"
        case Cases(cases):
            return "{" + "; ".join(f"{plain(v)} if {plain(c) if c else 'else'}" for v, c in cases) + "}"
        case Several(relations):
            return "   ".join(map(plain, relations))
        case Relation(sides, signs):
            return plain(sides[0]) + "".join(f" {s} {plain(e)}" for s, e in zip(signs, sides[1:], strict=True))
    raise AssertionError(formula)


def _raised(sign: str, formulas: tuple[Formula, ...]) -> str:
    text = ",".join(map(plain, formulas))
    return "" if not text else sign + (text if len(text) == 1 else f"{{{text}}}")


def _in(formula: Formula, least: Binding) -> str:
    text = plain(formula)
    return text if binds(formula) >= least else f"({text})"


def running(pieces: tuple[Inline, ...]) -> str:
    """Running text in one line."""
    return "".join(piece if isinstance(piece, str) else plain(piece) for piece in pieces)


def page(document: Document) -> str:
    """A document as lines."""
    lines = [document.title, document.subtitle, *map(_block, document.lead)]
    for section in document.sections:
        lines += ["", "#" * section.level + " " + section.title, *map(_block, section.blocks)]
    return "\n".join(lines)


def _block(block: object) -> str:
    match block:
        case Paragraph(pieces):
            return running(pieces)
        case Equation(formula, _, number, note):
            return f"    {number:>5} {plain(formula)}" + (f"    [{running(note)}]" if note else "")
        case Derived(lead, steps, result):
            return "\n".join(["  " + running(lead), *map(_block, steps), "  =>" + _block(result)])
        case Table(head, rows):
            return "\n".join(" | ".join(map(running, row)) for row in (head, *rows))
    raise AssertionError(block)
