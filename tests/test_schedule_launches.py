"""Launches: what becomes one kernel on a device, in which order, and what it must leave in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from trial_cells import CASES

from lstmgen import finding, pipeline
from lstmgen.api import cell, tanh
from lstmgen.backends.cupy.module import TARGET, lower_all
from lstmgen.backends.numpy.module import NumpyBackend
from lstmgen.declare.cell import Cell
from lstmgen.schedule.kernel import Kernel, Launch, Loop, Note, Product, Statement, views_in, walk
from lstmgen.schedule.launches import is_row_by_row, is_wide, kept_views
from lstmgen.schedule.lowering import lower_passes


class _Scheduled(NumpyBackend):
    """Schedules as for CUDA; what it emits is not looked at."""

    target = TARGET


def kernels(label: str | Cell, options: dict[str, Any] | None = None) -> tuple[Kernel, Kernel, Kernel]:
    found = CASES.get(label) if isinstance(label, str) else None
    given, more = found if isinstance(found, tuple) else (found or finding.find_cell(label), options or {})
    made = pipeline.compile_cell(given, _Scheduled(), more)
    return lower_all(made.gradient, made.schedule)


def launches(kernel: Kernel) -> dict[str, Launch]:
    return {each.name: each for each in walk(kernel.body) if isinstance(each, Launch)}


def of_a_step(kernel: Kernel) -> list[Statement]:
    (loop,) = (each for each in walk(kernel.body) if isinstance(each, Loop))
    return [each for each in loop.body if not isinstance(each, Note)]


def test_a_step_of_an_lstm_is_a_product_and_a_launch() -> None:
    forward, backward, _ = kernels("lstm")
    assert [type(each) for each in of_a_step(forward)] == [Product, Launch]
    assert [type(each) for each in of_a_step(backward)] == [Launch, Product]
    assert set(launches(forward)) == {"forward_step"}, "biases are added at a step, which has the sums at hand"


@pytest.mark.parametrize("name", ["indrnn", "mingru", "minlstm", "sru", "unicornn"])
def test_where_units_do_not_mix_the_time_loop_is_a_launch(name: str) -> None:
    for kernel in kernels(name)[:2]:
        assert not [each for each in walk(kernel.body) if isinstance(each, Loop)]
        assert [each.loop for each in launches(kernel).values() if each.loop is not None]


def test_what_mixes_the_units_of_a_row_needs_no_launch_of_its_own() -> None:
    forward, backward, _ = kernels("lstm_layernorm")
    assert [type(each) for each in of_a_step(forward)] == [Product, Launch]
    assert [type(each) for each in of_a_step(backward)] == [Launch, Product]


@pytest.mark.parametrize("label", ["lstm", "gru", "mlstm", "mogrifier_lstm", *CASES])
def test_launches_keep_the_order_of_what_depends_on_one_another(label: str) -> None:
    """Every value is read from where it was last written, as in the kernel without launches."""
    found = CASES.get(label)
    given, options = found if isinstance(found, tuple) else (found or finding.find_cell(label), {})
    made = pipeline.compile_cell(given, _Scheduled(), options)
    both = (lower(made.gradient, made.schedule) for lower in (lower_passes, lower_all))
    for plain, launched in zip(*both, strict=True):
        before, after = (written_before_read(kernel.body) for kernel in (plain, launched))
        assert after == before


def written_before_read(body: Sequence[Statement]) -> dict[str, set[str]]:
    """For each value, those that had been written to when it was computed of the ones it reads."""
    found: dict[str, set[str]] = {}
    written: set[str] = set()
    for each in walk(tuple(body)):
        views = list(views_in((each,))) if is_row_by_row(each) or isinstance(each, Product) else []
        if isinstance(each, Launch) or not views:
            continue
        *read, out = views
        found.setdefault(out.name, set()).update(view.name for view in read if view.name in written)
        written.add(out.name)
    return found


def test_values_that_one_launch_alone_reads_stay_in_registers() -> None:
    _, backward, _ = kernels("lstm")
    kept = kept_views(backward)["backward_step"]
    assert {view.name for view in kept} == {"d_a_f", "d_a_i", "d_a_g", "d_a_o", "d_c_prev"}


def test_what_a_product_reads_is_kept() -> None:
    forward, _, _ = kernels("lstm_projected")
    (loop,) = (each for each in walk(forward.body) if isinstance(each, Loop))
    read = [view for each in loop.body if isinstance(each, Product) for view in (each.left, each.right)]
    names = {view.name for launch in launches(forward).values() for view in kept_views(forward)[launch.name]}
    computed = {out for launch in launches(forward).values() for each in launch.body for out in _outs(each)}
    assert {view.name for view in read if view.name in computed} <= names


def _outs(statement: Statement) -> list[str]:
    views = list(views_in((statement,)))
    return [views[-1].name] if views else []


def test_work_that_no_product_waits_for_joins_the_launch_after_it() -> None:
    """Two launches with a product between them are one, if the first can wait for the second."""

    @cell("late")
    def late(eq: Any) -> None:
        """A value of the inputs alone, and one that waits for a product."""
        x, h_prev = eq.input("x", "hidden"), eq.state("h")
        u, v = eq.parameter("U", "hidden", "hidden"), eq.parameter("V", "hidden")
        early = eq.let("early", tanh(v * x))
        eq.output(eq.next("h", tanh(u @ h_prev + early * h_prev)))

    forward, *_ = kernels(late)
    assert [type(each) for each in of_a_step(forward)] == [Product, Launch]


def test_a_matrix_of_each_row_is_computed_by_more_than_a_block() -> None:
    forward, _, _ = kernels("mlstm")
    (loop,) = (each for each in walk(forward.body) if isinstance(each, Loop))
    wide = [each for each in loop.body if isinstance(each, Launch) and is_wide(each.body[-1])]
    (update,) = wide
    assert {out for each in update.body for out in _outs(each)} == {"v_k", "C"}
