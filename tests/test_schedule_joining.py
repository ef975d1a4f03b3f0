"""Joined operands: when a sum's products become one, where its vectors lie, and that it changes nothing."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lstmgen import finding, pipeline
from lstmgen.api import Cell, cell, sigmoid, tanh
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.schedule.work import Region, Schedule
from lstmgen.verify.proof import run_module
from lstmgen.verify.sample import draw


def schedule_of(of: Cell | str, *, joins: bool = True, **options: Any) -> Schedule:
    return compiled(of, joins=joins, **options).schedule


def compiled(of: Cell | str, *, joins: bool = True, **options: Any) -> pipeline.Compiled:
    backend = NumpyBackend()
    backend.target = replace(backend.target, joins_operands=joins)
    return pipeline.compile_cell(finding.find_cell(of), backend, options)


def joints(of: Cell | str, **options: Any) -> list[tuple[str, ...]]:
    return [tuple(part.name for part in joint.parts) for joint in schedule_of(of, **options).forward.joints]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("lstm", {}, [("h_prev", "x", "one")]),
        ("lstm", {"peephole": True}, [("h_prev", "x", "one")]),
        ("rnn", {}, [("h_prev", "x", "one")]),
        ("gru", {"reset": "before"}, [("h_prev", "x", "one")]),
        # One product with the state has an input and a bias beside it, another a bias alone: inputs are hoisted.
        ("gru", {}, [("h_prev", "one")]),
        ("indrnn", {}, []),  # no matrix meets the state
    ],
)
def test_operands_are_joined_where_all_products_with_a_state_are_alike(
    name: str, options: dict[str, Any], expected: list[tuple[str, ...]]
) -> None:
    assert joints(name, **options) == expected


def test_a_joined_step_multiplies_once_and_adds_nothing() -> None:
    loop = schedule_of("lstm").forward.in_region(Region.LOOP)
    assert sum("Contract" in type(each.expression).__name__ for each in loop) == 1
    assert not schedule_of("lstm").forward.in_region(Region.BEFORE)
    hoisted = schedule_of("lstm", joins=False)
    assert not hoisted.forward.joints
    assert hoisted.forward.in_region(Region.BEFORE)


def test_gradients_of_joined_parameters_are_one_product() -> None:
    after = schedule_of("lstm").backward.in_region(Region.AFTER)
    totals = [each for each in after if type(each.expression).__name__ == "Total"]
    assert len(totals) == 1


@cell("twice")
def twice(eq):  # type: ignore[no-untyped-def]
    """A product that one sum adds up twice."""
    x, h_prev = eq.input("x"), eq.state("h")
    w, v = (eq.parameter(name, "hidden", "features") for name in "WV")
    wide = w @ x
    h = eq.next("h", tanh(eq.parameter("U", "hidden", "hidden") @ h_prev + wide + wide + v @ x))
    eq.output(h)


@cell("two_biases")
def two_biases(eq):  # type: ignore[no-untyped-def]
    """Two biases in one sum, as some libraries have them."""
    x, h_prev = eq.input("x"), eq.state("h")
    w, u = eq.parameter("W", "hidden", "features"), eq.parameter("U", "hidden", "hidden")
    h = eq.next("h", tanh(w @ x + eq.parameter("b", "hidden") + u @ h_prev + eq.parameter("v", "hidden")))
    eq.output(h)


@cell("two_states")
def two_states(eq):  # type: ignore[no-untyped-def]
    """Two states of unequal size in one sum with two inputs."""
    x, z = eq.input("x"), eq.input("z", "extra")
    h_prev, m_prev = eq.state("h"), eq.state("m", "memory")
    gate = eq.let(
        "f",
        sigmoid(
            eq.parameter("W", "hidden", "features") @ x
            + eq.parameter("V", "hidden", "extra") @ z
            + eq.parameter("U", "hidden", "hidden") @ h_prev
            + eq.parameter("R", "hidden", "memory") @ m_prev
            + eq.parameter("b", "hidden")
        ),
    )
    h = eq.next("h", gate * h_prev + gate)
    m = eq.next("m", tanh(eq.parameter("Q", "memory", "hidden") @ h) + 0.5 * m_prev)
    eq.output(h, m)


@cell("unlike")
def unlike(eq):  # type: ignore[no-untyped-def]
    """A state with an input in one sum and alone in another."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", eq.parameter("W", "hidden", "features") @ x + eq.parameter("U", "hidden", "hidden") @ h_prev)
    h = eq.next("h", tanh(a) * sigmoid(eq.parameter("V", "hidden", "hidden") @ h_prev))
    eq.output(h)


@cell("of_columns")
def of_columns(eq):  # type: ignore[no-untyped-def]
    """Products of two forms, each of several parameters, that the adjoint of one state adds up."""
    x, h_prev = eq.input("x"), eq.state("h")
    p, q, r, s = (eq.parameter(name, "hidden", "hidden") for name in "PQRS")
    w = eq.parameter("W", "hidden", "features")
    h = eq.next("h", tanh(p @ h_prev + q.T @ h_prev) + tanh(r.T @ h_prev) + tanh(s @ h_prev) + w @ x)
    eq.output(h)


@cell("repeated_factor")
def repeated_factor(eq):  # type: ignore[no-untyped-def]
    """A factor from the input that a product has twice."""
    x, h_prev = eq.input("x"), eq.state("h")
    z = eq.let("z", tanh(eq.parameter("W", "hidden", "features") @ x))
    h = eq.next("h", 0.5 * z * z * sigmoid(eq.parameter("U", "hidden", "hidden") @ h_prev) + 0.4 * h_prev)
    eq.output(h)


ODD = [twice, two_biases, two_states, unlike, of_columns, repeated_factor]


@pytest.mark.parametrize("odd", ODD, ids=lambda each: each.name)
@pytest.mark.parametrize("joins", [True, False])
def test_proof(odd: Cell, joins: bool) -> None:
    assert pipeline.prove(compiled(odd, joins=joins)).passed


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (two_biases, [("h_prev", "x", "one", "one")]),
        (two_states, [("h_prev", "m_prev", "x", "z", "one")]),
        (unlike, []),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_is_joined(odd: Cell, expected: list[tuple[str, ...]]) -> None:
    assert joints(odd) == expected


@pytest.mark.parametrize("name", ["lstm", "rnn", "ugrnn", "cfn", "scrn"])
def test_joined_and_hoisted_agree(name: str) -> None:
    one, other = compiled(name), compiled(name, joins=False)
    sample = draw(one.gradient, seed=3)
    found = [
        run_module(each.backend.load(each.source, f"{name}_{index}"), sample, np.float64)
        for index, each in enumerate((one, other))
    ]
    for tensor, array in found[0].items():
        np.testing.assert_allclose(array, found[1][tensor], rtol=0, atol=1e-12, err_msg=tensor)


def test_parameters_are_never_written_to() -> None:
    made = compiled("lstm")
    module: Any = made.backend.load(made.source, "untouched")
    p = module.Parameters.initialize(features=3, hidden=4, seed=0)
    before = p.flat.copy()
    p.flat.flags.writeable = False
    _, _, residuals = module.forward(p, np.ones((5, 2, 3), np.float32))
    module.backward(p, residuals)
    np.testing.assert_array_equal(p.flat, before)


def calls_in(source: str, function: str) -> list[str]:
    """The names of NumPy's functions that the innermost loop of a function calls, in order."""
    tree = next(
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.name == function
    )
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
    inner = next(loop for loop in loops if not any(isinstance(node, ast.For) for each in loop.body for node in [each]))
    calls = [node.func for node in ast.walk(inner) if isinstance(node, ast.Call)]
    return [ast.unparse(each).removeprefix("np.") for each in calls]


def test_an_lstm_makes_nine_calls_a_step_forward_and_seven_backward() -> None:
    source = compiled("lstm").source
    assert len(calls_in(source, "_forward")) == 9
    assert len(calls_in(source, "_backward")) == 7
    assert calls_in(source, "_forward").count("dot") == calls_in(source, "_backward").count("dot") == 1
    assert calls_in(source, "_forward").count("tanh") == 2  # all gates at once, and the cell state
