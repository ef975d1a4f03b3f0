"""Schedules: what leaves the loop, what becomes one product or call, and that every choice computes the same."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from trial_cells import CASES

from lstmgen import finding, pipeline
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.declare.cell import Cell
from lstmgen.schedule.target import Target
from lstmgen.schedule.work import Region, Schedule


def schedule_of(cell: Cell, **options: Any) -> Schedule:
    return pipeline.compile_cell(cell, NumpyBackend(), options).schedule


@pytest.fixture(scope="module")
def lstm() -> Schedule:
    return schedule_of(finding.find_cell("lstm"))


def test_input_products_leave_the_loop_as_one(lstm: Schedule) -> None:
    before = lstm.forward.in_region(Region.BEFORE)
    assert [len(work.sources) for work in before] == [4, 4]  # the products, and their sums with the biases
    assert all(value.name != "x" for work in lstm.forward.in_region(Region.LOOP) for value in work.reads)


def test_each_step_multiplies_once(lstm: Schedule) -> None:
    for plan in (lstm.forward, lstm.infer, lstm.backward):
        products = [work for work in plan.in_region(Region.LOOP) if "Contract" in type(work.expression).__name__]
        assert len(products) == 1, plan.name


def test_gradients_of_parameters_and_inputs_wait_for_the_end_of_the_loop(lstm: Schedule) -> None:
    after = lstm.backward.in_region(Region.AFTER)
    assert [work.target.name for work in after] == ["d_x", "d_W_fiog", "d_U_fiog", "d_b_fiog"]


def test_gates_overwrite_their_preactivations_in_slots_by_function(lstm: Schedule) -> None:
    (gates,) = (stack for stack in lstm.forward.stacks if stack.value.name == "fiog")
    assert [slot[-2].name for slot in gates.members] == ["a_f", "a_i", "a_o", "a_g"]
    sigmoids = next(work for work in lstm.forward.work if "sigmoid" in str(work.expression))
    assert [source.target.name for source in sigmoids.sources] == ["f", "i", "o"]


def test_no_preactivation_is_saved(lstm: Schedule) -> None:
    assert [value.name for value in lstm.residuals] == ["x", "h_prev", "c_prev", "f", "i", "g", "o", "tanh_c"]


@pytest.mark.parametrize("stacks", [True, False])
@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("label", ["lstm", *list(CASES)[:6]])
def test_every_choice_computes_the_same(label: str, stacks: bool, merges: bool) -> None:
    backend = NumpyBackend()
    backend.target = Target("numpy", stacks_products=stacks, merges_calls=merges)
    cell, options = (finding.find_cell("lstm"), {}) if label == "lstm" else case(label)
    assert pipeline.prove(pipeline.compile_cell(cell, backend, options)).passed


def case(label: str) -> tuple[Cell, dict[str, Any]]:
    found = CASES[label]
    return found if isinstance(found, tuple) else (found, {})


@pytest.mark.parametrize("label", ["lstm", *CASES])
def test_nothing_is_allocated_in_a_time_loop(label: str) -> None:
    cell, options = (finding.find_cell("lstm"), {}) if label == "lstm" else case(label)
    tree = ast.parse(pipeline.compile_cell(cell, NumpyBackend(), options).source)
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For) and getattr(node.target, "id", "") == "_t"]
    assert len(loops) == 3
    for call in (node for loop in loops for node in ast.walk(loop) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        gives_place = any(keyword.arg == "out" for keyword in call.keywords) or name == "np.copyto"
        rearranges = name.rpartition(".")[2] in ("transpose", "reshape", "range", "fill", "swapaxes")
        finds = name in ("np.put_along_axis",) or name.endswith(".argmax")  # indices of a maximum
        assert gives_place or rearranges or finds, ast.unparse(call)
