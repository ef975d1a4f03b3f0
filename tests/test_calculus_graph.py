"""Graphs: what `verify` promises, the normal form, and the interpreter as the plain meaning of equations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from sympy import Add, Expr, Gt, Integer, Mul, Pow
from trial_cells import CASES

from lstmgen.api import cell, max_over, outer, sigmoid, tanh, where
from lstmgen.calculus.graph import Dependence, Graph, is_atom, is_call, is_condition, operands_of, substitute
from lstmgen.calculus.interpreter import Interpreter, interpret
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.operations import Contract, FirstMaximum, Total, Unflatten
from lstmgen.calculus.ordering import Ordering
from lstmgen.calculus.unroll import run
from lstmgen.cells.lstm import lstm
from lstmgen.declare.declaration import Equation
from lstmgen.declare.dims import Dims
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Role, Value
from lstmgen.errors import InternalError

ALL = pytest.mark.parametrize("label", ["lstm", *CASES])
STRUCTURAL = (Contract, SumOver, MaxOver, FirstMaximum, Transpose, Flatten, Unflatten, StopGradient, Total)

W = Value("W", ("hidden", "features"), Role.PARAMETER)
x = Value("x", ("features",), Role.INPUT)
h = Value("h_prev", ("hidden",), Role.STATE)
y, z = Value("y", ("hidden",)), Value("z", ("hidden",))
W_x = Contract(W, x, (0, 1), (1,), (0,))


def graph_of(label: str) -> Graph:
    made, options = CASES.get(label, (lstm, {}))
    return normalize(made.trace(**options))


def graph(*equations: tuple[Value, Expr], free: Sequence[Value] = (W, x, h), results: Sequence[Value] = ()) -> Graph:
    return Graph("test", tuple(free), tuple(Equation(*each) for each in equations), tuple(results))


# -- what verify refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (graph(free=(W, Value("W", ("hidden",), Role.INPUT))), "two free values share a name"),
        (graph((y, tanh(z)), (z, tanh(h))), "y reads z before it is defined"),
        (graph((y, tanh(y))), "y reads y before it is defined"),
        (graph((y, tanh(h)), (y, sigmoid(h))), "y is defined twice"),
        (graph((Value("x", ("hidden",)), tanh(h))), "x is defined twice"),
        (graph((y, tanh(sigmoid(h)))), "not in A-normal form"),
        (graph((y, tanh(2 * h))), "not in A-normal form"),
        (graph((y, h + tanh(h))), "not in A-normal form"),
        (graph((y, h * W_x)), "not in A-normal form"),
        (graph((y, Contract(W, 2 * x, (0, 1), (1,), (0,)))), "not in A-normal form"),
        (graph((y, SumOver(W * W, "features"))), "not in A-normal form"),
        (graph((y, where(Gt(2 * h, 0), h, 0))), "not in A-normal form"),
        (graph((y, W * h)), r"y has \('hidden',\), its expression \('hidden', 'features'\)"),
        (graph((Value("y", ("hidden", "features")), W_x)), r"its expression \('hidden',\)"),
        (graph((y, tanh(h)), results=(y, z)), "nothing defines z"),
    ],
)
def test_verify_refuses(broken: Graph, says: str) -> None:
    with pytest.raises(InternalError, match=says):
        broken.verify()


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (((0,), (1,), (0,)), "for an operand of dimensions"),
        (((0, 1), (0,), (1,)), "contracts 'hidden' with 'features'"),
    ],
)
def test_verify_refuses_axes_that_do_not_fit(axes: Any, says: str) -> None:
    with pytest.raises(InternalError, match=says):
        graph((y, Contract(W, x, *axes))).verify()


def test_verify_returns_what_it_accepts() -> None:
    good = graph((y, W_x), (z, tanh(y)), results=(z,))
    assert good.verify() is good
    graph((Value("S", ("hidden", "features")), tanh(h))).verify()  # elementwise work is spread over more dimensions


def test_dependence_and_uses() -> None:
    shared, total = Value("s", ("hidden",)), Value("t", ("hidden",))
    made = graph((shared, SumOver(W, "features")), (y, W_x), (z, Mul(h, y, shared, evaluate=False)), (total, Total(z)))
    found = made.dependence()
    assert [found[each] for each in (shared, y, z, total)] == [
        Dependence.SHARED,
        Dependence.INPUT_ONLY,
        Dependence.RECURRENT,
        Dependence.SHARED,
    ]
    assert {value.name: [each.target.name for each in users] for value, users in made.uses().items()} == {
        "W": ["s", "y"], "x": ["y"], "h_prev": ["z"], "y": ["z"], "s": ["z"], "z": ["t"],
    }  # fmt: skip


def test_substitute_leaves_the_order_alone() -> None:
    expression = Add(Mul(z, y, evaluate=False), Mul(Integer(2), h, evaluate=False), evaluate=False)
    a = Value("a", ("hidden",))
    assert substitute(expression, {y: a}).args == (Mul(z, a, evaluate=False), Mul(Integer(2), h, evaluate=False))
    assert substitute(expression, {W: a}) is expression


# -- A-normal form -----------------------------------------------------------------------------------------------------


@ALL
def test_normal_form(label: str) -> None:
    """One call of a function over atoms, one structural operation over atoms, or algebra: nothing else, in order."""
    made = graph_of(label)
    defined = set(made.free)
    for equation in made.equations:
        expression = equation.expression
        assert set(operands_of(expression)) <= defined
        assert equation.target not in defined
        defined.add(equation.target)
        if isinstance(expression, Operation):
            assert isinstance(expression, STRUCTURAL), "declared operations become those of graphs"
            assert all(isinstance(value, Value) for value in expression.values)
        elif is_call(expression):
            assert all(is_atom(arg) or is_condition(arg) for arg in expression.args)
        else:
            assert not any(is_call(part) or isinstance(part, Operation) for part in expression.args)
    assert set(made.results) <= defined


@ALL
def test_equal_subexpressions_have_one_name(label: str) -> None:
    """Only what the user named twice is computed twice."""
    made = graph_of(label)
    firsts: dict[tuple[Expr, Dims], Value] = {}
    for equation in made.equations:
        first = firsts.setdefault((equation.expression, equation.target.dims), equation.target)
        assert first == equation.target or equation.target.role != Role.INTERMEDIATE, f"{equation.target} is {first}"


@ALL
def test_user_equations_keep_their_names_order_and_places(label: str) -> None:
    made, options = CASES.get(label, (lstm, {}))
    declaration = made.trace(**options)
    normal = [each for each in normalize(declaration).equations if each.target.role != Role.INTERMEDIATE]
    assert [(each.target, each.description, each.place) for each in normal] == [
        (each.target, each.description, each.place) for each in declaration.equations
    ]


@ALL
def test_normal_form_is_deterministic(label: str) -> None:
    assert graph_of(label) == graph_of(label)


def test_names_of_intermediates_avoid_the_users() -> None:
    """Whatever lstmgen would call its own is called otherwise where a user has the name, now or further down."""
    equations = {each.target.name: str(each.expression) for each in graph_of("stacked_names").equations}
    assert equations["W_f_x"] == "b + h_next*i"
    assert "W_f_x_2" in equations
    assert "a_h_2" in equations


def test_an_operation_of_fewer_dimensions_gets_an_equation_of_its_own() -> None:
    """An operation computes its own dimensions; what spreads or reorders them is elementwise."""
    equations = {each.target.name: each for each in graph_of("spread_state").equations}
    assert isinstance(equations["k_v"].expression, Contract)
    assert not isinstance(equations["D"].expression, Operation)


def test_a_value_that_is_spread_does_not_stand_for_its_expression() -> None:
    """`C = tanh(a)` has more dimensions than `tanh(a)`, which the product needs."""
    equations = {each.target.name: each.expression for each in graph_of("spread_name").equations}
    assert str(equations["C"]) == str(equations["tanh_a"]) == "tanh(a)"
    assert any(isinstance(each, Contract) and "tanh_a" in map(str, each.values) for each in equations.values())


# -- order -------------------------------------------------------------------------------------------------------------


def test_order_does_not_depend_on_how_a_sum_was_built() -> None:
    d = Value("d_y", ("hidden",), Role.ADJOINT)
    order = Ordering([W, x, h, y, z, d])
    terms = [Mul(z, y, d), Mul(Integer(-1), h, z), Integer(3), Pow(y, 2), Add(h, Integer(1)), d]
    arranged = {str(order.arrange(Add(*each, evaluate=False)).args) for each in itertools.permutations(terms)}
    assert len(arranged) == 1
    assert [str(each) for each in order.arrange(Mul(z, Pow(y, 2), d, Integer(-1), Add(Integer(1), -y))).args] == [
        "-1", "d_y", "y**2", "z", "1 - y",
    ]  # fmt: skip


# -- the interpreter ---------------------------------------------------------------------------------------------------

SIZES = {"hidden": 3, "features": 2}


@pytest.mark.parametrize(
    "algebra",
    [
        lambda a, b: a * b + a,
        lambda a, b: a - (b - a) - 1,
        lambda a, b: a / b / (2 + a),
        lambda a, b: a / (b / a),
        lambda a, b: -a * b + -(a + b),
        lambda a, b: (-a) ** 2 - (-b) ** 3,
        lambda a, b: a**-2 + b**0.5 + a**1.5 - b**-0.5 + a**0 + a**1,
        lambda a, b: (1 / a) ** 2 + 1 / (a * b) - 1 / a / b,
        lambda a, b: 1e-8 * a + 1e3 * b + a / 3 + 7 - 7.5,
        lambda a, b: (1 / 3) * a + 0.1 + b * 0.2,
        lambda a, b: abs(a - b) * 2,
        lambda a, b: a + b + a * a - a,
        lambda a, b: b**2.0 / 2**3 + a,
        lambda a, b: 2 * a * 3 + b,
        lambda a, b: 2 * -a * b,
        lambda a, b: -2 * a / 5 * b * 7,
        lambda a, b: 1000 * a * 1e-3 + b,
        lambda a, b: a * 2 - (b * 3) * -1,
    ],
)
def test_algebra_means_what_it_means_in_python(algebra: Callable[[Any, Any], Any]) -> None:
    """The same expression, of symbols through trace, normal form and interpreter, and of arrays."""

    @cell("algebra")
    def traced(eq: Any) -> None:
        a, b = eq.input("a"), eq.input("b")
        s_prev = eq.state("s", "features")
        y = eq.let("y", algebra(a, b))
        eq.output(y, eq.next("s", s_prev + y))

    declaration = traced.trace()
    a, b = np.random.default_rng(0).uniform(0.5, 2.0, (2, 3, 4, 2))
    found = run(declaration, normalize(declaration), {"features": 2}, {}, {"a": a, "b": b}, {"s": np.zeros((4, 2))})
    np.testing.assert_allclose(found.outputs["y"], algebra(a, b), rtol=1e-14)
    np.testing.assert_allclose(found.final["s"], algebra(a, b).sum(0), rtol=1e-13)


def sigma(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


def lstm_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    a = {k: x @ p[f"W_{k}"].T + s["h"] @ p[f"U_{k}"].T + p[f"b_{k}"] for k in "figo"}
    c = sigma(a["f"]) * s["c"] + sigma(a["i"]) * np.tanh(a["g"])
    return {"h": sigma(a["o"]) * np.tanh(c), "c": c}


def gru_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any], *, after: bool = False) -> dict[str, Any]:
    h = s["h"]
    z, r = (sigma(x @ p[f"W_{k}"].T + h @ p[f"U_{k}"].T + p[f"b_{k}"]) for k in "zr")
    inner = r * (h @ p["U_m"].T + p["b_m"]) if after else (r * h) @ p["U_n"].T
    n = np.tanh(x @ p["W_n"].T + inner + p["b_n"])
    return {"h": (1 - z) * n + z * h}


def matrix_memory_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    q, k, v, a_o = (x @ p[f"W_{name}"].T + p[f"b_{name}"] for name in "qkvo")
    k = k / np.sqrt(k.shape[1])
    i, f = np.exp(x @ p["w_i"])[:, None], sigma(x @ p["w_f"])[:, None]
    memory = f[..., None] * s["C"] + i[..., None] * v[:, :, None] * k[:, None, :]
    n = f * s["n"] + i * k
    norm = np.maximum(np.abs(np.sum(n * q, axis=1)), 1)
    return {"C": memory, "n": n, "y": sigma(a_o) * np.einsum("zvk,zk->zv", memory, q) / norm[:, None]}


def heads_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    a = np.einsum("nij,znj->zni", p["R"], s["h"]) + np.einsum("nif,zf->zni", p["W"], x) + p["b"]
    h = np.tanh(a)
    return {"h": h, "y": h.reshape(len(h), -1) @ p["V"].T}


def delay_line_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    a = x @ p["W_q"].T + s["h"] @ p["U_q"].T + s["d"] @ p["V_q"].T + p["b_q"]
    return {"h": np.tanh(a), "c": s["h"], "d": s["c"]}


def antisymmetric_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    mixed = s["h"] @ (p["W"] - p["W"].T).T
    z, n = (mixed + x @ p[f"V_{k}"].T + p[f"b_{k}"] for k in "zn")
    return {"h": s["h"] + 0.1 * sigma(z) * np.tanh(n)}


def layer_norm_by_hand(p: dict[str, Any], x: Any, s: dict[str, Any]) -> dict[str, Any]:
    a = np.einsum("ghf,zf->zgh", p["W"], x) + np.einsum("ghi,zi->zgh", p["U"], s["h"])
    mean, variance = a.mean((1, 2), keepdims=True), a.var((1, 2), keepdims=True)
    n = p["gain"] * (a - mean) / np.sqrt(variance + 1e-5) + p["shift"]
    return {"h": np.tanh((n * sigma(n)).sum(1))}


@pytest.mark.parametrize(
    ("label", "by_hand"),
    [
        ("lstm", lstm_by_hand),
        ("gru", gru_by_hand),
        ("gru_reset_after", lambda p, x, s: gru_by_hand(p, x, s, after=True)),
        ("matrix_memory", matrix_memory_by_hand),
        ("heads", heads_by_hand),
        ("delay_line", delay_line_by_hand),
        ("antisymmetric", antisymmetric_by_hand),
        ("normalized_jointly", layer_norm_by_hand),
    ],
)
@pytest.mark.parametrize("steps", [0, 1, 4])
def test_interpreter_against_equations_by_hand(label: str, by_hand: Callable[..., dict[str, Any]], steps: int) -> None:
    made, options = CASES.get(label, (lstm, {}))
    declaration = made.trace(**options)
    sizes = {"features": 2, "hidden": 3, "key": 4, "value": 3, "heads": 2, "head": 3, "classes": 5, "gates": 2}
    sizes |= {"hidden": 6} if label == "heads" else {}
    random = np.random.default_rng(1)

    def draw(*shape: int) -> Any:
        return 0.7 * random.standard_normal(shape)

    p = {each.value.name: draw(*(sizes[dim] for dim in each.value.dims)) for each in declaration.parameters}
    state = {each.name: draw(3, *(sizes[dim] for dim in each.next.dims)) for each in declaration.states}
    x = draw(steps, 3, 2)
    found = run(declaration, normalize(declaration), sizes, p, {"x": x}, state)
    outputs: dict[str, list[Any]] = {name: [] for name in found.outputs}
    for x_t in x:
        values = by_hand(p, x_t, state)
        state = {name: values[name] for name in state}
        for name, kept in outputs.items():
            kept.append(values.get(name, values.get("y")))
    for name, array in found.final.items():
        np.testing.assert_allclose(array, state[name], rtol=1e-12, atol=1e-14)
    for name, kept in outputs.items():
        assert found.outputs[name].shape[:2] == (steps, 3)
        if kept:
            np.testing.assert_allclose(found.outputs[name], np.stack(kept), rtol=1e-12, atol=1e-14)


def test_interpreter_takes_the_first_of_tied_maxima() -> None:
    made = graph((Value("m"), MaxOver(h, "hidden")), (y, FirstMaximum(h, max_over(h, "hidden").args[1])))
    values = interpret(
        made,
        {h: np.array([[1.0, 5.0, 5.0], [2.0, 2.0, 2.0]]), W: np.zeros((3, 2)), x: np.zeros((2, 2))},
        rows=2,
        sizes=SIZES,
    )
    assert values[Value("m")].tolist() == [5.0, 2.0]
    assert values[y].tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def test_interpreter_knows_rows_from_what_a_value_depends_on() -> None:
    shared, spread = Value("s", ("hidden",)), Value("S", ("features", "hidden"))
    made = graph((shared, SumOver(W, "features")), (spread, Mul(h, x, evaluate=False)))
    interpreter = Interpreter(made, SIZES)
    assert not interpreter.has_rows(shared)
    assert interpreter.shape(shared, 7) == (3,)
    assert interpreter.shape(spread, 7) == (7, 2, 3)
    values = interpreter({W: np.ones((3, 2)), x: np.arange(14.0).reshape(7, 2), h: np.ones((7, 3))}, 7)
    assert values[shared].tolist() == [2.0, 2.0, 2.0]
    np.testing.assert_array_equal(values[spread], np.repeat(np.arange(14.0).reshape(7, 2, 1), 3, axis=2))


def test_interpreter_says_what_it_cannot_evaluate() -> None:
    values = {W: np.ones((3, 2)), x: np.ones((1, 2)), h: np.ones((1, 3))}
    with pytest.raises(InternalError, match="no case for Outer"):
        interpret(graph((Value("S", ("hidden", "features")), outer(h, x))), values, rows=1, sizes=SIZES)
