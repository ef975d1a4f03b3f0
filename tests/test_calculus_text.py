"""Equations as text: read back as Python, every one must mean what it was printed from."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from sympy import Add, And, Expr, Float, Gt, Integer, Le, Mul, Not, Or, Pow, Rational, Tuple, pi
from sympy.core.symbol import Str
from trial_cells import CASES

from lstmgen.calculus.graph import Graph
from lstmgen.calculus.interpreter import Interpreter, interpret
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.operations import Contract, FirstMaximum, Total, Unflatten
from lstmgen.calculus.reverse import differentiate
from lstmgen.calculus.text import Text, inlined_products, number
from lstmgen.cells.lstm import lstm
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import DEFINITIONS, sigmoid, where
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value

a, b, c = (Value(name, ("hidden",), Role.INPUT) for name in "abc")
W = Value("W", ("hidden", "features"), Role.PARAMETER)
x = Value("x", ("features",), Role.INPUT)


class Scalar:
    """A number that is a matrix of one entry too, so that text with ``@`` and ``.T`` can be evaluated as it stands."""

    def __init__(self, value: Any) -> None:
        self.value = float(value)

    @property
    def T(self) -> Scalar:  # noqa: N802 - the name in the text
        return self

    def __abs__(self) -> Scalar:
        return Scalar(abs(self.value))

    def __neg__(self) -> Scalar:
        return Scalar(-self.value)

    def __float__(self) -> float:
        return self.value


def _operator(name: str, *, result: type = Scalar) -> None:
    function = operator.mul if name == "matmul" else getattr(operator, name)
    setattr(Scalar, f"__{name}__", lambda self, other: result(function(self.value, float(other))))
    setattr(Scalar, f"__r{name}__", lambda self, other: result(function(float(other), self.value)))


for each in ("add", "sub", "mul", "matmul", "truediv", "pow"):
    _operator(each)
for each in ("gt", "ge", "lt", "le", "eq", "ne"):
    _operator(each, result=bool)


def _function(definition: Any) -> Any:
    return lambda *args: Scalar(definition.evaluate(*[np.asarray(float(arg)) for arg in args]))


NAMESPACE = {
    **{each.name: _function(each) for each in DEFINITIONS.values() if each.evaluate is not None},
    **dict.fromkeys(["sum_over", "max_over", "flatten", "total", "stop_gradient"], lambda value, *dims: value),
    **dict.fromkeys(["outer", "contract"], lambda left, right, *axes: left * right),
    "first_maximum": lambda value, dim: Scalar(1),
    "where": lambda condition, one, other: Scalar(one if condition else other),
    "abs": abs,
}


def meaning(text: str, values: dict[Value, Any]) -> float:
    names = {value.name: Scalar(np.asarray(array).item()) for value, array in values.items()}
    return float(eval(text, {"__builtins__": {}, **NAMESPACE}, names))


@pytest.mark.parametrize("label", ["lstm", *CASES])
@pytest.mark.parametrize("inline", [False, True], ids=["named", "inlined"])
def test_text_means_what_it_was_printed_from(label: str, inline: bool) -> None:
    """Every equation of every cell, forward and backward, with all dimensions of size one."""
    made, options = CASES.get(label, (lstm, {}))
    declaration = made.trace(**options)
    primal = normalize(declaration)
    gradient = differentiate(declaration, primal)
    random = np.random.default_rng(0)
    sizes = dict.fromkeys({dim for graph in (primal, gradient.adjoint) for dim in _dims(graph)}, 1)
    values: dict[Value, Any] = {}
    for graph, known in ((primal, None), (gradient.adjoint, primal.dependence())):
        interpreter = Interpreter(graph, sizes, known)
        for value in graph.free:
            values.setdefault(value, random.uniform(-1, 1, interpreter.shape(value, 1)))
        values |= interpreter({value: values[value] for value in graph.free}, 1)
        text = Text(inlined_products(graph) if inline else None)
        for equation in graph.equations:
            target, equals, right = text.equation(equation).partition(" = ")
            assert (target, equals) == (equation.target.name, " = ")
            if "unflatten" not in right:
                found = meaning(right, values)
                assert found == pytest.approx(np.asarray(values[equation.target]).item(), rel=1e-12, abs=1e-300), right


def _dims(graph: Graph) -> set[str]:
    values = [*graph.free, *(equation.target for equation in graph.equations)]
    return {dim for value in values for dim in value.dims} | {value.name for value in values if value.role == Role.SIZE}


def plain(kind: type[Expr], *args: Any) -> Expr:
    return kind(*args, evaluate=False)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (plain(Add, a, plain(Mul, Integer(-1), b)), "a - b"),
        (plain(Add, plain(Mul, Integer(-1), a), b), "-a + b"),
        (plain(Add, a, plain(Mul, Integer(-2), b, c)), "a - 2 * b * c"),
        (plain(Add, a, Integer(-1)), "a - 1"),
        (plain(Mul, a, plain(Add, b, c)), "a * (b + c)"),
        (plain(Mul, Integer(-1), plain(Add, a, b)), "-(a + b)"),
        (plain(Mul, a, plain(Pow, b, Integer(-1))), "a / b"),
        (plain(Mul, a, plain(Pow, b, Integer(-1)), plain(Pow, c, Integer(-2))), "a / (b * c**2)"),
        (plain(Mul, plain(Pow, a, Integer(-1)), plain(Pow, b, Integer(-1))), "1 / (a * b)"),
        (plain(Pow, a, Integer(-1)), "1 / a"),
        (plain(Pow, a, Integer(-3)), "1 / a**3"),
        (plain(Pow, plain(Pow, a, Integer(-1)), Integer(2)), "(1 / a)**2"),
        (plain(Pow, plain(Mul, Integer(-1), a), Integer(2)), "(-a)**2"),
        (plain(Pow, a, Float(1.5)), "a**1.5"),
        (plain(Pow, a, Rational(1, 3)), "a**(1/3)"),
        (plain(Pow, a, Rational(-1, 3)), "1 / a**(1/3)"),
        (plain(Mul, a, plain(Pow, Rational(1, 3), Integer(-1))), "a / (1/3)"),
        (plain(Mul, a, Rational(1, 3)), "a * (1/3)"),
        (plain(Mul, plain(Mul, a, plain(Pow, b, Integer(-1))), c), "a / b * c"),
        (plain(Mul, c, plain(Mul, a, plain(Pow, b, Integer(-1)))), "c * (a / b)"),
        (plain(Mul, Rational(1, 6), a), "1/6 * a"),
        (plain(Mul, Rational(-1, 6), a), "-1/6 * a"),
        (plain(Mul, pi, a), "3.141592653589793 * a"),
        (Contract(W, x, (0, 1), (1,), (0,)), "W @ x"),
        (Contract(W, a, (0, 1), (0,), (1,)), "W.T @ a"),
        (Contract(a, x, (0,), (1,), (0, 1)), "outer(a, x)"),
        (Contract(a, b, (0,), (0,), ()), "a @ b"),
        (Contract(W, W, (0, 1), (2, 1), (0, 2)), 'contract(W, W, "ab,cb->ac")'),
        (SumOver(W, "features"), 'sum_over(W, "features")'),
        (MaxOver(a, "hidden"), 'max_over(a, "hidden")'),
        (FirstMaximum(a, SumOver(a, "hidden").args[1]), 'first_maximum(a, "hidden")'),
        (Transpose(W), "W.T"),
        (Flatten(W, "all"), 'flatten(W, "all")'),
        (StopGradient(a), "stop_gradient(a)"),
        (Total(a), "total(a)"),
        (Unflatten(a, Tuple(Str("p"), Str("q"))), "unflatten(a, p x q)"),
        (where(plain(Gt, a, b), a, Integer(0)), "where(a > b, a, 0)"),
        (where(plain(And, plain(Gt, a, b), plain(Le, a, c)), a, b), None),  # SymPy orders them
        (where(plain(Or, plain(Gt, a, b), plain(Not, plain(Le, a, c))), a, b), None),
    ],
)
def test_text(expression: Expr, text: str | None) -> None:
    printed = Text()(expression)
    assert text is None or printed == text
    if not isinstance(expression, Operation):
        values = {a: np.full((1, 1), 0.3), b: np.full((1, 1), 0.7), c: np.full((1, 1), 1.9)}
        y = Value("y", ("hidden",))
        graph = Graph("text", tuple(values), (Equation(y, expression),), (y,))
        found = interpret(graph, values, rows=1, sizes={"hidden": 1})[y].item()
        assert meaning(printed, values) == pytest.approx(found, rel=1e-15)


def test_products_that_are_printed_in_place_keep_their_parentheses() -> None:
    product = Value("W_x", ("hidden",), Role.INTERMEDIATE)
    text = Text({product: Contract(W, x, (0, 1), (1,), (0,))})
    assert text(product + a) == "W @ x + a" or text(product + a) == "a + W @ x"
    assert text(plain(Mul, a, product)) == "a * (W @ x)"
    assert text(plain(Pow, product, Integer(2))) == "(W @ x)**2"
    assert text(plain(Mul, Integer(-1), product)) == "-W @ x"
    assert text(sigmoid(product)) == "sigmoid(W @ x)"


def test_numbers_are_printed_as_short_as_python_does() -> None:
    assert [number(each) for each in (Integer(3), Rational(1, 3), Float(0.1), Rational(1, 1001), pi)] == [
        "3", "1/3", "0.1", repr(1 / 1001), repr(np.pi),
    ]  # fmt: skip
