"""Schedules: what leaves the loop, what becomes one product or call, and that every choice computes the same."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from trial_cells import CASES

from lstmgen import finding, pipeline
from lstmgen.api import cell, sigmoid, tanh
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.calculus.interpreter import all_dims
from lstmgen.calculus.operations import Contract, Total
from lstmgen.declare.cell import Cell
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import ONE, Plan, Region, Schedule, Work

GATES = {"f", "i", "g", "o"}


def compiled(cell: Cell, options: dict[str, Any] | None = None, **choices: Any) -> pipeline.Compiled:
    backend = NumpyBackend()
    if choices:
        backend.target = Target("numpy", **choices)
    return pipeline.compile_cell(cell, backend, options or {})


@pytest.fixture(scope="module")
def lstm() -> Schedule:
    return compiled(finding.find_cell("lstm")).schedule


@pytest.fixture(scope="module")
def hoisted() -> Schedule:
    """The LSTM for a target to which it is worth more to multiply the inputs of many steps at once."""
    return compiled(finding.find_cell("lstm"), joins_operands=False).schedule


def products(plan: Plan, region: Region) -> list[Work]:
    """What multiplies, totals of products included."""
    found = []
    for work in plan.in_region(region):
        inner = work.expression.args[0] if isinstance(work.expression, Total) else work.expression
        found += [work] if isinstance(inner, Contract) else []
    return found


def test_a_step_multiplies_inputs_states_and_one_together(lstm: Schedule) -> None:
    (joint,) = lstm.forward.joints
    assert {value.name for value in joint.parts} == {"x", "h_prev", ONE.name}
    (product,) = products(lstm.forward, Region.LOOP)
    assert joint.value in product.reads
    assert len(product.sources) == 4
    assert not lstm.forward.in_region(Region.BEFORE), "nothing is left to do with the inputs"


def test_input_products_leave_the_loop_as_one_where_nothing_is_joined(hoisted: Schedule) -> None:
    assert hoisted.forward.joints == ()
    (product,) = products(hoisted.forward, Region.BEFORE)
    assert len(product.sources) == 4
    assert all(value.name != "x" for work in hoisted.forward.in_region(Region.LOOP) for value in work.reads)


@pytest.mark.parametrize("name", ["lstm", "hoisted"])
def test_each_step_multiplies_once(name: str, request: pytest.FixtureRequest) -> None:
    schedule: Schedule = request.getfixturevalue(name)
    for plan in (schedule.forward, schedule.backward):
        assert len(products(plan, Region.LOOP)) == 1, plan.name


def test_gradients_of_parameters_and_inputs_wait_for_the_end_of_the_loop(lstm: Schedule, hoisted: Schedule) -> None:
    for schedule, count in ((lstm, 1), (hoisted, 2)):
        after = schedule.backward.in_region(Region.AFTER)
        totals = [work for work in after if isinstance(work.expression, Total)]
        assert [work.target.name for work in after if work not in totals] == ["d_x"]
        named = {source.target.name for work in totals for source in work.sources}
        assert {f"d_{kind}_{gate}" for kind in "WUb" for gate in GATES} <= named
        assert len(products(schedule.backward, Region.AFTER)) == 1 + count, "one for d_x, the others for totals"


def test_nothing_waits_for_a_step_where_residuals_are_rebuilt(lstm: Schedule) -> None:
    assert {work.region for work in lstm.rebuild.work} <= {Region.ONCE, Region.BEFORE}
    made = {source.target for work in lstm.rebuild.work for source in work.sources}
    assert {value for value in lstm.residuals if value not in lstm.checkpoints} <= made
    states = {value for each in lstm.forward.carried for value in (each.incoming, each.outgoing)}
    assert not made & {*states, *lstm.forward.given}, "those are kept"
    assert {*lstm.checkpoints} <= {*states, *lstm.forward.given}


def test_gates_overwrite_their_preactivations_in_slots_by_function(lstm: Schedule) -> None:
    (gates,) = (stack for stack in lstm.forward.stacks if {slot[-1].name for slot in stack.members} == GATES)
    for slot in gates.members:
        assert slot[0].name in (f"a_{slot[-1].name}", f"half_a_{slot[-1].name}")
    of_one_function = [slot[-1].name in "fio" for slot in gates.members]
    assert of_one_function in ([True] * 3 + [False], [False] + [True] * 3), "one run of slots for one call"


def test_no_preactivation_is_saved(lstm: Schedule) -> None:
    assert [value.name for value in lstm.residuals] == ["x", "h_prev", "c_prev", "f", "i", "g", "o", "tanh_c"]


CHOICES: dict[str, dict[str, Any]] = {
    f"{stacks}-{merges}": {"stacks_products": stacks, "merges_calls": merges}
    for stacks in (True, False)
    for merges in (True, False)
}
CHOICES |= {
    "hoisted inputs": {"joins_operands": False},
    "coefficients in the loop": {"hoists_coefficients": False},
    "batch first": {"batch_last": False},
    "nothing": {
        "stacks_products": False,
        "merges_calls": False,
        "joins_operands": False,
        "batch_last": False,
        "hoists_coefficients": False,
    },
    "short chunks": {"chunk_rows": 1, "chunk_steps": 1},
}


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("label", ["lstm", *list(CASES)[:6]])
def test_every_choice_computes_the_same(label: str, choice: str) -> None:
    assert pipeline.prove(compiled(*case(label), **CHOICES[choice])).passed


def case(label: str) -> tuple[Cell, dict[str, Any]]:
    if label not in CASES:
        return finding.find_cell(label), {}
    found = CASES[label]
    return found if isinstance(found, tuple) else (found, {})


# -- loops of the emitted text -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Text:
    """The kernels of a module as syntax trees, by the name of their function."""

    kernels: dict[str, ast.FunctionDef]
    lengths: frozenset[str]

    def loop(self, name: str) -> ast.For:
        """The loop over chunks of a kernel."""
        (found,) = (node for node in self.kernels[name].body if isinstance(node, ast.For))
        assert "_chunks" in _names(found.iter)
        return found

    def time_loop(self, name: str) -> ast.For:
        """The loop over steps in it."""
        (found,) = (node for node in self.loop(name).body if isinstance(node, ast.For))
        assert _names(found.iter) & {"_windows", "_count"}
        return found

    def allocations(self, statements: list[ast.stmt]) -> list[str]:
        """Expressions that make an array: calls that are given no place for what they compute, operators, indices
        that select.

        A reshape that has to copy looks as one that need not: it is found where memory is measured.
        """
        return [ast.unparse(node) for statement in statements for node in self._made(statement)]

    def _made(self, node: ast.AST) -> Iterator[ast.AST]:
        match node:
            case ast.Call():
                if not _has_place(node):
                    yield node
                inner = [node.func, *([] if _is_view(node) else node.args), *(each.value for each in node.keywords)]
                for each in inner:
                    yield from self._made(each)
            case ast.Subscript():
                if not self._is_window(node.slice):
                    yield node
                yield from self._made(node.value)
            case ast.Name() | ast.Constant() | ast.UnaryOp(ast.USub(), ast.Constant()):
                pass
            case ast.Attribute() | ast.Expr() | ast.Tuple() | ast.Assign() | ast.For() | ast.keyword():
                for each in ast.iter_child_nodes(node):
                    yield from self._made(each)
            case ast.Yield(None) | ast.expr_context():
                pass
            case _:  # an operator, a list, a condition
                yield node

    def _is_window(self, index: ast.expr) -> bool:
        """Whether an index gives a view: a number, a slice, None, or several of them."""
        if isinstance(index, ast.Tuple):
            return all(map(self._is_window, index.elts))
        return isinstance(index, ast.Constant | ast.Slice) or _names(index) <= self.lengths | {"_now"}


def _names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _is_view(call: ast.Call) -> bool:
    return ast.unparse(call.func).rpartition(".")[2] in ("transpose", "reshape", "swapaxes", "range")


def _has_place(call: ast.Call) -> bool:
    """Whether a call writes to a place that it is given, or makes no array of the size of a value."""
    name = ast.unparse(call.func)
    method = name.rpartition(".")[2]
    if any(keyword.arg == "out" for keyword in call.keywords):
        return True
    if name in ("np.copyto", "np.put_along_axis"):
        return True
    if not name.startswith("np."):
        return _is_view(call) or method in ("fill", "argmax", "zip")  # argmax: the indices of a maximum
    function = getattr(np, method)
    if isinstance(function, np.ufunc):
        return len(call.args) == function.nin + function.nout
    return method == "dot" and len(call.args) == 3


class _Unnamed(ast.NodeTransformer):
    """Puts functions of NumPy back where a kernel calls them by local names."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        names: dict[str, ast.expr] = {}
        for each in node.body:
            match each:
                case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if "np" in _names(each.value):
                    names |= {ast.unparse(target): value for target, value in zip(targets, values, strict=True)}
                case ast.Assign([ast.Name(name)], ast.Attribute(ast.Name("np"))):
                    names[name] = each.value
        for call in ast.walk(node):
            if isinstance(call, ast.Call) and ast.unparse(call.func) in names:
                call.func = names[ast.unparse(call.func)]
        return node


@cache
def text_of(label: str) -> Text:
    made = compiled(*case(label))
    tree = _Unnamed().visit(ast.parse(made.source))
    kernels = {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}
    dims = {f"_{dim}" for dim in all_dims(made.declaration, made.primal)}
    return Text(kernels, frozenset({"_steps", "_batch", "_count", *dims, *(f"{dim}_" for dim in dims)}))


@pytest.mark.parametrize("label", ["lstm", *CASES])
def test_nothing_is_allocated_in_a_time_loop(label: str) -> None:
    text = text_of(label)
    for kernel in ("_forward", "_backward"):
        assert text.allocations(text.time_loop(kernel).body) == [], kernel


@pytest.mark.parametrize("label", ["lstm", *CASES])
def test_nothing_but_views_is_made_in_a_loop_over_chunks(label: str) -> None:
    text = text_of(label)
    for kernel in ("_forward", "_backward", *(["_rebuild"] if "_rebuild" in text.kernels else [])):
        assert text.allocations([text.loop(kernel)]) == [], kernel


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("np.multiply(a, b)", ["np.multiply(a, b)"]),
        ("np.multiply(a, b, c)", []),
        ("np.tanh(a)", ["np.tanh(a)"]),
        ("np.tanh(a, a)", []),
        ("np.dot(a, b)", ["np.dot(a, b)"]),
        ("np.dot(a.T, b[1:], c)", []),
        ("np.matmul(a, b + c, out=d)", ["b + c"]),
        ("np.copyto(a, b.copy())", ["b.copy()"]),
        ("np.copyto(a, b.reshape(4 * _hidden, -1)[:, _hidden : 2 * _hidden])", []),
        ("np.copyto(a, b[c])", ["b[c]"]),
        ("np.copyto(a, np.stack((b, c)))", ["np.stack((b, c))"]),
        ("a, b = (b, a)", []),
        ("a = -b", ["-b"]),
        ("a += b", ["a += b"]),
        ("np.copyto(a, b, where=c > d)", ["c > d"]),
        ("np.square(np.empty(3), out=a)", ["np.empty(3)"]),
        ("f(a)", ["f(a)"]),
    ],
)
def test_an_allocation_would_be_noticed(line: str, made: list[str]) -> None:
    assert Text({}, frozenset({"_hidden"})).allocations(ast.parse(line).body) == made


def test_functions_make_way_for_values_of_their_name() -> None:
    """Steps call functions of NumPy by local names."""

    @cell("crowded")
    def made(eq: Any) -> None:
        """Values called as functions are."""
        x, h_prev = eq.input("x"), eq.state("h")
        dot = eq.let("dot", sigmoid(eq.affine("dot", W=x, U=h_prev)))
        add = eq.let("add", tanh(eq.affine("add", W=x, U=h_prev)))
        multiply = eq.let("multiply", dot * add + 2)
        eq.output(eq.next("h", multiply * h_prev + add))

    crowded = compiled(made)
    assert "add_, dot_, multiply_, tanh = np.add, np.dot, np.multiply, np.tanh" in crowded.source
    assert pipeline.prove(crowded).passed
