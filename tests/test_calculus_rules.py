"""Every rule of differentiation against finite differences, one by one.

The tests walk the tables themselves: an operation or a function without an example here fails by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sympy import Expr, Gt, Integer, Tuple
from sympy.core.symbol import Str

from lstmgen.calculus.graph import Dependence, Graph
from lstmgen.calculus.interpreter import interpret
from lstmgen.calculus.normal_form import Normalizer
from lstmgen.calculus.operations import Contract, FirstMaximum, Gauge, Total, Unflatten
from lstmgen.calculus.rules import VJP
from lstmgen.declare.canonical import canonical
from lstmgen.declare.declaration import Equation
from lstmgen.declare.functions import DEFINITIONS, Definition
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.shapes import dims_of
from lstmgen.declare.symbols import Role, Value
from lstmgen.verify.differences import central_differences, complex_step

SIZES = {"a": 2, "b": 3, "c": 4, "ab": 6}
ROWS = 3


def value(name: str, *dims: str) -> Value:
    return Value(name, dims, Role.INPUT)


def shared(name: str, *dims: str) -> Value:
    return Value(name, dims, Role.PARAMETER)


def contract(left: Value, right: Value, spec: str) -> Contract:
    """A contraction by letters: ``"ab,b->a"``."""
    operands, out = spec.split("->")
    return Contract(left, right, *([ord(letter) - 97 for letter in each] for each in (*operands.split(","), out)))


EXAMPLES: dict[str, Operation] = {
    "matrix times vector": contract(shared("W", "a", "b"), value("x", "b"), "ab,b->a"),
    "transposed matrix times vector": contract(shared("W", "a", "b"), value("x", "a"), "ab,a->b"),
    "square matrix times vector": contract(shared("W", "a", "a"), value("x", "a"), "ab,b->a"),
    "matrix of every row": contract(value("A", "a", "b"), value("x", "b"), "ab,b->a"),
    "in blocks": contract(shared("W", "a", "b", "c"), value("x", "a", "c"), "abc,ac->ab"),
    "dot product": contract(value("x", "b"), value("y", "b"), "a,a->"),
    "a vector with itself": contract(value("x", "b"), value("x", "b"), "a,a->"),
    "outer": contract(value("x", "a"), value("y", "b"), "a,b->ab"),
    "outer of a matrix": contract(value("A", "a", "b"), value("x", "c"), "ab,c->abc"),
    "of parameters alone": contract(shared("W", "a", "b"), shared("v", "b"), "ab,b->a"),
    "sum over the first": SumOver(value("A", "a", "b"), "a"),
    "sum over the last": SumOver(value("A", "a", "b"), "b"),
    "sum of a parameter": SumOver(shared("W", "a", "b"), "b"),
    "max over the first": MaxOver(value("A", "a", "b"), "a"),
    "max over the last": MaxOver(value("A", "a", "b"), "b"),
    "max of a parameter": MaxOver(shared("W", "a", "b"), "b"),
    "first maximum": FirstMaximum(value("A", "a", "b"), Str("b")),
    "transpose": Transpose(value("A", "a", "b")),
    "transpose of three": Transpose(value("A", "c", "a", "b")),
    "flatten": Flatten(value("A", "a", "b"), "ab"),
    "flatten a parameter": Flatten(shared("W", "a", "b"), "ab"),
    "unflatten": Unflatten(value("x", "ab"), Tuple(Str("a"), Str("b"))),
    "stop": StopGradient(value("x", "a")),
    "gauge": Gauge(value("x", "a")),
    "total": Total(value("x", "a")),
}


def test_every_rule_has_an_example() -> None:
    tried = {type(each).__name__ for each in EXAMPLES.values()}
    assert tried == {kind.__name__ for kind in VJP}, "add an example above for every operation of the table"


@pytest.mark.parametrize("label", EXAMPLES)
def test_rule_against_differences(label: str) -> None:
    operation = EXAMPLES[label]
    operands = tuple(dict.fromkeys(operation.values))
    y = Value("out", dims_of(operation))
    primal = Graph("primal", operands, (Equation(y, operation),), (y,)).verify()
    has_rows = primal.dependence()[y] is not Dependence.SHARED
    random = np.random.default_rng(3)

    def draw(each: Value, rows: bool) -> Any:
        return np.array(random.standard_normal([ROWS] * rows + [SIZES[dim] for dim in each.dims]))

    point = {each: draw(each, each.role == Role.INPUT) for each in operands}
    d_y = Value("d_y", y.dims, Role.ADJOINT)
    weight = draw(y, has_rows)

    def loss() -> float:
        return float(np.sum(weight * interpret(primal, point, rows=ROWS, sizes=SIZES)[y]))

    found = {each: np.zeros(array.shape) for each, array in point.items()}
    for operand, term in zip(operation.values, VJP[type(operation)](operation, y, d_y), strict=True):
        assert isinstance(operand, Value)
        if term is not None:
            found[operand] = found[operand] + _contribution(term, operand, {**point, d_y: weight}, has_rows)
    for each, array in point.items():
        expected = np.zeros(array.shape) if isinstance(operation, StopGradient) else central_differences(loss, array)
        np.testing.assert_allclose(found[each], expected, rtol=1e-9, atol=1e-9)


def _contribution(term: Expr, operand: Value, values: dict[Value, Any], has_rows: bool) -> Any:
    """A rule's term in the dimensions of its operand; a parameter's is summed over the rows that used it."""
    d_operand = Value("d_operand", operand.dims, Role.ADJOINT)
    normalizer = Normalizer(values)
    normalizer.define(d_operand, term)
    known = {each: Dependence.SHARED if each.role == Role.PARAMETER else Dependence.RECURRENT for each in values}
    known |= {each: Dependence.SHARED for each in values if each.role == Role.ADJOINT and not has_rows}
    graph = Graph("rule", tuple(values), tuple(normalizer.equations), (d_operand,)).verify()
    array = interpret(graph, values, rows=ROWS, sizes=SIZES, known=known)[d_operand]
    return array.sum(0) if operand.role == Role.PARAMETER and array.ndim > len(operand.dims) else array


def test_ties_of_a_maximum_go_to_the_first() -> None:
    x, d_y, d_x = value("x", "b"), Value("d_y", (), Role.ADJOINT), Value("d_x", ("b",), Role.ADJOINT)
    (term,) = VJP[MaxOver](MaxOver(x, "b"), Value("y"), d_y)
    normalizer = Normalizer([x, d_y])
    assert term is not None
    normalizer.define(d_x, term)
    graph = Graph("tie", (x, d_y), tuple(normalizer.equations), (d_x,)).verify()
    arrays = {x: np.array([[1.0, 1.0, 0.0], [2.0, 3.0, 3.0]]), d_y: np.array([5.0, 7.0])}
    found = interpret(graph, arrays, rows=2, sizes=SIZES)[d_x]
    assert found.tolist() == [[5.0, 0.0, 0.0], [0.0, 7.0, 0.0]]


# -- elementwise functions ---------------------------------------------------------------------------------------------

X = np.array([-2.3, -0.7, -0.1, 0.2, 0.9, 1.7, 3.1])
POSITIVE = np.abs(X) + 0.1
OTHER = np.array([0.4, -1.1, 0.8, -0.9, 1.3, 0.6, 2.2])


def erf_of(a: Any) -> Any:
    return np.vectorize(math.erf)(a)


REFERENCES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "sigmoid": (lambda a: 1 / (1 + np.exp(-a)), (X,)),
    "tanh": (lambda a: (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1), (X,)),
    "relu": (lambda a: a * (a > 0), (X,)),
    "softplus": (lambda a: np.log(1 + np.exp(a)), (X,)),
    "logsigmoid": (lambda a: -np.log(1 + np.exp(-a)), (X,)),
    "exp": (np.exp, (X,)),
    "log": (np.log, (POSITIVE,)),
    "sqrt": (np.sqrt, (POSITIVE,)),
    "absolute": (np.abs, (X,)),
    "sign": (np.sign, (X,)),
    "erf": (erf_of, (X,)),
    "maximum": (np.maximum, (X, OTHER)),
    "minimum": (np.minimum, (X, OTHER)),
    "where": (lambda a, b: np.where(a > b, a, b), (X, OTHER)),
    "clip": (lambda a: np.clip(a, -1, 1), (X,)),
    "silu": (lambda a: a / (1 + np.exp(-a)), (X,)),
    "gelu": (lambda a: a * (1 + erf_of(a / np.sqrt(2))) / 2, (X,)),
    "hard_sigmoid": (lambda a: np.clip(a / 6 + 0.5, 0, 1), (np.append(X, [-3.5, 3.5]),)),
}
"""What each function means, in NumPy, and where it is tried: clear of its kinks."""

ANALYTIC = ("sigmoid", "tanh", "softplus", "logsigmoid", "exp", "log", "sqrt", "erf", "silu", "gelu")


def test_every_function_has_a_reference() -> None:
    assert set(REFERENCES) == {each.name for each in DEFINITIONS.values()}, "add a reference above for every function"


def test_every_function_is_whole() -> None:
    for each in DEFINITIONS.values():
        assert (each.expansion is None) == (each.partials is not None) == (each.evaluate is not None), each.name


def call_of(name: str, *arguments: Value) -> Expr:
    definition = next(each for each in DEFINITIONS.values() if each.name == name)
    if name == "where":
        return definition.function(Gt(*arguments, evaluate=False), *arguments)
    if name == "clip":
        return definition.function(*arguments, Integer(-1), Integer(1))
    return definition.function(*arguments)


def evaluated(name: str, arrays: tuple[Any, ...], target: Expr | None = None) -> Any:
    """The function at ``arrays`` by the interpreter, or another expression in its arguments and its value ``y``."""
    arguments = tuple(Value(letter, ("n",), Role.INPUT) for letter, _ in zip("ab", arrays, strict=False))
    y, result = Value("y", ("n",)), Value("result", ("n",))
    normalizer = Normalizer(arguments)
    normalizer.reserve(["y", "result"])
    normalizer.define(y, canonical(call_of(name, *arguments)))
    normalizer.define(result, y if target is None else target)
    graph = Graph("function", arguments, tuple(normalizer.equations), (result,)).verify()
    rows = {argument: array[None] for argument, array in zip(arguments, arrays, strict=True)}
    found = interpret(graph, rows, rows=1, sizes={"n": len(arrays[0])})[result]
    return np.broadcast_to(found, (1, len(arrays[0])))[0]  # a derivative may be a number


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_function_means_what_its_reference_does(name: str) -> None:
    reference, arrays = REFERENCES[name]
    np.testing.assert_allclose(evaluated(name, arrays), reference(*arrays), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("definition", [each for each in DEFINITIONS.values() if each.partials], ids=lambda d: d.name)
def test_partials_against_differences(definition: Definition) -> None:
    assert definition.partials is not None
    reference, arrays = REFERENCES[definition.name]
    arguments = tuple(Value(letter, ("n",), Role.INPUT) for letter, _ in zip("ab", arrays, strict=False))
    condition = (Gt(*arguments, evaluate=False),) if definition.name == "where" else ()
    partials = definition.partials(Value("y", ("n",)), *condition, *arguments)[len(condition) :]
    for partial, array in zip(partials, arrays, strict=True):
        slope = central_differences(lambda: float(np.sum(reference(*arrays))), array)
        found = evaluated(definition.name, arrays, canonical(partial))
        np.testing.assert_allclose(found, slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_step_through_the_interpreter(name: str) -> None:
    """The interpreter is analytic where the function is: nothing on the way drops the imaginary part."""
    reference, (real,) = REFERENCES[name]
    array = real.astype(complex)
    found = complex_step(lambda: complex(evaluated(name, (array,)).sum()), array)
    expected = central_differences(lambda: float(np.sum(reference(real))), real)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "arrays", "slopes"),
    [
        ("relu", (np.zeros(1),), [0.0]),
        ("absolute", (np.zeros(1),), [0.0]),
        ("sign", (np.zeros(1),), [0.0]),
        ("maximum", (np.ones(1), np.ones(1)), [1.0, 0.0]),
        ("minimum", (np.ones(1), np.ones(1)), [1.0, 0.0]),
    ],
)
def test_conventions_at_kinks(name: str, arrays: tuple[Any, ...], slopes: list[float]) -> None:
    """relu'(0) = abs'(0) = 0; of tied operands the first gets the gradient."""
    definition = next(each for each in DEFINITIONS.values() if each.name == name)
    assert definition.partials is not None
    arguments = tuple(Value(letter, ("n",), Role.INPUT) for letter, _ in zip("ab", arrays, strict=False))
    partials = definition.partials(Value("y", ("n",)), *arguments)
    assert [float(evaluated(name, arrays, canonical(each))[0]) for each in partials] == slopes


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "logsigmoid", "erf", "silu", "gelu", "hard_sigmoid"])
def test_saturated_functions_and_their_slopes_are_finite(name: str) -> None:
    definition = next(each for each in DEFINITIONS.values() if each.name == name)
    far = np.array([-1e3, -50.0, 50.0, 1e3])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        assert np.isfinite(evaluated(name, (far,))).all()
        if definition.partials is not None:
            (partial,) = definition.partials(Value("y", ("n",)), Value("a", ("n",), Role.INPUT))
            slope = evaluated(name, (far,), canonical(partial))
            expected = {"softplus": [0, 0, 1, 1], "logsigmoid": [1, 1, 0, 0]}.get(name, [0, 0, 0, 0])
            np.testing.assert_allclose(slope, expected, atol=1e-15)
