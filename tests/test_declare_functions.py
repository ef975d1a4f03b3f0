"""Elementwise functions: every derivative against differences of the function itself; conventions, range, limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import sympy
from sympy import Add, Expr, Mul, Pow, Symbol, evaluate

from lstmgen import api
from lstmgen.declare.canonical import canonical
from lstmgen.declare.functions import (
    DEFINITIONS,
    FROM_SYMPY,
    Definition,
    absolute,
    clip,
    equal,
    gelu,
    hard_sigmoid,
    known_functions,
    maximum,
    minimum,
    relu,
    sign,
    silu,
    where,
)
from lstmgen.declare.operations import ShapeMistake
from lstmgen.declare.symbols import Value

Array = np.ndarray[Any, np.dtype[Any]]

Y, A, B, C = (Value(name, ("n",)) for name in "yabc")
COMPARE: dict[type, Callable[[Array, Array], Array]] = {
    sympy.Gt: np.greater, sympy.Ge: np.greater_equal, sympy.Lt: np.less, sympy.Le: np.less_equal, sympy.Eq: np.equal
}  # fmt: skip

PRIMITIVE = [each for each in DEFINITIONS.values() if each.expansion is None]
EXPANDED = [each for each in DEFINITIONS.values() if each.expansion is not None]
POSITIVE = {"log", "sqrt"}  # functions that need positive arguments
FUNCTIONS = pytest.mark.parametrize("definition", PRIMITIVE, ids=lambda each: each.name)


def arguments(definition: Definition) -> tuple[Expr, ...]:
    """Symbols to call the function with; the condition of `where` is a comparison."""
    return (C > 0, A, B) if definition.function is where else (A, B, C)[: definition.arguments]


def numeric(expression: Any, values: Mapping[Symbol, Any]) -> Any:
    """The value of an expression, by nothing but the functions' own reference evaluation."""
    if expression in values:
        return values[expression]
    if not expression.args:
        return float(expression)
    parts = [np.asarray(numeric(arg, values)) for arg in expression.args]
    if isinstance(expression, Add):
        return sum(parts[1:], parts[0])
    if isinstance(expression, Mul):
        return math.prod(parts[1:], start=parts[0])
    if isinstance(expression, Pow):
        return parts[0] ** float(expression.exp)
    if type(expression) in COMPARE:
        return COMPARE[type(expression)](parts[0].real, parts[1].real)
    reference = DEFINITIONS[type(expression)].evaluate
    assert reference is not None
    return reference(*parts)


def call(definition: Definition, values: Mapping[Symbol, Any]) -> Any:
    with evaluate(False):
        return numeric(canonical(definition.function(*arguments(definition))), values)


def partials(definition: Definition, values: Mapping[Symbol, Any]) -> dict[Symbol, Any]:
    """The local derivative by each symbol among the arguments, as the calculus takes it: from output and input."""
    assert definition.partials is not None
    symbols = arguments(definition)
    found = definition.partials(Y, *symbols)
    assert len(found) == definition.arguments
    known = {**values, Y: call(definition, values)}
    return {
        symbol: np.broadcast_to(numeric(partial, known), np.shape(values[A]))
        for symbol, partial in zip(symbols, found, strict=True)
        if symbol in values
    }


def samples(definition: Definition, count: int = 200) -> dict[Symbol, Array]:
    """Random arguments, away from the kinks by more than a difference reaches."""
    random = np.random.default_rng(0)
    values = {symbol: random.uniform(-4, 4, count) for symbol in (A, B, C)}
    if definition.name in POSITIVE:
        values[A] = random.uniform(0.05, 4, count)
    for kink in definition.kinks(*arguments(definition)):
        clear = np.abs(numeric(kink, values)) > 0.01
        values = {symbol: array[clear] for symbol, array in values.items()}
    assert len(values[A]) > count / 2
    return values


@FUNCTIONS
def test_partials_are_central_differences(definition: Definition) -> None:
    values, step = samples(definition), 1e-6
    for symbol, found in partials(definition, values).items():
        ahead, behind = (call(definition, {**values, symbol: values[symbol] + side * step}) for side in (1, -1))
        np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-7, atol=1e-8)


@FUNCTIONS
def test_partials_are_complex_steps(definition: Definition) -> None:
    """To the last digits, and for functions with kinks too: their branches are chosen by the real part."""
    values, step = samples(definition), 1e-30
    for symbol, found in partials(definition, values).items():
        stepped = call(definition, {**values, symbol: values[symbol] + 1j * step})
        np.testing.assert_allclose(found, stepped.imag / step, rtol=1e-12, atol=1e-14)


@FUNCTIONS
def test_reference_gives_real_results_for_real_arguments(definition: Definition) -> None:
    values = samples(definition)
    plain = call(definition, values)
    assert plain.dtype == np.float64
    stepped = call(definition, {symbol: array + 0j for symbol, array in values.items()})
    np.testing.assert_allclose(stepped.real, plain, rtol=1e-14)


# -- conventions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "at", "expected"),
    [
        (relu, (0.0,), (0.0,)),
        (relu, (-0.0,), (0.0,)),
        (absolute, (0.0,), (0.0,)),
        (sign, (0.0,), (0.0,)),
        (maximum, (2.0, 2.0), (1.0, 0.0)),
        (maximum, (0.0, -0.0), (1.0, 0.0)),
        (maximum, (1.0, 2.0), (0.0, 1.0)),
        (minimum, (2.0, 2.0), (1.0, 0.0)),
        (minimum, (1.0, 2.0), (1.0, 0.0)),
    ],
)
def test_at_kinks(function: type[Expr], at: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = partials(DEFINITIONS[function], dict(zip((A, B), at, strict=False)))
    assert tuple(found.values()) == expected


@pytest.mark.parametrize(("c", "expected"), [(1.0, (1.0, 0.0)), (0.0, (0.0, 1.0)), (-1.0, (0.0, 1.0))])
def test_where_gives_the_gradient_to_what_it_takes(c: float, expected: tuple[float, float]) -> None:
    found = partials(DEFINITIONS[where], {A: 5.0, B: 5.0, C: c})
    assert tuple(found.values()) == expected
    condition_partial = DEFINITIONS[where].partials(Y, *arguments(DEFINITIONS[where]))[0]  # type: ignore[misc]
    assert condition_partial == 0


def test_kinks() -> None:
    """The expressions that a sample has to keep away from; an equality has no neighbourhood to keep away from."""
    kinks = {each.name: each.kinks(*arguments(each)) for each in PRIMITIVE}
    assert {name for name, found in kinks.items() if found} == {
        "relu",
        "absolute",
        "sign",
        "maximum",
        "minimum",
        "where",
    }
    assert kinks["maximum"] == (A - B,)
    assert kinks["where"] == (C,)
    assert DEFINITIONS[where].kinks(equal(A, B), A, B) == ()


def test_python_equality_is_no_comparison() -> None:
    """Of symbols it is decided at once; `equal` waits for the values."""
    assert (A == B) is False
    assert isinstance(equal(A, B), sympy.Eq)
    assert isinstance(equal(A, A), sympy.Eq)
    assert isinstance(equal(1, 2), sympy.Eq)


# -- range and limits -------------------------------------------------------------------------------------------------


def bounds(text: str) -> tuple[float, float]:
    low, high = text[1:-1].split(", ")
    return float(low), float(high)


@pytest.mark.parametrize(
    "definition", [each for each in DEFINITIONS.values() if each.range], ids=lambda each: each.name
)
def test_range(definition: Definition) -> None:
    x = np.linspace(0.01 if definition.name in POSITIVE else -40.0, 40.0, 3001)
    y = call(definition, {A: x})
    if definition.range.startswith("{"):
        assert set(np.unique(y)) == {float(each) for each in definition.range[1:-1].split(", ")}
        return
    low, high = bounds(definition.range)
    assert low <= y.min() and y.max() <= high  # in floating point an open end may be reached
    y = y[np.abs(x) < 5]
    assert low < y.min() or definition.range[0] == "["
    assert y.max() < high or definition.range[-1] == "]"
    # Every finite end is approached, or the range would promise too little.
    assert low == -np.inf or y.min() - low < 0.2
    assert high == np.inf or high - y.max() < 0.2


LIMITED = [each for each in DEFINITIONS.values() if each.name not in {"exp", "log", "sqrt"}]


@pytest.mark.parametrize("far", [40.0, 100.0, 1000.0, 1e6, 1e150])
@pytest.mark.parametrize("definition", LIMITED, ids=lambda each: each.name)
def test_far_out_nothing_overflows(definition: Definition, far: float) -> None:
    """Neither value nor derivative; a warning of NumPy's would fail this too."""
    values = {
        A: np.array([far, -far, far, 0.0]),
        B: np.array([-far, far, far, far]),
        C: np.array([far, -far, 0.0, 1.0]),
    }
    if definition.name == "clip":
        values[B], values[C] = np.full(4, -1.0), np.full(4, 1.0)
    y = call(definition, values)
    assert np.isfinite(y).all()
    if definition.partials is not None:
        for found in partials(definition, values).values():
            assert np.isfinite(found).all() and (np.abs(found) <= 1.2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("name", "low", "high", "slopes"),
    [
        ("sigmoid", 0.0, 1.0, (0.0, 0.0)),
        ("tanh", -1.0, 1.0, (0.0, 0.0)),
        ("erf", -1.0, 1.0, (0.0, 0.0)),
        ("softplus", 0.0, 1000.0, (0.0, 1.0)),
        ("logsigmoid", -1000.0, 0.0, (1.0, 0.0)),
        ("relu", 0.0, 1000.0, (0.0, 1.0)),
        ("absolute", 1000.0, 1000.0, (-1.0, 1.0)),
    ],
)
def test_saturated(name: str, low: float, high: float, slopes: tuple[float, float], dtype: type) -> None:
    """Exactly saturated at -1000 and 1000. Derivatives in terms of the input give nan here in single precision."""
    (definition,) = (each for each in PRIMITIVE if each.name == name)
    values = {A: np.array([-1000.0, 1000.0], dtype)}
    np.testing.assert_array_equal(call(definition, values), [low, high])
    np.testing.assert_array_equal(partials(definition, values)[A], slopes)


def test_small_arguments_keep_their_digits() -> None:
    tiny = np.array([-1e-12, 1e-12])
    for name, slope in (("tanh", 1.0), ("erf", 2 / math.sqrt(math.pi))):
        (definition,) = (each for each in PRIMITIVE if each.name == name)
        np.testing.assert_allclose(call(definition, {A: tiny}), slope * tiny, rtol=1e-12)


# -- expansions -------------------------------------------------------------------------------------------------------

BY_HAND: dict[type[Expr], Callable[..., Array]] = {
    silu: lambda x: x / (1 + np.exp(-x)),
    gelu: lambda x: x * np.array([math.erfc(-each / math.sqrt(2)) for each in x]) / 2,
    hard_sigmoid: lambda x: np.clip(x / 6 + 0.5, 0, 1),
    clip: np.clip,
}


@pytest.mark.parametrize("definition", EXPANDED, ids=lambda each: each.name)
def test_expansions(definition: Definition) -> None:
    symbols = arguments(definition)
    with evaluate(False):
        expanded = canonical(definition.function(*symbols))
        nested = canonical(definition.function(*[3 * symbol for symbol in symbols]))
    for tree in (expanded, nested):  # what is left knows its derivative
        assert not [each for each in tree.atoms(sympy.Function) if DEFINITIONS[type(each)].expansion]
    assert expanded.free_symbols == set(symbols)
    random = np.random.default_rng(0)
    values = {A: random.uniform(-5, 5, 50), B: np.full(50, -1.5), C: np.full(50, 2.0)}
    by_hand = BY_HAND[definition.function](*[values[symbol] for symbol in symbols])
    np.testing.assert_allclose(numeric(expanded, values), by_hand, rtol=1e-12, atol=1e-14)


# -- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=lambda each: each.name)
def test_definitions_are_whole(definition: Definition) -> None:
    assert DEFINITIONS[definition.function] is definition
    assert (definition.expansion is None) == (definition.partials is not None) == (definition.evaluate is not None)
    assert definition.function.__doc__
    made = definition.function(*arguments(definition))
    assert made.is_real and made.is_commutative


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("extra", [-1, 1])
def test_the_number_of_arguments_is_checked(definition: Definition, extra: int) -> None:
    given = [A > 0] * (definition.function is where)
    given += [A] * (definition.arguments + extra - len(given))
    with (
        evaluate(False),
        pytest.raises(ShapeMistake, match=f"{definition.name} takes {definition.arguments} arg") as caught,
    ):
        canonical(definition.function(*given))
    assert caught.value.code == "LG117"


def test_sympy_never_rewrites_them() -> None:
    """The calculus chooses the form of every derivative; SymPy would put its own in its place."""
    for definition in DEFINITIONS.values():
        if definition.arguments == 1:
            made = definition.function(-2 * A)
            assert made.args == (-2 * A,)
            assert definition.function(0).args == (0,)
            assert sympy.simplify(definition.function(A)) == definition.function(A)


def test_authors_can_import_all_that_a_hint_offers() -> None:
    names = known_functions()
    assert names == sorted(names) and len(set(names)) == len(names)
    assert set(names) <= set(api.__all__)
    assert {definition.name for definition in DEFINITIONS.values()} - set(names) == {"absolute", "sign"}
    assert DEFINITIONS[api.abs].name == "absolute"


@pytest.mark.parametrize(("theirs", "ours"), FROM_SYMPY.items(), ids=lambda each: each.__name__)
def test_functions_of_sympy_mean_ours(theirs: type[Expr], ours: type[Expr]) -> None:
    given = (A, B)[: DEFINITIONS[ours].arguments]
    with evaluate(False):
        assert canonical(theirs(*given)) == ours(*given)
    x = {A: 0.3, B: 0.7}
    assert call(DEFINITIONS[ours], x) == pytest.approx(float(theirs(*given).subs(x)))
