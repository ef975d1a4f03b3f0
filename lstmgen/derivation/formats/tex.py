"""Formulas in TeX's mathematics, in the dialects that LaTeX and Markdown understand."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from lstmgen.derivation.formats.brackets import Place, is_tall, needs_brackets
from lstmgen.derivation.formats.pieces import Kind, Mark, Piece, is_linear, pieces
from lstmgen.derivation.formula import (
    Accent,
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
    Style,
    Sum,
    Symbol,
    Times,
    Total,
    Transposed,
    Words,
)
from lstmgen.derivation.letters import GREEK, sign

OPERATORS = frozenset({"tanh", "sinh", "cosh", "exp", "log", "ln", "max", "min", "sin", "cos", "tan", "det", "dim"})
"""Upright words that TeX has a command for."""

TIMES = {
    Times.ELEMENTWISE: r" \odot ",
    Times.MATRIX: r" \, ",
    Times.SCALAR: r" \, ",
    Times.STAR: r" \ast ",
    Times.AT: r" \mathbin{@} ",
    Times.OUTER: r" \otimes ",
    Times.NUMBERS: r" \cdot ",
    Times.CONTRACTION: ", ",
}
BRACKETS = {"(": "(", ")": ")", "[": r"\lbrack ", "]": r" \rbrack"}
SIGNS = {
    "∂": r"\partial", "ℓ": r"\ell", "∞": r"\infty", "∇": r"\nabla", "⟨": r"\langle", "⟩": r"\rangle", "⊤": r"\top",
    "≤": r"\le", "≥": r"\ge", "∈": r"\in", "≈": r"\approx", "⋅": r"\cdot", "·": r"\cdot", "…": r"\dots", "⋯": r"\cdots",
    "ℝ": r"\mathbb{R}", "ℒ": r"\mathcal{L}", "×": r"\times", "−": "-", "′": r"\prime",
} | {letter: ("o" if name == "omicron" else f"\\{name}") for name, letter in GREEK.items()}  # fmt: skip


@dataclass(frozen=True)
class Dialect:
    """How one reader of TeX wants it.

    Markdown takes a backslash before punctuation for its own, and a low line after punctuation for emphasis; so its
    dialect has neither.
    """

    newline: str
    low_line: str  # before a subscript, after what ends in punctuation
    thin: str
    comma: str  # between the entries of a row: lines may end after it
    relations: dict[str, str]
    literal: dict[str, str]  # characters in words that TeX would take for its own


LATEX = Dialect(
    r"\\",
    "_",
    r"\,",
    r",\allowbreak ",
    {
        "=": "=", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge", "in": r"\in", "approx": r"\approx", "!=": r"\ne",
        "and": r"\land", "or": r"\lor",
    },
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
        "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    },
)  # fmt: skip
COMMON = replace(LATEX, comma=", ")
MARKDOWN = Dialect(
    r"\cr",
    " _ ",
    r"\thinspace",
    ", ",
    LATEX.relations | {"<": r"\lt", ">": r"\gt"},
    {
        "\\": r"}\backslash\text{", "{": r"}\lbrace\text{", "}": r"}\rbrace\text{", "$": r"}\unicode{36}\text{",
        "&": r"}\unicode{38}\text{", "#": r"}\unicode{35}\text{", "%": r"}\unicode{37}\text{",
        "_": r"}\underline{\enspace}\text{", "~": r"}\sim\text{", "^": r"}\wedge\text{", "*": r"}\ast\text{",
        "|": r"}\vert\text{", "<": r"}\lt\text{", ">": r"}\gt\text{", "`": r"\text{‘}", "[": r"}\lbrack\text{",
        "]": r"}\rbrack\text{",
    },
)  # fmt: skip


@dataclass(frozen=True)
class Tex:
    """Prints formulas in a dialect; ``inline`` keeps them low enough for running text."""

    dialect: Dialect
    inline: bool = False

    def __call__(self, formula: Formula) -> str:
        """``formula`` in TeX, without the signs that mathematics stands between."""
        if is_linear(formula):
            return self.row(pieces(formula, self.inline))
        match formula:
            case Symbol():
                return self._symbol(formula)
            case Number(text):
                return text
            case Fraction(above, below):
                if self.inline:
                    return f"{self._at(above, Place.OVER)}/{self._at(below, Place.OVER)}"
                return rf"\frac{{{self(above)}}}{{{self(below)}}}"
            case Power(Symbol(above=()) as base, exponent):
                return f"{self._symbol(base)}^{{{self._small(exponent)}}}"
            case Power(base, exponent):
                return f"{{{self._at(base, Place.RAISED)}}}^{{{self._small(exponent)}}}"
            case Root(of):
                return rf"\sqrt{{{self(of)}}}"
            case Call(function, arguments):
                return self(function) + self._bracketed(
                    ", ".join(map(self, arguments)), any(map(is_tall, arguments)) and not self.inline
                )
            case Size(of):
                return rf"\lvert {self(of)} \rvert"
            case Transposed(Symbol(above=()) as of):
                return rf"{self._symbol(of)}^{{\top}}"
            case Transposed(of):
                return rf"{{{self._at(of, Place.RAISED)}}}^{{\top}}"
            case Delta(of):
                return rf"\delta {self._at(of, Place.SIGNED)}"
            case Angled(of):
                return rf"\langle {self(of)} \rangle"
            case Derivative(of, by):
                upper, lower = (rf"\partial {self._at(each, Place.SIGNED)}" for each in (of, by))
                return f"{upper}/{lower}" if self.inline else rf"\frac{{{upper}}}{{{lower}}}"
            case Total():
                return self._total(formula)
            case Column(entries):
                return self._column(entries)
            case Row(entries):
                return rf"\lbrack {self.dialect.comma.join(map(self, entries))} \rbrack"
            case Cases(cases):
                every = f" {self.dialect.newline} ".join(self._case(*each) for each in cases)
                return rf"\begin{{cases}} {every} \end{{cases}}"
            case Words(text):
                return self.words(f" {text.strip()} ")
            case Product(factors):
                return self._symbol(Symbol("contract", Style.UPRIGHT)) + self._bracketed(
                    ", ".join(map(self, factors)), any(map(is_tall, factors)) and not self.inline
                )
            case Sum() | Relation() | Several():
                raise AssertionError("made of pieces")

    def row(self, row: tuple[Piece, ...]) -> str:
        """Pieces as they stand."""
        return "".join(
            "".join(map(self._mark, piece.before)) + self(piece.formula) + "".join(map(self._mark, piece.after))
            for piece in row
        ).strip()

    def words(self, text: str, command: str = r"\text") -> str:
        """Words among mathematics, set upright."""
        whole = rf"\text{{{''.join(self._letter(each) for each in text)}}}".replace(r"\text{}", "")
        return whole.replace(r"\text{", command + "{")

    def tag(self, text: str) -> str:
        """A number beside an equation, which is set as words are."""
        return "".join(self._letter(each) for each in text).replace("}", "").replace(r"\text{", "")

    def _letter(self, letter: str) -> str:
        if letter in self.dialect.literal:
            return self.dialect.literal[letter]
        if letter in SIGNS and self.dialect is LATEX:
            return f"${SIGNS[letter]}$"
        return letter if letter.isascii() or self.dialect is not LATEX else latin(letter)

    def _mark(self, mark: Mark) -> str:
        match mark.kind:
            case Kind.GAP:
                return r"\qquad "
            case Kind.RELATION:
                return f" {self.dialect.relations.get(mark.text) or self.words(mark.text)} "
            case Kind.BINARY:
                return f" {mark.text} "
            case Kind.UNARY:
                return "-"
            case Kind.TIMES:
                return TIMES[Times(mark.text)].replace(r"\,", self.dialect.thin)
            case Kind.STROKE:
                return " / "
            case Kind.OPEN:
                bracket = BRACKETS[mark.text]
                return rf"\Bigl{bracket} " if mark.tall and not self.inline else bracket
            case Kind.CLOSE:
                bracket = BRACKETS[mark.text]
                return rf" \Bigr{bracket}" if mark.tall and not self.inline else bracket
            case Kind.COMMA:
                return ", "
            case Kind.TOTAL:
                assert isinstance(mark.of, Total)
                return self._sum_sign(mark.of)
            case Kind.NAME:
                assert mark.of is not None
                return self(mark.of)

    def _bracketed(self, text: str, tall: bool) -> str:
        return rf"\Bigl( {text} \Bigr)" if tall else f"({text})"

    def _at(self, formula: Formula, place: Place) -> str:
        if not needs_brackets(formula, place, inline=self.inline):
            return self(formula)
        return self._bracketed(self(formula), is_tall(formula) and not self.inline)

    def _small(self, formula: Formula) -> str:
        return Tex(self.dialect, inline=True)(formula)

    def _symbol(self, symbol: Symbol) -> str:
        text = self._accented(self._base(symbol), symbol)
        if symbol.below:
            text += self._low_line(text) + self._script(symbol.below)
        return text + ("^" + self._script(symbol.above) if symbol.above else "")

    def _low_line(self, before: str) -> str:
        return "_" if before[-1].isalnum() else self.dialect.low_line

    def _script(self, parts: tuple[Formula, ...]) -> str:
        text = ",".join(self._small(part).strip() for part in parts)
        return text if len(text) == 1 and text.isalnum() else f"{{{text}}}"

    def _base(self, symbol: Symbol) -> str:
        text = sign(symbol.base)
        upright = symbol.style is Style.UPRIGHT
        if len(text) == 1 and not text.isascii():
            found = SIGNS.get(text) or self.words(text)
            return rf"\boldsymbol{{{found}}}" if symbol.bold else found
        if not re.fullmatch(r"[A-Za-z0-9]+", text):
            return self.words(text, r"\textbf" if symbol.bold else r"\text" if upright else r"\textit")
        if symbol.bold:
            return (r"\mathbf" if upright else r"\boldsymbol") + f"{{{text}}}"
        if upright and text in OPERATORS:
            return f"\\{text}"
        if len(text) == 1 and not upright:
            return text
        return (r"\mathrm" if upright else r"\mathit") + f"{{{text}}}"

    def _accented(self, text: str, symbol: Symbol) -> str:
        if symbol.accent is Accent.NONE:
            return text
        narrow = {Accent.TILDE: r"\tilde", Accent.BAR: r"\bar", Accent.HAT: r"\hat"}
        wide = {Accent.TILDE: r"\widetilde", Accent.BAR: r"\overline", Accent.HAT: r"\widehat"}
        if len(sign(symbol.base)) > 1:
            return f"{wide[symbol.accent]}{{{text}}}"
        return f"{narrow[symbol.accent]} {text}" if text[-1].isalnum() else f"{narrow[symbol.accent]}{{{text}}}"

    def _total(self, total: Total) -> str:
        return self._sum_sign(total) + self._at(total.of, Place.SUMMED)

    def _sum_sign(self, total: Total) -> str:
        lower = self._small(total.index) + ("" if total.first is None else f"={self._small(total.first)}")
        upper = "" if total.last is None else f"^{{{self._small(total.last)}}}"
        return rf"\sum_{{{lower}}}{upper} "

    def _column(self, entries: tuple[Formula, ...]) -> str:
        if self.inline:
            return rf"\lbrack {'; '.join(map(self, entries))} \rbrack"
        low = replace(self, inline=True)  # fractions would touch those above and below
        lines = f" {self.dialect.newline} ".join(map(low, entries))
        return rf"\begin{{bmatrix}} {lines} \end{{bmatrix}}"

    def _case(self, value: Formula, condition: Formula | None) -> str:
        when = self.words("otherwise") if condition is None else f"{self.words('if ')} {self(condition)}"
        return f"{self(value)} & {when}"


def text(words: str) -> str:
    """User's words in running text of LaTeX, with everything that means something to TeX escaped."""
    return "".join(map(letter, words))


def letter(of: str) -> str:
    """A letter of running text in LaTeX."""
    if of in LATEX.literal:
        return LATEX.literal[of]
    if of.isascii():
        return of if of.isprintable() else " "
    return f"${SIGNS[of]}$" if of in SIGNS else latin(of)


def latin(letter: str) -> str:
    """A letter that pdfLaTeX's usual fonts have, or its code point in brackets."""
    if letter in PUNCTUATION:
        return PUNCTUATION[letter]
    return letter if "\u00c0" <= letter <= "\u017f" else f"[U+{ord(letter):04X}]"


PUNCTUATION = {
    "–": "--", "—": "---", "‘": "`", "’": "'", "“": "``", "”": "''", "…": r"\dots{}", "\u00a0": "~", "→": r"$\to$",
    "←": r"$\leftarrow$", "×": r"$\times$", "−": "$-$", "⊙": r"$\odot$", "·": r"$\cdot$", "°": r"$^\circ$",
    "²": "$^2$", "³": "$^3$", "±": r"$\pm$", "⊗": r"$\otimes$", "√": r"$\surd$", "⁻": "$^-$", "¹": "$^1$",
    "§": r"\S{}", "÷": r"$\div$", "Σ": r"$\Sigma$",
}  # fmt: skip
"""Signs of running text that TeX spells in its own way."""
