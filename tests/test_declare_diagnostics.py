"""Every diagnostic of the declaration layer: a cell that earns it, and a neighbour that does not.

The cells are text, for no linter would let most of them stand. A line that deserves a diagnostic says so in a comment,
`#! LG105`, so that code, severity, line and order are all held against the text itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from lstmgen.declare import builder
from lstmgen.declare.cell import Cell
from lstmgen.declare.names import RESERVED, RESERVED_FOR_DIMENSIONS, RESERVED_FOR_INPUTS, reason_against
from lstmgen.errors import DeclarationError, Diagnostic, Severity

Declared = Callable[[str], Cell]
Diagnose = Callable[[str], "tuple[Diagnostic, ...]"]

HEADER = "import math\nimport numpy as np\nimport sympy\nfrom lstmgen.api import *\n\n"
BODY = 8  # the line on which a cell's body begins, below the decorator and `def`
MARK = re.compile(r"#! (LG\d+)( warning)?")


class Case(NamedTuple):
    """Two bodies of a cell, one wrong and one right, and what the diagnostic says."""

    wrong: str
    right: str
    says: str


SIMPLE = """\
x, h_prev = eq.input("x"), eq.state("h")
h = eq.next("h", tanh(eq.affine("g", W=x, U=h_prev)))
{}
eq.output(h)"""


def lines(wrong: str, right: str, says: str) -> Case:
    """Lines between the next state and the output of a small cell."""
    return Case(SIMPLE.format(wrong), SIMPLE.format(right), says)


def value(mark: str, wrong: str, right: str, says: str) -> Case:
    """An expression for another output of a small cell."""
    line = 'y = eq.let("y", {})'
    return lines(f"{line.format(wrong)}  #! {mark}\neq.output(y)", f"{line.format(right)}\neq.output(y)", says)


MATRIX = """\
x, C_prev = eq.input("x"), eq.state("C", "value", "key")
k, v = eq.affine("k", to="key", W=x), eq.affine("v", to="value", W=x)
C = eq.next("C", {})
eq.output(C, eq.let("y", C_prev @ (k * sum_over(v, "value"))))"""


def matrix(wrong: str, right: str, says: str) -> Case:
    """An expression for the next value of a state `(value, key)`, with vectors `v` and `k` to make it of."""
    return Case(MATRIX.format(wrong).replace("\neq.output", "  #! LG102\neq.output"), MATRIX.format(right), says)


STATE = """\
x = eq.input("x")
h_prev = eq.state("h")
{}
eq.output(h)"""


def state(wrong: str, right: str, says: str) -> Case:
    """What becomes of a state `h`."""
    return Case(STATE.format(wrong), STATE.format(right), says)


CASES: dict[str, Case] = {
    # LG123: constants
    "constant with too few dimensions": lines(
        'A = eq.constant("A", [[1, 2], [3, 4]], "key")  #! LG123\neq.output(eq.let("y", outer(A, h)))',
        'A = eq.constant("A", [1, 2], "key")\neq.output(eq.let("y", outer(A, h)))',
        "one dimension for each name",
    ),
    "constant that is not finite": lines(
        'A = eq.constant("A", [1, math.inf], "key")  #! LG123\neq.output(eq.let("y", outer(A, h)))',
        'A = eq.constant("A", [1, 2.5], "key")\neq.output(eq.let("y", outer(A, h)))',
        "finite numbers",
    ),
    "constant of words": lines(
        'A = eq.constant("A", ["one", "two"], "key")  #! LG123\neq.output(eq.let("y", outer(A, h)))',
        'A = eq.constant("A", np.ones(2), "key")\neq.output(eq.let("y", outer(A, h)))',
        "is given list ['one', 'two']",
    ),
    "constants of different sizes": lines(
        'A, B = eq.constant("A", [1, 2], "key"), eq.constant("B", [1, 2, 3], "key")  #! LG123\n'
        'eq.output(eq.let("y", outer(A + B, h)))',
        'A, B = eq.constant("A", [1, 2], "key"), eq.constant("B", [3, 4], "key")\n'
        'eq.output(eq.let("y", outer(A + B, h)))',
        "where 2 were fixed before",
    ),
    "constant for what flatten makes": lines(
        'y = eq.let("y", flatten(outer(h, x), "wide"))\nA = eq.constant("A", [1, 2], "wide")  #! LG123\n'
        'eq.output(eq.let("z", A * y))',
        'y = eq.let("y", flatten(outer(h, x), "wide"))\nA = eq.constant("A", [1, 2], "key")\n'
        'eq.output(eq.let("z", outer(A, y)))',
        "which flatten makes of (hidden, features)",
    ),
    "flatten to what a constant fixes": lines(
        'A = eq.constant("A", [1, 2], "wide")\n'
        'y = eq.let("y", A * flatten(outer(h, x), "wide"))  #! LG123\neq.output(y)',
        'A = eq.constant("A", [1, 2], "key")\ny = eq.let("y", outer(A, flatten(outer(h, x), "wide")))\neq.output(y)',
        "a constant fixes the size of 'wide'",
    ),
    "constant that nothing uses": lines('eq.constant("A", [1, 2], "key")  #! LG106', "", "constant 'A' is never used"),
    "step index that nothing uses": lines("t = eq.step_index()  #! LG115", "", "the step index 't' is never used"),
    "step index of two names": lines(
        't, s = eq.step_index("t"), eq.step_index("s")  #! LG110\neq.output(eq.let("y", h / (t + s + 1)))',
        't, s = eq.step_index(), eq.step_index()\neq.output(eq.let("y", h / (t + s + 1)))',
        "is called 't' already",
    ),
    "diagonal that names nothing": lines(
        'eq.output(eq.let("y", eq.affine("y", W=x, diagonal=h)))  #! LG117',
        'eq.output(eq.let("y", eq.affine("y", W=x, diagonal={"p": h})))',
        "names no vectors",
    ),
    "epsilon below zero": value(
        "LG117", "layer_norm(h, epsilon=-1)", "layer_norm(h, epsilon=0)", "layer_norm cannot have epsilon=-1"
    ),
    "epsilon by position": value(
        "LG117",
        "layer_norm(h, 1e-3)",
        "layer_norm(h, epsilon=1e-3)",
        "layer_norm is given the number 0.001 for a value",
    ),
    "epsilon by position, taken apart": lines(
        "p, q = layer_norm(h, 1)\neq.output(eq.let('y', p))  #! LG117",
        "p, q = layer_norm(h, h * h)\neq.output(eq.let('y', p * q))",
        "call it as in layer_norm(a, 'key', epsilon=1e-5)",
    ),
    "number for a dimension": value("LG117", "softmax(h, -1)", "softmax(h, 'hidden')", "softmax(a, 'key')"),
    "softmax of nothing": value("LG117", "softmax()", "softmax(h)", "softmax is given no value"),
    "layer_norm of nothing": value("LG117", "layer_norm([])", "layer_norm(h)", "layer_norm is given no value"),
    "several results for one": value(
        "LG117", "layer_norm(h, x)", "layer_norm(h, x)[0]", "layer_norm of several values gives one result for each"
    ),
    "several results in a function": value(
        "LG117", "tanh(softmax(h, x))", "tanh(softmax(h, x)[0])", "p, q = softmax(a, b)"
    ),
    "softmax of a dimension's name": value("LG117", 'softmax("hidden")', "softmax(h)", "leave out the quotes"),
    # LG101: dimensions that do not exist, or are no names
    "size of no dimension": value("LG101", 'h / eq.size("hiden")', 'h / eq.size("hidden")', "did you mean 'hidden'"),
    "sum over a dimension it lacks": value("LG101", 'sum_over(h, "key")', 'sum_over(h, "hidden")', "one of 'hidden'"),
    "sum over a scalar": value(
        "LG101", 'sum_over(h @ h, "hidden")', "h @ h", "the operand is a scalar: there is nothing to reduce"
    ),
    "sum over a number": value("LG101", "sum_over(h, 0)", 'sum_over(h, "hidden")', "cannot reduce over '0'"),
    "size of a number": value("LG101", "h / eq.size(5)", "h / 5", "5 is not the name of a dimension"),
    "number as a dimension": lines(
        'u = eq.input("u", 3)  #! LG101\neq.output(eq.let("y", outer(u, h)))',
        'u = eq.input("u", "key")\neq.output(eq.let("y", outer(u, h)))',
        "sizes are given to Parameters.initialize",
    ),
    "numbers as dimensions": Case(
        'x, h_prev = eq.input("x"), eq.state("h")\nW = eq.parameter("W", 5, 3)  #! LG101\n'
        'h = eq.next("h", tanh(W @ x))\neq.output(h)',
        'x, h_prev = eq.input("x"), eq.state("h")\nW = eq.parameter("W", "hidden", "features")\n'
        'h = eq.next("h", tanh(W @ x + h_prev))\neq.output(h)',
        "5 and 3 are not names of dimensions",
    ),
    "tuple of dimensions": lines(
        'W = eq.parameter("W", ("key", "features"), "hidden")  #! LG101\neq.output(eq.let("y", W @ x))',
        'W = eq.parameter("W", ("key", "features"))\neq.output(eq.let("y", W @ x))',
        "name each one",
    ),
    "number as a result's dimension": lines(
        'a = eq.affine("a", to=4, W=x)  #! LG101\neq.output(eq.let("y", tanh(a)))',
        'a = eq.affine("a", to="key", W=x)\neq.output(eq.let("y", tanh(a)))',
        "4 is not the name of a dimension",
    ),
    "softmax over a dimension it lacks": value(
        "LG101", 'softmax(h, "key")', 'softmax(h, "hidden")', "softmax cannot go over 'key'"
    ),
    # LG102: dimensions that do not fit
    "layer_norm of a number": value("LG102", 'layer_norm(sum_over(h, "hidden"))', "layer_norm(h)", "needs a dimension"),
    "softmax of a vector and a matrix": lines(
        'w = eq.parameter("w", "hidden", "key")\n'
        'eq.output(eq.let("y", sum_over(softmax(w, x)[1] * x, "features")))  #! LG102',
        'w = eq.parameter("w", "key")\neq.output(eq.let("y", sum_over(softmax(w, x)[1] * x, "features")))',
        "besides the dimension that is normalised",
    ),
    "product over different dimensions": value(
        "LG102", 'eq.parameter("W", "key", "featuers") @ x', 'eq.parameter("W", "key", "features") @ x', "ends in"
    ),
    "matrix the wrong way round": value(
        "LG102",
        'eq.parameter("W", "features", "key") @ x',
        'eq.parameter("W", "features", "key").T @ x',
        "transpose it",
    ),
    "matrix product with a number": value("LG102", "h @ 2", "h * 2", "use * to multiply"),
    "vector times matrix": value(
        "LG102", 'x @ eq.parameter("W", "key", "features")', "x @ x", "exchange the operands: W @ x"
    ),
    "vector times matrix, as in NumPy": value(
        "LG102",
        'x @ eq.parameter("W", "features", "key")',
        'eq.parameter("W", "features", "key").T @ x',
        "the matrix comes first: write W.T @ x for what NumPy calls x @ W",
    ),
    "expression times matrix, as in NumPy": value(
        "LG102",
        'tanh(x) @ eq.parameter("V", "features", "key")',
        'eq.parameter("V", "features", "key").T @ tanh(x)',
        "write W.T @ x for",
    ),
    "transposed vector": value("LG102", "h.T", "h * 1", "fewer than two dimensions"),
    "outer product with itself": value("LG102", "outer(h, h)", "outer(h, x)", "only parameters repeat a name"),
    "flattened vector": value("LG102", 'flatten(h, "key")', 'flatten(outer(h, x), "key")', "two or more dimensions"),
    "affine map of a matrix": lines(
        'a = eq.affine("a", W=outer(h, x))  #! LG102\neq.output(eq.let("y", tanh(a)))',
        'a = eq.affine("a", W=x)\neq.output(eq.let("y", tanh(a)))',
        "W= needs a vector",
    ),
    "affine map of a sum": lines(
        'a = eq.affine("a", U=x + h)  #! LG102\neq.output(eq.let("y", tanh(a)))',
        'a = eq.affine("a", W=x, U=h)\neq.output(eq.let("y", tanh(a)))',
        "give each its own matrix: W=x, U=h_prev",
    ),
    "diagonal of another dimension": lines(
        'a = eq.affine("a", W=x, diagonal={"p": x})  #! LG102\neq.output(eq.let("y", tanh(a)))',
        'a = eq.affine("a", W=x, diagonal={"p": h, "s": h @ h})\neq.output(eq.let("y", tanh(a)))',
        "the diagonal p needs (hidden,), this has (features,)",
    ),
    "state that repeats a dimension": Case(
        'x = eq.input("x", "key")\nC_prev = eq.state("C", "key", "key")  #! LG102\neq.output(eq.next("C", C_prev * x))',
        'x = eq.input("x", "key")\nC_prev = eq.state("C", "value", "key")\neq.output(eq.next("C", C_prev * x))',
        "such as (value, key)",
    ),
    "state that gains a dimension": matrix("C_prev * x", "C_prev * v", "remove features with"),
    "state whose dimension is misspelt": state(
        'h = eq.next("h", h_prev + eq.affine("g", to="hiden", W=x))  #! LG102',
        'h = eq.next("h", h_prev + eq.affine("g", to="hidden", W=x))',
        "did you mean 'hidden'",
    ),
    # Elementwise values align by name and broadcast; an operation has the dimensions that it has.
    "state that an operation turns": matrix("outer(k, v)", "C_prev + outer(k, v)", "exchange the operands of outer"),
    "state that an operation shrinks": matrix('sum_over(C_prev, "key")', 'v + sum_over(C_prev, "key")', "that has key"),
    # LG103, LG104, LG107: states
    "state never advanced": Case(
        'x = eq.input("x")\nh_prev = eq.state("h")  #! LG103\neq.output(eq.let("y", h_prev + eq.affine("g", W=x)))',
        'x = eq.input("x")\nh_prev = eq.state("h")\neq.output(eq.next("h", h_prev + eq.affine("g", W=x)))',
        "eq.next('h', ...)",
    ),
    "state advanced twice": lines(
        'h = eq.next("h", h * h)  #! LG104',
        'y = eq.let("y", h * h)\neq.output(y)',
        f"the first time on line {BODY + 1}",
    ),
    "state advanced twice, as Python's variables are": lines(
        'h = eq.next("h", h * h)  #! LG104', "", "advance a state once: name the value before it with eq.let"
    ),
    "state that holds a parameter": Case(
        'x, h_prev = eq.input("x"), eq.state("h")\n'
        'h = eq.next("h", eq.parameter("p", "hidden"))  #! LG107\neq.output(h)',
        'x, h_prev = eq.input("x", "hidden"), eq.state("h")\n'
        'h = eq.next("h", x + h_prev + eq.parameter("p", "hidden"))\neq.output(h)',
        "it is the same at every step",
    ),
    "state never read": state(
        'h = eq.next("h", eq.affine("g", W=x))  #! LG107',
        'h = eq.next("h", eq.affine("g", W=x) * h_prev)',
        "no equation uses h_prev",
    ),
    "state that changes no output": lines(
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + h)  #! LG107',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + h)\neq.output(c)',
        "no output depends on state 'c'",
    ),
    # LG105, LG106, LG115: what leads nowhere
    "value never used": lines(
        'y = eq.let("y", h * h)  #! LG105', 'eq.output(eq.let("y", h * h))', "'y' is defined and"
    ),
    "affine map never used": lines(
        'a = eq.affine("y", W=x)  #! LG105', 'eq.output(eq.affine("y", W=x))', "use what eq.affine returned"
    ),
    "parameter never used": lines(
        'b = eq.parameter("b", "hidden")  #! LG106',
        'b = eq.parameter("b", "hidden")\neq.output(eq.let("y", h * b))',
        "parameter 'b' is never used",
    ),
    "input never used": lines(
        'u = eq.input("u")  #! LG115', 'u = eq.input("u")\neq.output(eq.let("y", x * u))', "input 'u' is never used"
    ),
    # LG108, LG109: names; each list of reserved ones has a test of its own
    "role of lstmgen's own": lines(
        'eq.output(eq.let("y", h * h, role="parameter"))  #! LG108',
        'eq.output(eq.let("y", h * h, role="gate"))',
        "the role 'parameter'",
    ),
    "state called after its previous value": Case(
        'x, h_prev = eq.input("x"), eq.state("h_prev")  #! LG108\n'
        'h = eq.next("h", tanh(eq.affine("h", W=x, U=h_prev)))\neq.output(h)',
        SIMPLE.format(""),
        "give the state's own name: h_prev = eq.state('h')",
    ),
    "state called twice after its previous value": Case(
        'x, h_prev = eq.input("x"), eq.state("h_prev")  #! LG108\n'
        'h = eq.next("h_prev", tanh(eq.affine("h", W=x, U=h_prev)))\neq.output(h)',
        SIMPLE.format(""),
        "give the state's own name: h_prev = eq.state('h')",
    ),
    "joined dimension of a reserved name": value(
        "LG108", 'flatten(outer(h, x), "batch")', 'flatten(outer(h, x), "both")', "'batch' is reserved"
    ),
    "dimension that is no name": lines(
        'u = eq.input("u", "2d")  #! LG109\neq.output(eq.let("y", outer(h, u)))',
        'u = eq.input("u", "d2")\neq.output(eq.let("y", outer(h, u)))',
        "'2d' is not a name",
    ),
    "name and expression exchanged": lines(
        'eq.output(eq.let(h * h, "y"))  #! LG109', 'eq.output(eq.let("y", h * h))', "the name comes first"
    ),
    "list as a name": lines(
        'c_prev = eq.state(["c"])  #! LG109\nc = eq.next(["c"], c_prev + h)  #! LG109\neq.output(c)',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + h)\neq.output(c)',
        "['c']",
    ),
    # LG110: names that are taken
    "value defined twice": lines(
        'y = eq.let("y", h)\ny = eq.let("y", h * y)  #! LG110\neq.output(y)',
        'y = eq.let("y", h)\nz = eq.let("z", h * y)\neq.output(z)',
        f"declared on line {BODY + 2}",
    ),
    "input of a state's name": lines(
        'u = eq.input("h")  #! LG110\neq.output(eq.let("y", x * u))',
        'u = eq.input("u")\neq.output(eq.let("y", x * u))',
        "'h' is taken",
    ),
    "state declared twice": lines(
        'old = eq.state("h")  #! LG110\neq.output(eq.let("y", h * old))',
        'eq.output(eq.let("y", h * h_prev))',
        "'h' is taken",
    ),
    "state advanced by let": state(
        'h = eq.let("h", tanh(eq.affine("g", W=x, U=h_prev)))  #! LG110',
        'h = eq.next("h", tanh(eq.affine("g", W=x, U=h_prev)))',
        "use eq.next('h', ...)",
    ),
    "state defined by let after next": lines(
        'eq.output(eq.let("h", h * h))  #! LG110', 'eq.output(eq.let("y", h * h))', "give this value a name of its own"
    ),
    # One mistake, though W_g, b_g and a_g are all taken.
    "affine map defined twice": lines(
        'a = eq.affine("g", W=x)  #! LG110\neq.output(eq.let("y", tanh(a)))',
        'a = eq.affine("f", W=x)\neq.output(eq.let("y", tanh(a)))',
        f"eq.affine('g') stands on line {BODY + 1} already: it defines W_g, U_g, b_g, a_g",
    ),
    "value of a dimension's name": lines(
        'y = eq.let("hidden", h * h)  #! LG110\neq.output(y)',
        'y = eq.let("hide", h * h)\neq.output(y)',
        "it is a dimension of this cell",
    ),
    "output named twice": Case(
        SIMPLE.format("") + "\neq.output(h)  #! LG110", SIMPLE.format(""), "h is an output already"
    ),
    # LG111: values that are not there
    "name used before it is bound": lines(
        'y = eq.let("y", z * h)  #! LG111\nz = eq.let("z", h)\neq.output(y)',
        'z = eq.let("z", h)\ny = eq.let("y", z * h)\neq.output(y)',
        "z is used before it is defined",
    ),
    "name that nothing binds": value("LG111", "sigmod(h)", "sigmoid(h)", "did you mean 'sigmoid'"),
    "module that is not imported": value("LG111", "h * random.random()", "h * 0.5", "define or import it above"),
    "state that is not declared": value(
        "LG111", "h * memory_prev", "h * h_prev", "declare the state: memory_prev = eq.state('memory')"
    ),
    "state that is nearly declared": value("LG111", "h * c_prev", "h * h_prev", "did you mean 'h_prev'? or declare"),
    "name bound below, in a comprehension": lines(
        'y = eq.let("y", sum(z for _ in range(2)))  #! LG111\nz = eq.let("z", h)\neq.output(y)',
        'z = eq.let("z", h)\ny = eq.let("y", sum(z for _ in range(2)))\neq.output(y)',
        "z is used before it is defined",
    ),
    "next of no state": lines(
        'c_prev = eq.state("c")\nc = eq.next("cc", c_prev + h)  #! LG111\neq.output(c)',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + h)\neq.output(c)',
        "did you mean 'c'",
    ),
    "next of the previous value": lines(
        'c_prev = eq.state("c")\nc = eq.next("c_prev", c_prev + h)  #! LG111\neq.output(c)',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + h)\neq.output(c)',
        "did you mean 'c'",
    ),
    "bare symbol": value("LG117", 'sympy.Symbol("t") * h', "2 * h", "text or a bare SymPy symbol 't' stands where"),
    "text for a value": value("LG117", 'sigmoid("h")', "sigmoid(h)", "the value that was returned for 'h'"),
    # LG112: nothing that can be differentiated
    "Bessel function": value("LG112", "sympy.besselj(0, h)", "sympy.tanh(h)", "besselj has no derivative"),
    "Gamma function": value("LG112", "sympy.gamma(h)", "sympy.exp(h)", "use one of abs, clip"),
    "undefined function": value("LG112", 'sympy.Function("f")(h)', "sympy.erf(h)", "f has no derivative"),
    "piecewise function": value("LG112", "sympy.Piecewise((h, h > 0), (0, True))", "where(h > 0, h, 0)", "Piecewise"),
    "SymPy's derivative": value("LG112", "sympy.Derivative(h * x, x)", "h", "SymPy's Derivative has no derivative"),
    "remainder": value("LG112", "h % 2", "h / 2", "the remainder % has no derivative"),
    "whole quotient": value("LG112", "h // 2", "h / 2", "floor, which // contains, has no derivative"),
    "symbolic exponent": value("LG112", "2**h", "h**2", "write a**b as exp(b * log(a)), for positive a"),
    "complex number": value("LG117", "1j * h", "1.5 * h", "complex numbers are no values"),
    # LG114: products that read one way and mean another
    "elementwise before matrix product": value(
        "LG114 warning",
        'h * eq.parameter("U", "hidden", "key") @ eq.affine("k", to="key", W=x)',
        'h * (eq.parameter("U", "hidden", "key") @ eq.affine("k", to="key", W=x))',
        "Python reads",
    ),
    "matrix before elementwise product": value(
        "LG114 warning",
        'eq.parameter("U", "key", "hidden") @ h * sum_over(x, "features")',
        '(eq.parameter("U", "key", "hidden") @ h) * sum_over(x, "features")',
        '@ (h * sum_over(x, "features"))',
    ),
    "negative factor": value("LG114 warning", "-x * x @ x", "-2 * x @ x", "((-x) * x) @ x"),
    "square matrix by elements": value(
        "LG114",
        'h * eq.parameter("U", "hidden", "hidden")',
        'eq.parameter("U", "hidden", "hidden") @ h',
        "for a matrix product use @, as in U @ h;",
    ),
    "expression by elements": value(
        "LG114",
        'tanh(h) * eq.parameter("U", "hidden", "hidden")',
        'eq.parameter("U", "hidden", "hidden") @ tanh(h)',
        "for a matrix product use @; to scale one, put it in parentheses",
    ),
    # LG124: all pairs of two values
    "product of unrelated values": value(
        "LG124 warning",
        "x * h",
        "outer(x, h)",
        "x (features,) and h (hidden,) share no dimension: their product is (features, hidden)",
    ),
    "sum of unrelated values": value(
        "LG124 warning", "x + tanh(h)", "1 + tanh(h)", "an expression (hidden,) share no dimension: their sum is"
    ),
    "maximum of unrelated values": value(
        "LG124 warning", "1 + maximum(x, h)", "1 + maximum(x, sum_over(h, 'hidden'))", "together they are (features"
    ),
    "unrelated values that nothing links": value(
        "LG124 warning",
        'x * h * eq.parameter("g", "key")',
        'x * h * eq.parameter("W", "hidden", "features")',
        "share no dimension",
    ),
    "unrelated values, one of them shared": value(
        "LG124 warning",
        'x * (h * eq.parameter("g"))',
        'x * eq.parameter("g", "hidden")',
        "with @, or write outer(a, b)",
    ),
    # LG121, LG122: nothing to count steps by, and nothing that recurs
    "no input": Case(
        'def tried(eq):  #! LG121\n    eq.output(eq.next("h", 0.5 * eq.state("h")))',
        'def tried(eq):\n    eq.output(eq.next("h", 0.5 * eq.state("h") + eq.input("x", "hidden")))',
        'x = eq.input("x")',
    ),
    "no state": Case(
        'def tried(eq):  #! LG122\n    eq.output(eq.let("y", 0.5 * eq.input("x")))',
        'def tried(eq):\n    eq.output(eq.next("y", 0.5 * eq.input("x") * eq.state("y", "features")))',
        'h_prev = eq.state("h")',
    ),
    # LG116, LG117: no output, and no expressions
    "no output": Case(
        'def tried(eq):  #! LG116\n    h_prev, x = eq.state("h"), eq.input("x", "hidden")\n'
        '    return eq.next("h", h_prev * x)',
        'def tried(eq):\n    h_prev, x = eq.state("h"), eq.input("x", "hidden")\n'
        '    eq.output(eq.next("h", h_prev * x))',
        "end with eq.output(h)",
    ),
    "output of an expression": lines(
        "eq.output(2 * h)  #! LG117", 'eq.output(eq.let("y", 2 * h))', "a named value of this cell, not 2*h"
    ),
    "output of a name": lines('eq.output("h")  #! LG117', "", "not text 'h'"),
    "output of a list": lines("eq.output([h])  #! LG117", "", "not list [h]"),
    "output of an input": lines(
        "eq.output(x)  #! LG117", 'eq.output(eq.let("y", x * 1))', "x is no result of this step"
    ),
    "output of the step before": lines("eq.output(h_prev)  #! LG117", "", "h_prev is no result of this step"),
    "output of parameters alone": lines(
        'b = eq.parameter("b", "hidden")\neq.output(eq.let("y", 2 * b))  #! LG117',
        'b = eq.parameter("b", "hidden")\neq.output(eq.let("y", h * b))',
        "the same at every step",
    ),
    "nothing for a value": value("LG117", "None", "0 * h", "NoneType None stands where a value belongs"),
    "text for an expression": value("LG117", '"h + 1"', "h + 1", "text 'h + 1' stands where a value belongs"),
    "comparison for a value": value("LG117", "h > 0", "where(h > 0, 1, 0)", "belongs in where(condition, a, b)"),
    "list for a value": value("LG117", "[h]", "h", "list [h] stands where a value belongs"),
    "array for a value": value("LG117", "h * np.ones(2)", "h * np.ones(2)[0]", "ndarray array([h*1.0, h*1.0]"),
    "nothing in a product": value("LG117", "(h @ None) * h", "(h @ h) * h", "NoneType None stands where"),
    "text in a matrix product": value("LG117", '(h @ "h") * h', "(h @ h) * h", "text 'h' stands where"),
    "list in a function": value("LG117", "sigmoid([h])", "sigmoid(h)", "list [h] stands where"),
    "comparison in a function": value("LG117", "sigmoid(h > 0)", "sigmoid(h - 0)", "h > 0 stands where a value"),
    "comparison in a sum": value("LG117", 'sum_over(h > 0, "hidden")', 'sum_over(h, "hidden")', "stands where a value"),
    "value for a condition": value("LG117", "where(h, h, x)", "where(h > x, h, x)", "h is no comparison"),
    "value within a condition": value("LG117", "where(~h, 1, h)", "where(~(h > 0), 1, h)", "h is no comparison"),
    "Python's equality": value("LG117", "where(h == 0, 1, h)", "where(equal(h, 0), 1, h)", "or equal(a, b)"),
    "not a number": value("LG117", 'h * float("nan")', "h * 0.5", "nan is no number that arrays can hold"),
    "infinity": value("LG117", 'h * float("inf")', "h * 1e30", "oo is no number that arrays can hold"),
    "number beyond floats": value("LG117", "h * 10**400", "h * 10**30", "... is no number that arrays can hold"),
    "division by zero": value("LG117", "h / 0", "h / 2", "0 to the power -1"),
    "too many arguments": value("LG117", "sigmoid(h, h)", "sigmoid(h)", "sigmoid takes 1 argument, 2 given"),
    "too few arguments": value("LG117", "clip(h, 0)", "clip(h, 0, 1)", "clip takes 3 arguments, 2 given"),
    "logarithm to a base": value("LG117", "sympy.log(h, 2)", "sympy.log(h) / log(2)", "log takes 1 argument, 2 given"),
    "affine map of nothing": lines(
        'a = eq.affine("y")  #! LG117\neq.output(eq.let("y", a * h))',
        'a = eq.affine("y", W=x)\neq.output(eq.let("y", a * h))',
        "affine('y') multiplies nothing",
    ),
    "affine map of a name": lines(
        'eq.output(eq.affine("y", W="x"))  #! LG117',
        'eq.output(eq.affine("y", W=x))',
        "text 'x' stands where a value belongs",
    ),
    "bias among the matrices": lines(
        'eq.output(eq.affine("y", W=x, b=None))  #! LG117',
        'eq.output(eq.affine("y", W=x, bias=None))',
        'b is the bias, no matrix\n    eq.output(eq.affine("y", W=x, b=None))  #! LG117\n  hint: bias=None leaves',
    ),
    "bias that is no name": lines(
        'eq.output(eq.affine("y", bias=False, W=x))  #! LG117',
        'eq.output(eq.affine("y", bias=None, W=x))',
        "bias=None leaves it out",
    ),
    # LG118: a next value that seems forgotten
    "old cell state for the new one": state(
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + x @ x)\n'
        'h = eq.next("h", h_prev * tanh(c_prev))  #! LG118 warning',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + x @ x)\nh = eq.next("h", h_prev * tanh(c))',
        "nothing reads the new c",
    ),
    # Here the step before is meant: the equation stands before that of `c`.
    "old cell state on purpose": state(
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + x @ x)\n'
        'h = eq.next("h", h_prev * tanh(c_prev))  #! LG118 warning',
        'c_prev = eq.state("c")\nh = eq.next("h", h_prev * tanh(c_prev))\nc = eq.next("c", c_prev + x @ x)',
        "put this equation before eq.next('c')",
    ),
    "new cell state that nothing uses": state(
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + x @ x)  #! LG107\nh = eq.next("h", h_prev * (x @ x))',
        'c_prev = eq.state("c")\nc = eq.next("c", c_prev + x @ x)\nh = eq.next("h", h_prev * c)',
        "use c, which eq.next('c', ...) returned",
    ),
    # LG120: the function stopped
    "exception": lines('raise ValueError("of the user\'s own")  #! LG120', "", "ValueError: of the user's own"),
    "assertion": lines("assert h is x  #! LG120", "assert h is not x", "nothing after it was checked"),
    "condition in Python": lines("if h > 0:  #! LG120\n    pass", "", "use where(condition, a, b)"),
    "chained comparison": value(
        "LG120", "where(0 < h < 1, h, 0)", "where((0 < h) & (h < 1), h, 0)", "cannot look into"
    ),
    "Python's max": value("LG120", "max(h, 0)", "maximum(h, 0)", "maximum"),
    "function of NumPy": value("LG120", "np.tanh(h)", "tanh(h)", "take them from lstmgen.api"),
    "function of math": value("LG120", "math.tanh(h)", "tanh(h)", "take them from lstmgen.api"),
    "product with a comparison": value("LG120", "h * (h > 0)", "h * where(h > 0, 1, 0)", "belongs in where("),
    "product with text": value("LG120", 'h * "h"', "h * h", "operators take values and numbers"),
    "part of a value": value("LG120", "h[0]", 'mean_over(h, "hidden")', "give each gate its own eq.affine"),
    "parts of a value": lines('f, i = eq.affine("f", W=x)  #! LG120', "", "give each gate its own eq.affine"),
    "method of an array": value("LG120", "tanh(h).sum()", 'sum_over(tanh(h), "hidden")', "take functions from"),
    "method of a number": value("LG120", "(2).sum(h)", "2 * h", "this is Python's own error"),
    "matrices without names": value(
        "LG120", 'eq.affine("y", x, h)', 'eq.affine("y", W=x, U=h)', "call it as in eq.affine('f', W=x, U=h_prev)"
    ),
    "method in the plural": lines('u = eq.inputs("u")  #! LG120', "", "eq.affine, constant, input, let"),
    "method that is none": lines('u = eq.define("u")  #! LG120', "", "eq.affine, constant, input, let"),
    "argument forgotten": lines("u = eq.input()  #! LG120", "", "call it as in eq.input('x')"),
}


@pytest.fixture
def declared(tmp_path: Path) -> Declared:
    """Makes a cell, in a file of its own, of its body or of a whole function."""
    path = tmp_path / "tried.py"

    def make(text: str) -> Cell:
        if not text.startswith("def "):
            text = "\n    ".join(["def tried(eq):", *text.splitlines()])
        path.write_text(f"{HEADER}@cell('tried')\n{text}\n", encoding="utf-8")
        namespace: dict[str, object] = {}
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
        made = namespace["tried"]
        assert isinstance(made, Cell)
        return made

    return make


@pytest.fixture
def diagnose(declared: Declared) -> Diagnose:
    """All that is said about a cell, errors or warnings."""

    def trace(text: str) -> tuple[Diagnostic, ...]:
        try:
            return declared(text).trace().warnings
        except DeclarationError as error:
            return error.diagnostics

    return trace


def marks(text: str) -> list[tuple[str, str, int]]:
    """What the comments of a cell announce: code, severity and line."""
    first = BODY - 1 if text.startswith("def ") else BODY
    found = [(line, match) for line, part in enumerate(text.splitlines(), first) for match in MARK.finditer(part)]
    return [(match[1], "warning" if match[2] else "error", line) for line, match in found]


def told(diagnostics: tuple[Diagnostic, ...]) -> list[tuple[str, str, int]]:
    return [(each.code, str(each.severity), each.place.line if each.place else 0) for each in diagnostics]


def codes(diagnostics: tuple[Diagnostic, ...]) -> list[str]:
    return [each.code for each in diagnostics]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_mistake_and_its_neighbour(case: Case, diagnose: Diagnose, tmp_path: Path) -> None:
    found = diagnose(case.wrong)
    assert marks(case.wrong)
    assert told(found) == marks(case.wrong)
    assert case.says in "\n".join(map(str, found))
    for each in found:
        assert each.message and each.hint
        assert each.place and each.place.file == str(tmp_path / "tried.py")
        assert (
            each.source == (tmp_path / "tried.py").read_text(encoding="utf-8").splitlines()[each.place.line - 1].strip()
        )
        assert str(each).startswith(f"{each.place.file}:{each.place.line}: {each.severity} {each.code}: ")
    assert diagnose(case.right) == ()


def test_every_code_has_a_case() -> None:
    sources = Path(builder.__file__).parent.glob("*.py")
    emitted = {code for source in sources for code in re.findall(r'"(LG\d+)"', source.read_text(encoding="utf-8"))}
    elsewhere = {"LG113", "LG119"}  # options, in test_declare_cell.py; start values, below
    assert emitted - elsewhere == {mark[0] for case in CASES.values() for mark in marks(case.wrong)}


def test_an_example_of_every_method_is_offered(diagnose: Diagnose) -> None:
    methods = [name for name in vars(builder.Equations) if not name.startswith("_")]
    for name in methods:
        (found,) = diagnose(SIMPLE.format(f"eq.{name}(1, 2, 3, 4, 5, 6, nothing=7)"))
        assert (found.code, f"call it as in eq.{name}(" in found.hint) == ("LG120", True)
    (found,) = diagnose(SIMPLE.format("eq.define()"))
    assert found.hint == f"what a cell calls is eq.{', '.join(sorted(methods))}"


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["double", "range", "lambda", "flat", "count", "outputs", "d_h", "c_prev"])
@pytest.mark.parametrize(
    "line",
    [
        'eq.output(eq.let("{}", h * h))',
        'eq.output(eq.let("y", x * eq.input("{}")))',
        'eq.output(eq.let("y", h * eq.parameter("{}")))',
        'eq.output(eq.let("y", outer(h, eq.input("u", "{}"))))',
        'u = eq.state("{0}")\neq.output(eq.next("{0}", u * h))',
    ],
    ids=["value", "input", "parameter", "dimension", "state"],
)
def test_reserved_names(name: str, line: str, diagnose: Diagnose) -> None:
    (found,) = diagnose(SIMPLE.format(line.format(name)))
    assert (found.code, repr(name) in found.message, bool(found.hint)) == ("LG108", True, True)
    assert diagnose(SIMPLE.format(line.format(f"e{name}_"))) == ()


@pytest.mark.parametrize("name", ["p", "initial", "lengths", "x_t"])
def test_names_that_only_inputs_may_not_have(name: str, diagnose: Diagnose) -> None:
    (found,) = diagnose(SIMPLE.format(f'eq.output(eq.let("y", h * eq.input("{name}")))'))
    assert (found.code, "another argument" in found.message) == ("LG108", True)
    assert diagnose(SIMPLE.format(f'eq.output(eq.let("{name}", h * h))')) == ()


@pytest.mark.parametrize("name", ["steps", "batch", "seed"])
def test_names_that_only_dimensions_may_not_have(name: str, diagnose: Diagnose) -> None:
    (found,) = diagnose(SIMPLE.format(f'eq.output(eq.affine("y", to="{name}", W=x))'))
    assert (found.code, "reserved" in found.message) == ("LG108", True)
    assert diagnose(SIMPLE.format(f'eq.output(eq.let("{name}", h * h))')) == ()


def test_every_reserved_name_says_why() -> None:
    for name, meaning in RESERVED.items():
        reason = reason_against(name)
        assert reason and reason[0] == "LG108" and meaning in reason[1] and name in reason[2]
    assert all(reason_against(name, is_input=True) for name in RESERVED_FOR_INPUTS)
    assert all(reason_against(name, is_dimension=True) for name in RESERVED_FOR_DIMENSIONS)
    assert not any(map(reason_against, ["f", "W_f", "x2", "h_prev_", "key", "outputs_", "prev", "d"]))


@pytest.mark.parametrize("name", ["", "1st", "a-b", "a b", "_a", "é", "x\n", None, 3, ("a",)], ids=repr)
def test_what_is_no_name(name: object, diagnose: Diagnose) -> None:
    assert codes(diagnose(SIMPLE.format(f'eq.output(eq.let("y", h * eq.input({name!r})))'))) == ["LG109"]
    assert codes(diagnose(SIMPLE.format(f"eq.output(eq.let({name!r}, h * h))"))) == ["LG109"]


# -- start values -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "init", ['"zeros"', '"1.5"', "Normal", "Normal(-1)", 'Uniform("a")', 'float("nan")', "Constant(None)", "[1]", "x"]
)
def test_bad_start_values(init: str, diagnose: Diagnose) -> None:
    line = 'b = eq.parameter("b", init={})  #! LG119\neq.output(eq.affine("y", W=x * b, bias_init={}))  #! LG119'
    body = SIMPLE.format(line.format(init, init))
    found = diagnose(body)
    assert told(found) == marks(body)
    assert all("Uniform(bound), Normal(std)" in each.hint for each in found)


@pytest.mark.parametrize(
    "init", ["0", "-1.5", "sympy.sqrt(2)", "np.float32(1)", "Normal(0)", "Uniform(1)", "Constant(-1)"]
)
def test_good_start_values(init: str, diagnose: Diagnose) -> None:
    assert diagnose(SIMPLE.format(f'eq.output(eq.affine("y", W=x, bias_init={init}))')) == ()


# -- ambiguous products -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "reads"),
    [
        ("a * P @ a", "(a * P) @ a"),
        ("P @ a * a", "(P @ a) * a"),
        ("a * a * P @ a", "((a * a) * P) @ a"),
        ("tanh(a) * P @ tanh(a)", "(tanh(a) * P) @ tanh(a)"),
        ("a * (P) @ a", "(a * P) @ a"),
        ("(a * P) @ a", ""),
        ("a * (P @ a)", ""),
        ("(P @ a) * a", ""),
        ("P @ (a * a)", ""),
        ("2 * P @ a", ""),
        ("-2 * P @ a", ""),
        ("P @ a * 2", ""),
        ("P @ a / 2", ""),
        ("-P @ a", ""),
        ("a + P @ a", ""),
        ("P @ P @ a", ""),
    ],
)
def test_ambiguous_products(product: str, reads: str, diagnose: Diagnose) -> None:
    # Where the product stands is enough: it need not run, and its dimensions need not let it pass.
    found = diagnose(SIMPLE.format(f"if x is h:\n    {product}"))
    assert [(each.code, each.severity) for each in found] == [("LG114", Severity.WARNING)] * bool(reads)
    if reads:
        assert found[0].message == f"ambiguous product: Python reads {product} as {reads}"
        assert found[0].hint.startswith(f"write {reads} if that is meant, or ")


# -- many at once -----------------------------------------------------------------------------------------------------

FIVE = """\
x, h_prev = eq.input("x"), eq.state("h")
u = eq.input("u")  #! LG115
z = eq.let("z", sympy.gamma(x))  #! LG112
r = eq.let("range", sigmoid(eq.affine("r", W=x)))  #! LG108
g = eq.let("g", tanh(eq.affine("g", W=z, U=r * h_prev)))
s = eq.let("s", (1 - r) * g)
s = eq.let("s", s * z)  #! LG110
h = eq.next("h", eq.parameter("U", "hidden", "key") @ h_prev)  #! LG102
eq.output(eq.let("y", h * s), h)"""


def test_all_mistakes_at_once(declared: Declared) -> None:
    with pytest.raises(DeclarationError) as caught:
        declared(FIVE).trace()
    error = caught.value
    assert told(error.diagnostics) == marks(FIVE)
    assert error.code == "LG115"  # of the first
    text = str(error)
    assert text.startswith("cell 'tried' has 5 mistakes\n\n")
    assert all(str(each) in text for each in error.diagnostics)


def test_warnings_are_told_with_errors_but_are_no_mistakes(declared: Declared) -> None:
    body = SIMPLE.format('y = eq.let("y", x * x @ x)  #! LG114 warning\neq.output(eq.let("z", y % 2))  #! LG112')
    with pytest.raises(DeclarationError, match="has 1 mistake\n") as caught:
        declared(body).trace()
    assert told(caught.value.diagnostics) == marks(body)


FAILED = [
    "u = eq.let('u', sympy.gamma(h))",
    "u = eq.let('u', [h])",
    "u = eq.let('u', outer(h, h))",
    "u = eq.let('u', sympy.Symbol('t') * h)",
    "u = eq.let('double', h)",
    "u = eq.let(None, h)",
    "u = eq.let('h', h)",
    "u = eq.input('u', 7)",
    "u = eq.input('u-u')",
    "u = eq.parameter('range', 'hidden')",
    "u = eq.parameter('u', 'key', '1')",
    "u = eq.affine('g', W=x)",
    "u = eq.affine('', W=None)",
    "u = eq.affine('u', W=x @ 2)",
    "u = eq.affine('u', to='batch', W=x)",
    "u = eq.next('hh', h)",
    "u = eq.size(3)",
]


@pytest.mark.parametrize("line", FAILED)
def test_one_mistake_is_told_once(line: str, diagnose: Diagnose) -> None:
    """Whatever is made of a value that failed, right or wrong, is said nothing of."""
    uses = [
        "v = eq.let('v', u.T @ (u * x) + sum_over(u, 'none'))",
        "w = eq.affine('w', to='key', W=u, V=v)",
        "c = eq.next('c', eq.state('c', 'value') * outer(w, v))",
        "eq.output(c, eq.let('y', sympy.gamma(c)))",
    ]
    found = diagnose(SIMPLE.format("\n".join([line, *uses])))
    assert len(found) == 1, "\n".join(map(str, found))
    assert found[0].place and found[0].place.line == BODY + 2


def test_a_function_that_stopped_is_not_said_to_leave_things_unused(diagnose: Diagnose) -> None:
    body = 'x, h_prev = eq.input("x"), eq.state("h")\nb = eq.parameter("b", "hidden")\nraise RuntimeError  #! LG120'
    assert told(diagnose(body)) == marks(body)


def test_what_came_before_a_stop_is_told(diagnose: Diagnose) -> None:
    body = SIMPLE.format('y = eq.let("y", sympy.gamma(h))  #! LG112\nundefined  #! LG111\nz = eq.let("z", outer(h, h))')
    assert told(diagnose(body)) == marks(body)


# -- places -----------------------------------------------------------------------------------------------------------


def test_the_line_of_a_call_over_several_lines_is_its_first(diagnose: Diagnose) -> None:
    body = SIMPLE.format('y = eq.let(  #! LG112\n    "y",\n    sympy.gamma(\n        h,\n    ),\n)\neq.output(y)')
    assert told(diagnose(body)) == marks(body)


def test_the_line_below_decorators(declared: Declared, tmp_path: Path) -> None:
    text = (
        "def same(function):\n    return function\n\n@cell(\n    'tried',\n)\n@same\n"
        "def other(eq):  #! LG116\n    eq.next('h', eq.state('h') * eq.input('x', 'hidden'))\n"
    )
    path = tmp_path / "other.py"
    path.write_text(HEADER + text, encoding="utf-8")
    namespace: dict[str, Cell] = {}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), namespace)
    with pytest.raises(DeclarationError) as caught:
        namespace["other"].trace()
    (found,) = caught.value.diagnostics
    assert found.source == "def other(eq):  #! LG116"


def test_mistakes_in_another_file_are_told_there(declared: Declared, tmp_path: Path) -> None:
    """Equations may be written by a function in another file; the cell's own file comes first."""
    common = tmp_path / "common.py"
    common.write_text("def define(eq, value):\n    return eq.let('y', value @ 2)\n", encoding="utf-8")
    namespace: dict[str, Callable[..., object]] = {}
    exec(compile(common.read_text(encoding="utf-8"), str(common), "exec"), namespace)
    made = declared(
        "def tried(eq, *, define=None):\n"
        "    define(eq, eq.next('h', eq.state('h') * 2))\n"
        "    eq.parameter('b')\n"
        "    eq.output(eq.next('c', eq.state('c') * 2))"
    )
    with pytest.raises(DeclarationError) as caught:
        made.trace(define=namespace["define"])
    places = [(Path(each.place.file).name, each.place.line) for each in caught.value.diagnostics if each.place]
    assert places == [("tried.py", BODY + 1), ("common.py", 2)]


def test_a_symbol_of_another_cell(declared: Declared) -> None:
    leak = "global kept\nkept = eq.input('kept', 'hidden')\neq.output(eq.next('h', kept * eq.state('h')))"
    made = declared(leak)
    made.trace()
    kept = made.function.__globals__["kept"]
    with pytest.raises(DeclarationError) as caught:
        declared("def tried(eq, *, kept=None):\n    eq.output(eq.next('h', eq.state('h') * kept))").trace(kept=kept)
    (found,) = caught.value.diagnostics
    assert (found.code, found.message) == ("LG111", "kept is no value of this cell")


def test_a_cell_without_a_source_file() -> None:
    """As typed into an interpreter: the line is known, its text is not, and nothing is said of ambiguous products."""
    namespace: dict[str, Cell] = {}
    text = "@cell('tried')\ndef tried(eq):\n    x = eq.input('x')\n    eq.output(eq.let('y', x * x @ 2))\n"
    exec("from lstmgen.api import *\n" + text, namespace)
    with pytest.raises(DeclarationError) as caught:
        namespace["tried"].trace()
    (found,) = caught.value.diagnostics
    assert str(found).startswith("<string>:5: error LG102: `@` needs a dimension to contract")
    assert found.source == ""


def test_errors_of_the_interpreter_are_not_caught(declared: Declared) -> None:
    with pytest.raises(KeyboardInterrupt):
        declared("raise KeyboardInterrupt").trace()
