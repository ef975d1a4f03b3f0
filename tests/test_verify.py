"""The proof itself: what it measures with, and that it fails for every kind of error that it is there to find."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sympy import Expr, Integer
from trial_cells import CASES

import lstmgen
import lstmgen.declare.canonical as tracing
from lstmgen import pipeline
from lstmgen.api import cell, exp, log, max_over, maximum, relu, sigmoid, tanh, where
from lstmgen.backends.numpy import backend
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.calculus import expansions
from lstmgen.calculus.normal_form import normalize
from lstmgen.calculus.operations import Contract, FirstMaximum, Gauge, Total, Unflatten
from lstmgen.calculus.reverse import Gradient, differentiate
from lstmgen.calculus.rules import VJP, Contributions, Rule
from lstmgen.cells.lstm import lstm
from lstmgen.declare.cell import Cell
from lstmgen.declare.functions import DEFINITIONS, Definition, minimum, sqrt
from lstmgen.declare.operations import Flatten, MaxOver, Operation, StopGradient, SumOver, Transpose
from lstmgen.declare.symbols import Value
from lstmgen.errors import ProofError, UserError
from lstmgen.verify.differences import central_differences, complex_step, taylor_test
from lstmgen.verify.proof import DIFFERENCES_LIMIT, compare
from lstmgen.verify.report import CHUNKED, RECOMPUTED, WHOLE, Comparison, Report, Taylor
from lstmgen.verify.sample import MARGIN, choose_sizes, draw


def gradient_of(made: Cell) -> Gradient:
    declaration = made.trace()
    return differentiate(declaration, normalize(declaration))


# -- derivatives without calculus --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (lambda x: x**4 - 3 * x, lambda x: 4 * x**3 - 3),
        (lambda x: 1 / (1 + x**2), lambda x: -2 * x / (1 + x**2) ** 2),
    ],
)
def test_central_differences(function: Callable[[Any], Any], slope: Callable[[Any], Any]) -> None:
    x = np.random.default_rng(0).uniform(-1.5, 1.5, (2, 3))
    kept = x.copy()
    found = central_differences(lambda: float(np.sum(function(x))), x)
    np.testing.assert_allclose(found, slope(x), rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(x, kept)


def test_central_differences_of_a_scalar_and_of_nothing() -> None:
    x = np.array(0.5)
    assert central_differences(lambda: float(x**3), x) == pytest.approx(0.75)
    assert central_differences(lambda: 1.0, np.zeros((0, 3))).shape == (0, 3)


def test_complex_step_takes_no_difference() -> None:
    x = np.array([0.3, -2.0, 1e-8], complex)
    found = complex_step(lambda: complex(np.sum(np.exp(x) * x**3)), x)
    real = x.real
    np.testing.assert_allclose(found, np.exp(real) * (real**3 + 3 * real**2), rtol=1e-15)
    assert (x.imag == 0).all()


@dataclass
class Bowl:
    """A loss with curvature in every direction, and its gradient."""

    x: Any
    y: Any
    curvature: float = 1.0

    def loss(self) -> float:
        quadratic = np.sum(self.x**2) + np.sum(self.x) * np.sum(self.y**2)
        return float(self.curvature * quadratic + np.sum(np.exp(self.y) * self.curvature) + np.sum(3 * self.x))

    def gradient(self) -> dict[str, Any]:
        d_x = self.curvature * (2 * self.x + np.sum(self.y**2)) + 3
        return {"x": d_x, "y": self.curvature * (2 * np.sum(self.x) * self.y + np.exp(self.y))}

    def test(self, gradient: Mapping[str, Any], seed: int = 0) -> Taylor:
        return taylor_test(self.loss, {"x": self.x, "y": self.y}, gradient, seed)


@pytest.fixture
def bowl() -> Bowl:
    random = np.random.default_rng(1)
    return Bowl(random.standard_normal((3, 2)), random.standard_normal(4))


@pytest.mark.parametrize("seed", range(5))
def test_taylor_orders_of_a_right_gradient(bowl: Bowl, seed: int) -> None:
    kept = bowl.x.copy(), bowl.y.copy()
    found = bowl.test(bowl.gradient(), seed)
    assert found.passed
    assert (found.first, found.second) == pytest.approx((1.0, 2.0), abs=0.02)
    np.testing.assert_array_equal(bowl.x, kept[0])
    np.testing.assert_array_equal(bowl.y, kept[1])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda right: {**right, "x": -right["x"]},
        lambda right: {**right, "y": 0 * right["y"]},
        lambda right: {**right, "x": right["x"] * np.where(np.arange(6).reshape(3, 2) == 4, 1.01, 1.0)},
        lambda right: {name: 1.001 * array for name, array in right.items()},
    ],
    ids=["sign", "missing", "one-entry", "scale"],
)
def test_taylor_orders_of_a_wrong_gradient(bowl: Bowl, wrong: Callable[[Any], Any]) -> None:
    found = bowl.test(wrong(bowl.gradient()))
    assert not found.passed
    assert found.second < 1.5


def test_taylor_remainder_of_a_linear_loss_is_rounding(bowl: Bowl) -> None:
    bowl.curvature = 0.0
    right = bowl.gradient()
    assert bowl.test(right).at_rounding
    assert bowl.test(right).passed
    assert not bowl.test({**right, "x": 1.0001 * right["x"]}).passed


def test_taylor_of_a_loss_that_nothing_changes() -> None:
    assert taylor_test(lambda: 3.0, {"x": np.ones(3)}, {"x": np.zeros(3)}).passed
    assert taylor_test(lambda: 3.0, {}, {}).passed


def test_taylor_sees_slopes_across_the_curvature() -> None:
    """A direction along which the slope happens to vanish would show order 2 without the gradient, too."""
    x = np.array([1.0, -1.0]) * 1e-3
    found = taylor_test(lambda: float(np.sum(x) + 1e3 * np.sum(x**2)), {"x": x}, {"x": 1 + 2e3 * x})
    assert found.passed


# -- comparisons -------------------------------------------------------------------------------------------------------


def test_comparison_is_relative_to_the_largest_entry() -> None:
    expected = np.array([[1e3, 1.0], [2.0, -4.0]])
    found = expected.copy()
    found[1, 0] += 1e-3
    worst = compare("d_W", found, expected, 1e-5)
    assert (worst.tensor, worst.shape, worst.where) == ("d_W", (2, 2), (1, 0))
    assert worst.error == pytest.approx(1e-6)
    assert worst.passed
    assert not compare("d_W", found, expected, 1e-7).passed


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["found", "expected"])
def test_what_is_not_finite_fails_and_does_not_warn(bad: float, side: str) -> None:
    arrays = {"found": np.ones(3), "expected": np.ones(3)}
    arrays[side][1] = bad
    worst = compare("x", arrays["found"], arrays["expected"], 1e-3)
    assert not worst.passed
    assert side == "expected" or worst.where == (1,)


def test_other_shapes_fail_and_empty_or_zero_ones_pass() -> None:
    assert not compare("x", np.ones((2, 3)), np.ones((3, 2)), 1e-3).passed
    assert not compare("x", np.ones(()), np.ones(1), 1e-3).passed
    assert compare("x", np.ones((0, 3)), np.ones((0, 3)), 1e-3).passed
    assert compare("x", np.zeros(3), np.zeros(3), 1e-3, least=0.0).passed
    assert not compare("x", np.full(3, 1e-2), np.zeros(3), 1e-3, least=0.0).passed


# -- samples -----------------------------------------------------------------------------------------------------------


@cell("kinks")
def kinks(eq: Any) -> None:
    """Every kind of kink."""
    x, h_prev = eq.input("x"), eq.state("h")
    a = eq.let("a", eq.affine("q", W=x, U=h_prev))
    m = eq.let("m", max_over(a, "hidden"))
    b = eq.let("b", maximum(a, h_prev))
    c = eq.let("c", where(a > 0.5, a, 1))
    h = eq.next("h", relu(a) + tanh(b * m) + 0.1 * abs(h_prev) * c)
    eq.output(h)


@pytest.mark.parametrize("seed", range(4))
def test_samples_stay_clear_of_kinks_at_every_step(seed: int) -> None:
    sample = draw(gradient_of(kinks), seed=seed, steps=5, rows=2)
    assert len(sample.trajectory.steps) == 5
    for step in sample.trajectory.steps:
        named = {value.name: array for value, array in step.items()}
        a, h_prev = named["a"], named["h_prev"]
        ordered = np.sort(a, axis=1)
        distances = [a, a - 0.5, a - h_prev, h_prev, ordered[:, -1] - ordered[:, -2]]
        assert min(float(np.min(np.abs(each))) for each in distances) > MARGIN


def test_samples_repeat_with_their_seed_and_differ_without() -> None:
    gradient = gradient_of(lstm)
    one, two, other = draw(gradient, seed=1), draw(gradient, seed=1), draw(gradient, seed=2)
    np.testing.assert_array_equal(one.parameters["W_f"], two.parameters["W_f"])
    assert not np.array_equal(one.parameters["W_f"], other.parameters["W_f"])
    assert str(one) == "steps 4, batch 3, features 3, hidden 4; float64"


def test_sizes_are_distinct_and_joined_ones_are_products() -> None:
    made, _ = CASES["heads"]
    gradient = gradient_of(made)
    sizes = choose_sizes(gradient.declaration, gradient.primal)
    assert sizes["hidden"] == sizes["heads"] * sizes["head"]
    free = [size for name, size in sizes.items() if name != "hidden"]
    assert len(set(free)) == len(free)


@pytest.mark.parametrize(
    "undefined",
    [lambda a: log(-1 - a**2), lambda a: (a**2) ** -0.5 * 0 + sqrt(-(a**2) - 1), lambda a: exp(exp(exp(10 + a**2)))],
    ids=["log", "sqrt", "overflow"],
)
def test_a_cell_that_is_defined_nowhere_cannot_be_proven(undefined: Callable[[Any], Any], tmp_path: Path) -> None:
    @cell("nowhere")
    def nowhere(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        h = eq.next("h", undefined(eq.affine("q", W=x, U=h_prev)))
        eq.output(h)

    with pytest.raises(UserError) as caught:
        lstmgen.build(nowhere, out=tmp_path / "out")
    assert caught.value.code == "LG303"
    assert "nowhere" in str(caught.value)
    assert caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_cell_that_is_near_a_kink_everywhere_cannot_be_proven() -> None:
    @cell("edge")
    def edge(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        h = eq.next("h", tanh(eq.affine("q", W=x)) + relu(0.5 * MARGIN * tanh(h_prev)))
        eq.output(h)

    with pytest.raises(UserError, match="kinks") as caught:
        draw(gradient_of(edge), attempts=5)
    assert caught.value.code == "LG303"


def test_kinks_that_are_met_exactly_do_no_harm() -> None:
    """Units that a relu has silenced are tied for every maximum and at the kink of every further relu."""
    made, _ = CASES["silenced"]
    sample = draw(gradient_of(made))
    a = next(array for value, array in sample.trajectory.steps[0].items() if value.name == "a")
    assert (np.sum(a == 0, axis=-1) > 1).any(), "some units are tied"
    assert pipeline.prove(pipeline.compile_cell(made, backend, {})).passed


# -- errors planted in the calculus ------------------------------------------------------------------------------------

FLIPPED: dict[type[Operation], list[int]] = {Contract: [0, 1], SumOver: [0], MaxOver: [0], Transpose: [0], Flatten: [0]}
"""The rules that can be reached from a declaration, and the operands whose contributions are given a wrong sign."""

ONLY_IN_ADJOINTS = (FirstMaximum, Unflatten, Total)
"""Operations that no primal graph has: their rules wait for derivatives of derivatives."""


def test_every_rule_has_a_planted_error() -> None:
    tried = {kind.__name__ for kind in (*FLIPPED, *ONLY_IN_ADJOINTS, StopGradient, Gauge)}
    assert tried == {kind.__name__ for kind in VJP}, "plant an error below for every rule of the table"
    for made, options in CASES.values():
        primal = normalize(made.trace(**options))
        assert not any(isinstance(each.expression, ONLY_IN_ADJOINTS) for each in primal.equations)


def _cell_with(kind: type[Operation]) -> Cell:
    """A cell whose gradient the rule decides: the shift of a softmax, for one, has none."""
    labels = {
        Contract: "rnn_relu",
        SumOver: "normalized_jointly",
        MaxOver: "maxout",
        Transpose: "transposed",
        Flatten: "heads",
    }
    return CASES[labels[kind]][0]


def _refuses_and_writes_nothing(made: Cell, tmp_path: Path, **options: Any) -> Report:
    """A build into a folder that is not there, and into one that holds an older file."""
    reports = []
    for folder, name in ((tmp_path / "absent", ""), (tmp_path / "present", "older")):
        older = folder / "older.py"
        if name:
            folder.mkdir()
            older.write_text("older = True\n")
        with pytest.raises(ProofError, match="the proof failed; nothing was written") as caught:
            lstmgen.build(made, out=folder, name=name, **options)
        assert isinstance(caught.value.report, Report)
        reports.append(caught.value.report)
        assert not folder.exists() or list(folder.iterdir()) == ([older] if name else [])
        assert not name or older.read_text() == "older = True\n"
    return reports[0]


@pytest.mark.parametrize(("kind", "operand"), [(kind, k) for kind, operands in FLIPPED.items() for k in operands])
def test_a_wrong_sign_in_a_rule_is_found(
    kind: type[Operation], operand: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    right: Rule = VJP[kind]

    def wrong(operation: Operation, y: Value, d_y: Value) -> Contributions:
        if isinstance(operation, Contract | MaxOver | SumOver):
            terms = list(right(operation, y, d_y))
            terms[operand] = -terms[operand]  # type: ignore[operator]
            return tuple(terms)
        return tuple(-term for term in right(operation, y, d_y))  # type: ignore[operator]

    monkeypatch.setitem(VJP, kind, wrong)
    report = _refuses_and_writes_nothing(_cell_with(kind), tmp_path)
    assert all(each.passed for each in report.interpreted), "interpreter and code are wrong alike"
    assert not all(each.passed for each in report.differenced)
    assert not report.taylor.passed


@pytest.mark.parametrize(
    ("stage", "name", "wrong", "label"),
    [
        (
            tracing,
            "_product",
            lambda right, factors: right([each for each in factors if not each.is_Number]),
            "numbers",
        ),
        (tracing, "_sum", lambda right, terms: right([-terms[0], *terms[1:]]), "lstm"),
        (expansions, "_sum", lambda right, terms: terms[0], "normalized"),  # the mean is not subtracted
    ],
    ids=["factor", "sign", "mean"],
)
def test_an_error_while_tracing_is_found(
    stage: Any, name: str, wrong: Any, label: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Graph, gradient and code agree with one another then, and not with what the cell's author wrote."""
    monkeypatch.setattr(stage, name, partial(wrong, getattr(stage, name)))
    report = _refuses_and_writes_nothing(CASES[label][0] if label in CASES else lstm, tmp_path)
    assert all(each.passed for each in (*report.interpreted, *report.differenced))
    assert not all(each.passed for each in report.declared)


def test_a_shift_that_does_not_cancel_is_found(tmp_path: Path) -> None:
    """The calculus holds the maximum of a softmax constant because nothing depends on it; here something does."""

    @cell("shifted")
    def shifted(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.affine("h", W=x, U=h_prev)
        eq.output(eq.next("h", tanh(a - Gauge(max_over(a, "hidden")))))

    report = _refuses_and_writes_nothing(shifted, tmp_path)
    assert all(each.passed for each in report.interpreted)
    assert not all(each.passed for each in report.differenced)


def test_a_gradient_through_a_constant_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(VJP, StopGradient, lambda operation, y, d_y: (d_y,))
    report = _refuses_and_writes_nothing(CASES["straight_through"][0], tmp_path)
    assert not report.taylor.passed


CALLS: dict[type[Expr], Callable[[Any, Any], Any]] = {
    maximum: lambda a, b: maximum(a, b),
    minimum: lambda a, b: minimum(a, b),
    where: lambda a, b: where(a > b, 2 * a, 3 * b),
    log: lambda a, b: log(1 + a**2),
    sqrt: lambda a, b: sqrt(1 + a**2),
}
"""How functions are called here that do not take one argument, or not every one."""

PARTIALS = [
    (each, index)
    for each in DEFINITIONS.values()
    if each.partials is not None
    for index in range(each.arguments)
    if (each.function, index) != (where, 0)  # a condition has no derivative
]


@pytest.mark.parametrize(
    ("definition", "index"), PARTIALS, ids=[f"{definition.name}-{index}" for definition, index in PARTIALS]
)
def test_a_wrong_sign_in_a_partial_is_found(
    definition: Definition, index: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def wrong(*args: Any) -> tuple[Expr, ...]:
        assert definition.partials is not None
        partials = list(definition.partials(*args))
        partials[index] = -partials[index] if partials[index] != 0 else Integer(1)
        return tuple(partials)

    @cell("calls")
    def calls(eq: Any) -> None:
        x, h_prev = eq.input("x"), eq.state("h")
        a = eq.let("a", eq.affine("q", W=x, U=h_prev))
        call = CALLS.get(definition.function, lambda a, b: definition.function(a))
        h = eq.next("h", 0.5 * call(a, 0.3 * h_prev))
        eq.output(h)

    monkeypatch.setitem(DEFINITIONS, definition.function, replace(definition, partials=wrong))
    report = _refuses_and_writes_nothing(calls, tmp_path)
    assert not all(each.passed for each in report.differenced)
    monkeypatch.undo()
    assert lstmgen.build(calls, out=tmp_path).passed


@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6])
def test_a_millionth_in_a_partial_is_found(factor: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = DEFINITIONS[sigmoid]
    monkeypatch.setitem(DEFINITIONS, sigmoid, replace(right, partials=lambda y, x: (factor * y * (1 - y),)))
    report = _refuses_and_writes_nothing(lstm, tmp_path)
    assert DIFFERENCES_LIMIT < max(each.error for each in report.differenced) < 1e-5


# -- errors planted in emitted code ------------------------------------------------------------------------------------


class Sabotaged(NumpyBackend):
    """The NumPy back end, with its source changed behind the printer's back."""

    def __init__(self, change: Callable[[str], str]) -> None:
        self.change = change

    def emit(self, *args: Any) -> Mapping[str, str]:
        files = super().emit(*args)
        changed = {name: self.change(text) for name, text in files.items()}
        assert changed != files
        return changed


def _kernel_lines(source: str) -> range:
    """The lines of the kernel functions, between the public ones and the helpers."""
    rows = source.splitlines()
    first = next(k for k, row in enumerate(rows) if row.startswith("def _forward("))
    last = next(k for k, row in enumerate(rows) if row.startswith("_DIMS"))
    return range(first, last)


LSTM_SOURCE = pipeline.compile_cell(lstm, backend, {}).source
MUTATIONS = {"add": "subtract", "subtract": "add", "multiply": "add", "tanh": "sin"}
CALL = re.compile(rf"^ +(?:np\.)?({'|'.join(MUTATIONS)})\(")
MUTABLE = [
    (number, found[1])
    for number in _kernel_lines(LSTM_SOURCE)
    if (found := CALL.match(LSTM_SOURCE.splitlines()[number]))
]


@pytest.mark.parametrize(("number", "call"), MUTABLE, ids=[f"{call}-{k}" for k, (_, call) in enumerate(MUTABLE)])
def test_a_wrong_operation_in_emitted_code_is_found(number: int, call: str) -> None:
    """Every elementwise operation of the LSTM's kernels, replaced by another."""

    def change(source: str) -> str:
        rows = source.splitlines(keepends=True)
        rows[number] = re.sub(rf"^( +)(?:np\.)?{call}\(", rf"\1np.{MUTATIONS[call]}(", rows[number])
        return "".join(rows)

    with pytest.raises(ProofError) as caught:
        pipeline.prove(pipeline.compile_cell(lstm, Sabotaged(change), {}))
    report = caught.value.report
    assert isinstance(report, Report)
    assert not all(each.passed for each in report.interpreted)


def test_there_were_operations_to_replace() -> None:
    assert len(MUTABLE) > 30


@pytest.mark.parametrize("entry", [0, 17, -1])
@pytest.mark.parametrize("place", ["parameters.flat", "inputs.x.reshape(-1)", "initial.h.reshape(-1)"])
def test_a_millionth_in_one_entry_is_found(place: str, entry: int) -> None:
    """One entry of one gradient, off by a millionth of itself."""
    entry = entry if place.startswith("parameters") else entry % 12

    def change(source: str) -> str:
        end = "    return Gradients(parameters, inputs, initial)"
        return source.replace(end, f"    _place = {place}\n    _place[{entry}] *= 1 + 1e-6\n{end}")

    failed = failures(change)
    assert len({tensor for tensor, _ in failed}) == 1
    assert {way for _, way in failed} == {*WAYS}


WAYS = (WHOLE, CHUNKED, RECOMPUTED)


def failures(change: Callable[[str], str]) -> set[tuple[str, str]]:
    """The tensors of the LSTM's code that its proof finds wrong once the code is changed, and the ways of running."""
    with pytest.raises(ProofError) as caught:
        pipeline.prove(pipeline.compile_cell(lstm, Sabotaged(change), {}))
    report = caught.value.report
    assert isinstance(report, Report)
    return {(each.tensor, each.way) for each in report.interpreted if not each.passed}


def test_a_wrong_inference_is_found_though_its_forward_is_right() -> None:
    """`infer` and `step` run the kernel of `forward`, without keeping anything."""

    def change(source: str) -> str:
        return re.sub(r"(    outputs, final, _ = _forward\(.*\)\n)", r"\1    outputs = 1.0001 * outputs\n", source)

    assert failures(change) == {(tensor, way) for tensor in ("inferred h", "stepped h") for way in WAYS}


CHUNK_FAULTS = {
    "a state that begins anew": (r"np\.copyto\((_c\[0\]), c\)", r"np.copyto(\1, _initial.c.T)", "output h"),
    "a total over one chunk": (r"np\.add\((_d_\w+), (_temporary\d+), \1\)", r"np.copyto(\1, \2)", "d_U_g"),
    "an output of one chunk": (r"(_returned_h)\[_now\]", r"\1[: len(_given_x[_now])]", "output h"),
    "a gradient of one chunk": (r"(_d_x)\[_now\]", r"\1[: _now.stop - _now.start]", "d_x"),
}


@pytest.mark.parametrize("fault", CHUNK_FAULTS)
def test_what_is_wrong_in_several_chunks_alone_is_found(fault: str) -> None:
    """In one chunk, which all steps of a sample fit into, each of these is right."""
    pattern, replacement, tensor = CHUNK_FAULTS[fault]
    failed = failures(lambda source: re.sub(pattern, replacement, source))
    assert {way for _, way in failed} == {CHUNKED, RECOMPUTED}
    assert (tensor, CHUNKED) in failed


def test_what_is_rebuilt_wrongly_is_found_though_all_that_is_saved_is_right() -> None:
    def change(source: str) -> str:
        before, mark, after = source.partition("\ndef _rebuild(")
        return before + mark + after.replace("np.tanh(", "np.sin(", 1)

    failed = failures(change)
    assert {way for _, way in failed} == {RECOMPUTED}
    assert ("d_U_g", RECOMPUTED) in failed
    assert not {tensor for tensor, _ in failed} & {"output h", "final h", "inferred h", "stepped h"}


def test_code_that_is_exact_in_float64_alone_is_found() -> None:
    def change(source: str) -> str:
        end = "    return Gradients(parameters, inputs, initial)"
        return source.replace(end, f"    parameters.flat[3] += 0.1 * (p.dtype == np.float32)\n{end}")

    with pytest.raises(ProofError) as caught:
        pipeline.prove(pipeline.compile_cell(lstm, Sabotaged(change), {}))
    report = caught.value.report
    assert isinstance(report, Report)
    assert all(each.passed for each in (*report.interpreted, *report.differenced))
    assert any(not each.passed for each in report.single)


# -- the report --------------------------------------------------------------------------------------------------------


def _report(**changes: Any) -> Report:
    good = Comparison("d_W", (4, 3), 1e-13, 1e-11, (2, 1))
    scalar = Comparison("d_s", (), 2e-13, 1e-11)
    parts = (good, scalar), (replace(good, limit=1e-7),), (replace(good, limit=1e-5),)
    plain = Report("trial", "numpy", "device", "steps 4", (good,), *parts, Taylor(1.0, 2.0, False), 12, 0.5)
    return replace(plain, **changes)


def test_report_names_every_tensor_and_no_failure() -> None:
    text = str(_report())
    assert re.search(r"^d_W +4 x 3 +1\.0e-13 +1\.0e-13 +\[2, 1\]$", text, re.MULTILINE)
    assert re.search(r"^d_s +scalar +2\.0e-13", text, re.MULTILINE)
    assert "FAILED" not in text
    assert "proven in 0.50 s" in text
    assert _report().passed
    assert "trial for numpy: proven at level device; 12 gradient entries" in _report().summary


@pytest.mark.parametrize(
    ("part", "wrong", "row"),
    [
        ("interpreted", Comparison("d_W", (4, 3), 0.5, 1e-11, (0, 2)), r"d_W .*5\.0e-01  FAILED"),
        ("declared", Comparison("output h", (4, 3), 0.5, 1e-11, (0, 2)), r"declaration .*5\.0e-01  FAILED"),
        ("differenced", Comparison("d_W", (4, 3), 1e-6, 1e-7, (3, 0)), r"d_W .*1\.0e-06  FAILED +\[3, 0\]"),
        ("interpreted", Comparison("d_W", (4, 3), float("nan"), 1e-11), r"d_W .*nan  FAILED"),
        ("single", Comparison("d_W", (4, 3), 1e-2, 1e-5), r"float32 .*1\.0e-02  FAILED .*d_W"),
    ],
)
def test_report_says_what_failed(part: str, wrong: Comparison, row: str) -> None:
    report = _report(**{part: (wrong,)})
    assert not report.passed
    assert re.search(row, str(report))
    assert "NOT PROVEN" in str(report)
    assert "NOT proven" in report.summary


@pytest.mark.parametrize("taylor", [Taylor(1.0, 1.0, False), Taylor(0.2, 2.0, False), Taylor(1.0, float("nan"), False)])
def test_report_says_that_the_taylor_test_failed(taylor: Taylor) -> None:
    report = _report(taylor=taylor)
    assert not report.passed
    assert re.search(r"Taylor test .*FAILED", str(report))


def test_report_of_a_linear_loss() -> None:
    assert "the loss is linear here" in str(_report(taylor=Taylor(1.0, 2.0, True)))


def test_a_failed_proof_names_every_tensor_that_is_wrong() -> None:
    def change(source: str) -> str:
        end = "    return Gradients(parameters, inputs, initial)"
        return source.replace(end, f"    parameters.U_g *= -1\n    initial.c[...] *= 2\n{end}")

    with pytest.raises(ProofError) as caught:
        pipeline.prove(pipeline.compile_cell(lstm, Sabotaged(change), {}))
    rows = str(caught.value.report).splitlines()
    failed = {row.split("  ")[0] for row in rows if "FAILED" in row and not row.startswith("Taylor")}
    assert failed == {"d_U_g", "d_initial c"}
    for name in ("output h", "final c", "inferred h", "d_W_f", "d_b_o", "d_x", "d_initial h"):
        assert any(row.startswith(f"{name}  ") for row in rows)


def test_a_level_that_cannot_be_reached_is_refused() -> None:
    class OnlyCompiled(NumpyBackend):
        def levels(self) -> tuple[str, ...]:
            return ("compiled", "derivation")

        def check(self, source: str) -> None:
            compile(source, "lstm", "exec")

    made = pipeline.compile_cell(lstm, OnlyCompiled(), {})
    with pytest.raises(UserError) as caught:
        pipeline.prove(made, "device")
    assert caught.value.code == "LG304"
    assert pipeline.prove(made, "derivation").level == "compiled"
