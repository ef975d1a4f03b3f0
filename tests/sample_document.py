"""A document that has every block and every formula, for the tests of the formats."""

from __future__ import annotations

from itertools import product as product_of

from lstmgen.derivation.document import (
    Derived,
    Document,
    Equation,
    Figure,
    Listing,
    Paragraph,
    Section,
    Table,
)
from lstmgen.derivation.drawing import (
    CURVES,
    Anchor,
    Box,
    Disc,
    Drawing,
    Label,
    Line,
    Polygon,
    Role,
)
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
from lstmgen.derivation.network import Edge, Kind, Network, Node

UNUSUAL = '<b>&"$%_\\{}~^#`|*[x](y) 5 $ é Ł σ 日 – “q” ]]> -->'


def at(base: str, *below: str, accent: Accent = Accent.NONE, bold: bool = False) -> Symbol:
    """A symbol at step t."""
    return Symbol(base, accent=accent, below=(*map(Symbol, below), Symbol("t")), bold=bold)


def matrix(letter: str, gate: str) -> Symbol:
    return Symbol(letter, below=(Symbol(gate),))


def before(base: str) -> Symbol:
    return Symbol(base, below=(Sum((("+", Symbol("t")), ("-", Number("1")))),))


def product(*factors: Formula, times: Times = Times.ELEMENTWISE) -> Product:
    return Product(factors, times)


def plus(*terms: Formula) -> Sum:
    return Sum(tuple(("+", term) for term in terms))


def equals(*sides: Formula) -> Relation:
    return Relation(sides, ("=",) * (len(sides) - 1))


def function(name: str, *arguments: Formula) -> Call:
    greek = name == "sigma"
    return Call(Symbol(name, Style.ITALIC if greek else Style.UPRIGHT), arguments)


def affine(gate: str) -> Sum:
    return plus(
        product(matrix("W", gate), at("x"), times=Times.MATRIX),
        product(matrix("U", gate), before("h"), times=Times.MATRIX),
        matrix("b", gate),
    )


def by(of: Formula, quantity: Formula) -> Derivative:
    return Derivative(of, quantity)


LOSS = Symbol("L")
f, i, o, c, h, g = at("f"), at("i"), at("o"), at("c"), at("h"), at("c", accent=Accent.TILDE)
one_minus = Sum((("+", Number("1")), ("-", Power(function("tanh", c), Number("2")))))
T = Symbol("T")

FORWARD = (
    Equation(
        equals(f, function("sigma", affine("f"))), "eq-1", "(1)", ("forget gate, in ", Row((Number("0"), Number("1"))))
    ),
    Equation(equals(i, function("sigma", affine("i"))), "eq-2", "(2)", ("input gate",)),
    Equation(equals(g, function("tanh", affine("c"))), "eq-3", "(3)", ("candidate " + UNUSUAL,)),
    Equation(equals(c, plus(product(f, before("c")), product(i, g))), "eq-4", "(4)", ("cell state",)),
    Equation(equals(h, product(o, function("tanh", c))), "eq-5", "(5)"),
)
CHAIN = Derived(
    (c, " reaches the loss through ", h, " and through ", Symbol("c", below=(plus(Symbol("t"), Number("1")),)), "."),
    (
        Equation(equals(by(h, c), product(o, one_minus))),
        Equation(
            Relation(
                (
                    by(LOSS, c),
                    plus(product(by(LOSS, h), by(h, c)), product(by(LOSS, before("c")), by(before("c"), c))),
                    plus(product(by(LOSS, h), o, one_minus), product(by(LOSS, before("c")), before("f"))),
                ),
                ("=", "="),
            )
        ),
    ),
    Equation(
        equals(by(LOSS, c), plus(product(by(LOSS, h), o, one_minus), product(by(LOSS, before("c")), before("f")))),
        "eq-b1",
        "(B1)",
    ),
    ("eq-4", "eq-5", "eq-of-another-part"),
    ("line-2", "line-3"),
)
gates = [by(LOSS, at("a", gate)) for gate in "fico"]
SUMS = Several(
    tuple(
        equals(by(LOSS, matrix("b", gate)), Total(part, Symbol("t"))) for gate, part in zip("fico", gates, strict=True)
    )
)
LONG = equals(
    by(LOSS, before("h")),
    plus(
        *(
            product(Transposed(matrix("U", gate)), plus(part, product(f, one_minus, at("delta"))), times=Times.MATRIX)
            for gate, part in zip("fico", gates, strict=True)
        )
    ),
)
NODES: tuple[Formula, ...] = (
    Symbol("Gamma", below=(Symbol("f"),), above=(Angled(Symbol("t")),), bold=True),
    Symbol("remember_me", Style.ITALIC, Accent.HAT),
    Symbol("long-term memory", Style.UPRIGHT, bold=True),
    Symbol("delta", accent=Accent.BAR, below=(Symbol("f"), Symbol("t"))),
    Number("-0.5"),
    Fraction(plus(Symbol("a"), Symbol("b")), Fraction(Number("1"), Symbol("n"))),
    Sum((("-", Symbol("a")), ("-", plus(Symbol("b"), Symbol("c"))), ("+", Number("-2")))),
    product(plus(Symbol("a"), Symbol("b")), Fraction(Number("1"), Symbol("n")), Number("-2"), times=Times.SCALAR),
    product(Symbol("U"), product(Symbol("a"), Symbol("b")), times=Times.MATRIX),
    product(product(Number("2"), Symbol("a"), times=Times.SCALAR), product(Symbol("U"), h, times=Times.MATRIX)),
    product(Symbol("v"), Symbol("k"), times=Times.OUTER),
    product(Symbol("A"), Symbol("B"), times=Times.CONTRACTION),
    product(Symbol("a"), Symbol("b"), times=Times.STAR),
    product(Symbol("A"), plus(Symbol("b"), Delta(c)), times=Times.AT),
    product(Words("not"), Relation((Symbol("a"), Symbol("b")), ("=",)), times=Times.MATRIX),
    Transposed(Delta(c)),
    Power(plus(Symbol("x"), Symbol("y")), plus(Symbol("n"), Number("1"))),
    Power(Symbol("a", above=(Angled(Symbol("t")),)), Number("2")),
    Root(plus(Power(Symbol("sigma"), Number("2")), Symbol("epsilon"))),
    function("softmax", Symbol("z"), Symbol("beta")),
    function("max", Size(product(Symbol("n"), Symbol("q"))), Number("1")),
    Transposed(product(Symbol("A"), Symbol("B"), times=Times.MATRIX)),
    Total(plus(by(LOSS, at("a")), Symbol("b")), Symbol("t"), Number("1"), T),
    plus(Total(Symbol("x", below=(Symbol("j"),)), Symbol("j")), Symbol("y")),
    product(
        Row((matrix("W", "f"), matrix("U", "f"), Symbol("b"))),
        Column((at("x"), before("h"), Number("1"))),
        times=Times.MATRIX,
    ),
    Cases(((Symbol("x"), Relation((Symbol("x"), Number("0")), (">",))), (Number("0"), None))),
    Relation((Symbol("x"), Symbol("y"), Words(UNUSUAL), T), ("<=", "in", "approx")),
    Relation((Symbol("a"), Symbol("b"), Number("3")), ("<", ">=")),
    SUMS,
    Several((equals(Symbol("a"), Column((by(LOSS, c), by(LOSS, h)))), equals(Symbol("b"), Number("-1")))),
)
NETWORK = Network(
    "odd " + UNUSUAL,
    (
        Node("c_prev", Kind.PREVIOUS, before("c")),
        Node("x", Kind.INPUT, at("x")),
        Node("join", Kind.JUNCTION, ""),
        Node("f", Kind.GATE, Symbol("sigma"), f),
        Node("odd", Kind.FUNCTION, UNUSUAL),
        Node("c", Kind.PRODUCT, "×", c),
        Node("sum", Kind.SUM, "+"),
        Node("c_next", Kind.NEXT, c),
        Node("c_output", Kind.OUTPUT, c),
    ),
    (
        Edge("c_prev", "join"),
        Edge("x", "join"),
        Edge("join", "f"),
        Edge("f", "odd"),
        Edge("odd", "c", "÷"),
        Edge("c_prev", "c"),
        Edge("c", "sum"),
        Edge("c_prev", "sum", "−"),
        Edge("sum", "c_next"),
        Edge("c", "c_output"),
    ),
)
DRAWING = Drawing(
    200.0,
    100.0,
    12.0,
    (
        Line(((0.0, 0.0), (50.0, 0.0), (50.0, 3.0), (90.0, 3.0)), Role.WIRE, 6.0),
        *(Line(((0.0, 20.0), (50.0, 30.0)), role) for role in (Role.GRID, *CURVES, Role.REFERENCE)),
        Box((30.0, 60.0), 40.0, 30.0, Role.GATE, 3.0),
        Disc((100.0, 60.0), 12.0, Role.OPERATION),
        Disc((50.0, 0.0), 2.6, Role.FORK),
        Polygon(((0.0, 0.0), (3.0, 7.0), (-3.0, 7.0)), Role.HEAD),
        *(Label(UNUSUAL, (0.0, 60.0), role, anchor) for role, anchor in product_of(Role, Anchor)),
        *(Label(node, (0.0, 60.0), Role.SIGN, rising=True) for node in (*NODES, "")),
    ),
)
"""Every shape and every role, in no order."""
LISTING = Listing(
    (
        "def backward(p, d_h):  # " + UNUSUAL,
        "    d_c = d_h * o * (1 - tanh_c**2)",
        "    d_c += d_c_next * f_next",
        "",
        "    " + " + ".join(f"a_rather_long_name_{number}" for number in range(7)),
    ),
    "python",
    ((1, "line-2"), (2, "line-3"), (2, "line-3-again")),
)
DOCUMENT = Document(
    "lstm: long short-term memory, " + UNUSUAL,
    "Gers & Schmidhuber, <i>2000</i> " + UNUSUAL,
    (Paragraph(("A cell with ", f, " and ", by(LOSS, c), ", and ", Column((h, at("x"))), ". ", UNUSUAL)),),
    (
        Section("forward", "Forward, one step " + UNUSUAL, FORWARD),
        Section(
            "symbols",
            "Symbols",
            (
                Table(
                    (("symbol",), ("shape",), ("what it is",)),
                    (
                        ((f,), ("64",), ("forget gate, " + UNUSUAL,)),
                        (
                            (matrix("W", "f"),),
                            ("hidden × features",),
                            ("what the forget gate makes of the input, " * 4,),
                        ),
                        ((g,), ("[1]",), ("candidate",)),
                    ),
                    (1,),
                ),
                Table((), ((("a",), ("b",)),)),
            ),
            2,
        ),
        Section(
            "backward",
            "Backward",
            (Paragraph(("From the last step to the first.",)), CHAIN, Equation(LONG, "eq-b2", "(B2)")),
        ),
        Section("nodes", "Everything", tuple(Equation(node, f"node-{at}") for at, node in enumerate(NODES))),
        Section(
            "picture",
            "Picture",
            (
                Figure(DRAWING, ("A circle of ", f, ", " + UNUSUAL), ("The ", c, " of the cell " + UNUSUAL), NETWORK),
                LISTING,
            ),
        ),
    ),
)
