"""Symbols, which are what their name, dimensions and role say, and the one form in which expressions are kept."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sympy
from sympy import Add, Expr, Mul, Pow, Rational, Symbol, evaluate

from lstmgen.api import (
    clip,
    equal,
    gelu,
    hard_sigmoid,
    maximum,
    minimum,
    outer,
    sigmoid,
    silu,
    sqrt,
    sum_over,
    tanh,
    where,
)
from lstmgen.declare.canonical import canonical, rebuild
from lstmgen.declare.operations import ShapeMistake, matrix_operators
from lstmgen.declare.symbols import Role, Value

F, J, G, C = (Value(name, ("hidden",)) for name in ("f", "i", "g", "c_prev"))
A, B, Z = Value("a"), Value("b"), Value("z")
M = Value("M", ("hidden", "hidden"), Role.PARAMETER)


# -- symbols ----------------------------------------------------------------------------------------------------------


def test_a_symbol_is_its_name_dimensions_and_role() -> None:
    same = Value("h", ("hidden",), Role.STATE)
    h = Value("h", ("hidden",), Role.STATE)
    assert h == same and hash(h) == hash(same) and h - same == 0
    others = [
        Value("g", ("hidden",), Role.STATE),
        Value("h", ("key",), Role.STATE),
        Value("h", ("hidden", "key"), Role.STATE),
        Value("h", (), Role.STATE),
        Value("h", ("hidden",), Role.INPUT),
        Symbol("h"),
        Symbol("h", real=True),
    ]
    assert len({h, *others}) == len(others) + 1
    for other in others:
        assert h != other and other != h
        assert h - other != 0  # SymPy's own cache, which knows symbols by name alone, is out of the way
    assert (h.name, h.dims, h.role) == ("h", ("hidden",), "state")
    assert str(h) == repr(h) == "h"


def test_symbols_of_one_name_live_side_by_side_in_an_expression() -> None:
    vector, wide = Value("h", ("hidden",)), Value("h", ("key",))
    total = vector * wide + vector
    assert total.free_symbols == {vector, wide}
    assert total.xreplace({wide: A}) == vector * A + vector
    assert sympy.diff(total, wide) == vector


def test_symbols_are_real() -> None:
    """Without it derivatives come back wrapped in `re`."""
    assert F.is_real and F.is_commutative and not F.is_positive
    assert sympy.diff(sympy.Abs(F) ** 2, F).has(sympy.re) is False
    assert sympy.sqrt(F**2) == sympy.Abs(F)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_symbols_survive_pickling(protocol: int) -> None:
    for original in (F, M, Value("x", (), "gate")):
        back = pickle.loads(pickle.dumps(original, protocol))
        assert back == original and hash(back) == hash(original)
        assert (back.name, back.dims, back.role) == (original.name, original.dims, original.role)


def test_expressions_survive_pickling() -> None:
    with evaluate(False):  # SymPy makes a sum again from its terms, and would put them in its own order
        expression = canonical(sigmoid(F) * C + M @ G - outer(J, A) + silu(B) + sum_over(F, "hidden"))
        back = pickle.loads(pickle.dumps(expression))
    assert back == expression and spell(back) == spell(expression)
    assert back.free_symbols == expression.free_symbols


def test_symbols_survive_copying() -> None:
    for made in (copy.copy(M), copy.deepcopy(M), copy.deepcopy([M])[0]):
        assert made == M and (made.dims, made.role) == (M.dims, M.role)


def test_a_symbol_pickled_elsewhere_is_the_same_here() -> None:
    code = (
        "import pickle, sys; from lstmgen.declare.symbols import Value; "
        "sys.stdout.buffer.write(pickle.dumps(Value('h', ('hidden',), 'gate')))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, check=True
    )
    assert pickle.loads(out.stdout) == Value("h", ("hidden",), "gate")


# -- the canonical form -----------------------------------------------------------------------------------------------


def spell(tree: Any) -> str:
    """A tree with its arguments in the order they are kept, as SymPy's printers do not show it."""
    if not tree.args:
        return str(tree)
    signs = {Add: "+", Mul: "*", Pow: "^"}
    return f"({' '.join([signs.get(type(tree)) or type(tree).__name__, *map(spell, tree.args)])})"


@pytest.mark.parametrize(
    ("write", "form"),
    [
        # order
        (lambda: F * C + J * G, "(+ (* f c_prev) (* i g))"),
        (lambda: J * G + F * C, "(+ (* i g) (* f c_prev))"),
        (lambda: Z + A, "(+ z a)"),
        (lambda: Z * A, "(* z a)"),
        (lambda: 1 - Z, "(+ 1 (* -1 z))"),
        (lambda: Z + 1, "(+ z 1)"),
        (lambda: (1 - Z) * A + Z * B, "(+ (* (+ 1 (* -1 z)) a) (* z b))"),
        (lambda: sum([Z, A, B]), "(+ z a b)"),
        # flat
        (lambda: Z + (B + A), "(+ z b a)"),
        (lambda: (Z + B) + (A + Z), "(+ z b a z)"),
        (lambda: Z * (B * A) * Z, "(* z b a z)"),
        (lambda: Z - (B - A), "(+ z (* -1 (+ b (* -1 a))))"),
        (lambda: Z / B / A, "(* z (^ b -1) (^ a -1))"),
        (lambda: (Z * A) ** 2, "(^ (* z a) 2)"),
        (lambda: tanh((A + Z) + B), "(tanh (+ a z b))"),
        # numbers, of one spelling in every release of SymPy
        (lambda: -A, "(* -1 a)"),
        (lambda: -1 * -A, "a"),
        (lambda: 2 * (3 * A), "(* 6 a)"),
        (lambda: A * 2 * B * Rational(1, 2), "(* a b)"),
        (lambda: A / 2, "(* 1/2 a)"),
        (lambda: 2 / A, "(* 2 (^ a -1))"),
        (lambda: 1.0 * A, "a"),
        (lambda: A * 0.5 * 2, "a"),
        (lambda: 2.0 * A + 0.0, "(* 2 a)"),
        (lambda: A + 0, "a"),
        (lambda: A - A * 0, "(+ a (* 0 a))"),
        (lambda: 0 * A, "(* 0 a)"),
        (lambda: A + 2**3 * B, "(+ a (* 8 b))"),
        (lambda: sympy.Integer(2) ** 3 * A, "(* 8 a)"),
        (lambda: A * sympy.pi, "(* a pi)"),
        # powers
        (lambda: A**2.0, "(^ a 2)"),
        (lambda: A**0.5, "(sqrt a)"),
        (lambda: A**-0.5, "(^ (sqrt a) -1)"),
        (lambda: A ** Rational(1, 2), "(sqrt a)"),
        (lambda: 1 / sqrt(A), "(^ (sqrt a) -1)"),
        (lambda: sympy.sqrt(A), "(sqrt a)"),
        (lambda: 1 / sympy.sqrt(A), "(^ (sqrt a) -1)"),
        (lambda: A**1.5, "(^ a 1.50000000000000)"),
        (lambda: sympy.cbrt(A), "(^ a 1/3)"),
        # functions of SymPy, and of Python
        (lambda: sympy.tanh(A), "(tanh a)"),
        (lambda: sympy.exp(A) * sympy.log(B), "(* (exp a) (log b))"),
        (lambda: abs(A), "(absolute a)"),
        (lambda: sympy.Abs(A) * sympy.sign(B), "(* (absolute a) (sign b))"),
        (lambda: sympy.erf(A), "(erf a)"),
        (lambda: sympy.Max(A, B), "(maximum a b)"),
        (lambda: sympy.Max(A, B, Z), "(maximum (maximum a b) z)"),
        (lambda: sympy.Min(A, B), "(minimum a b)"),
        (lambda: M.transpose() @ F, "(Matmul (Transpose M) f)"),
        (lambda: (2 * M).transpose() @ F, "(Matmul (Transpose (* 2 M)) f)"),
        (lambda: sympy.adjoint(M) @ F, "(Matmul (Transpose M) f)"),
        # expansions
        (lambda: silu(Z), "(* z (sigmoid z))"),
        (lambda: clip(Z, A, 1), "(minimum (maximum z a) 1)"),
        (lambda: hard_sigmoid(2 * Z), "(minimum (maximum (+ (* 1/3 z) 1/2) 0) 1)"),
        (lambda: gelu(Z), "(* 1/2 z (+ 1 (erf (* 0.707106781186548 z))))"),
        # operands of operations, conditions and calls
        (lambda: (M + (M + M)) @ (2 * (3 * F)), "(Matmul (+ M M M) (* 6 f))"),
        (lambda: outer(Z, F + 0), "(Outer z f)"),
        (lambda: sum_over(F + 0, "hidden"), "(SumOver f hidden)"),
        (lambda: maximum(Z + (A + B), minimum(A, 1.0 * B)), "(maximum (+ z a b) (minimum a b))"),
        (lambda: where(Z > A + (B + 0), 1 * Z, 1.0), "(where (StrictGreaterThan z (+ a b)) z 1)"),
        (lambda: where(~(A >= 2.0 * B), Z, A), "(where (Not (GreaterThan a (* 2 b))) z a)"),
        (lambda: where(equal(Z, A) | (A < B), Z, A), "(where (Or (Equality z a) (StrictLessThan a b)) z a)"),
    ],
)
def test_canonical_form(write: Callable[[], Expr], form: str) -> None:
    with evaluate(False), matrix_operators():
        tree = canonical(write())
        assert spell(tree) == form
        assert canonical(tree) == tree and spell(canonical(tree)) == form  # and stays as it is


@pytest.mark.parametrize(
    "write", [lambda: A**B, lambda: 2**A, lambda: sympy.E**A, lambda: sympy.gamma(A), lambda: A % 2]
)
def test_what_has_no_derivative(write: Callable[[], Expr]) -> None:
    with evaluate(False), pytest.raises(ShapeMistake) as caught:
        canonical(sigmoid(1 + write()))
    assert caught.value.code == "LG112"


@pytest.mark.parametrize(
    "write",
    [
        lambda: A > 0,
        lambda: tanh(A > 0),
        lambda: tanh(None),
        lambda: where(A, A, A),
        lambda: where(True, A, A),
        lambda: A * sympy.oo,
        lambda: A + sympy.nan,
        lambda: A / 0,
        lambda: A * 10**400,
        lambda: A * sympy.Integer(-8) ** Rational(1, 3),
        lambda: maximum(A, B, Z),
        lambda: sympy.log(A, 2),
    ],
)
def test_what_is_no_value(write: Callable[[], Expr]) -> None:
    with evaluate(False), pytest.raises(ShapeMistake) as caught:
        canonical(write())
    assert caught.value.code == "LG117" and caught.value.message and caught.value.hint


def test_rebuilding_evaluates_from_the_leaves_up() -> None:
    with evaluate(False):
        tree = canonical(Z * A + A * Z + tanh(Z + (A + 0)) - tanh(Z + A))
    assert spell(tree).startswith("(+ (* z a) (* a z) (tanh (+ z a))")
    assert rebuild(tree) == 2 * A * Z
    assert rebuild(tree, lambda leaf: B if leaf == Z else leaf) == 2 * A * B
