"""`lstmgen bench`: the floor of each cell, who is refused, what is printed and written, and by whose fault it fails.

Times themselves are not tested: shapes are tiny, and a round is one turn.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_stand_ins import Echo, allocating, failing, without_gradients
from click.testing import Result

from lstmgen import pipeline, plugins
from lstmgen.bench import ablation, chart, generated, memory, peers, products, record, report
from lstmgen.bench.calls import calls_per_step
from lstmgen.bench.check import deviations, of_implementation
from lstmgen.bench.contenders import FLOOR, OURS, Contender, contenders
from lstmgen.bench.derivation import derive_floor
from lstmgen.bench.floor import Floor, Product, When, spell
from lstmgen.bench.implementation import FORWARD, INFERENCE, MEASURES, TRAINING, Arrays, Timed
from lstmgen.bench.measuring import Plan, measure
from lstmgen.bench.memory import Memory
from lstmgen.bench.pool import Setting, Worker, WorkerError, setting
from lstmgen.bench.preparation import Prepared, hold_against_equations, prepare
from lstmgen.bench.problem import draw
from lstmgen.bench.reference import Reference
from lstmgen.bench.results import AtShape, Header, Results, Row
from lstmgen.bench.shapes import Dimensions, Shape
from lstmgen.bench.station import Turn
from lstmgen.bench.turns import Pace, Times, take_turns
from lstmgen.errors import ProofError
from lstmgen.finding import find_cell

Run = Callable[..., Result]
Shell = Callable[..., "subprocess.CompletedProcess[str]"]

TINY = Shape(steps=6, batch=2, features=3, hidden=4)
HURRIED = Pace(rounds=1, least=0.0)
SIZES = {"steps": 10, "batch": 2, "features": 3, "hidden": 5}
ONCE, ALL, EVERY = When.ONCE, When.ALL_STEPS, When.EVERY_STEP


def floor_of(cell: str, **options: Any) -> Floor:
    return derive_floor(pipeline.derive_gradient(find_cell(cell), options))


def shapes_of(products: tuple[Product, ...]) -> list[tuple[When, tuple[int, ...], tuple[int, ...]]]:
    """How often each product is computed, and the shapes of its operands at SIZES."""
    return sorted((each.when, *each.shapes(SIZES | {"value": 5, "key": 4})) for each in products)


# -- the floor --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"peephole": True}], ids=["plain", "with peepholes, which are no products"])
def test_the_floor_of_an_lstm_is_five_products_over_all_steps_or_at_every_step(options: dict[str, Any]) -> None:
    floor = floor_of("lstm", **options)
    assert shapes_of(floor.forward) == [
        (EVERY, (20, 5), (5, 2)),  # U @ h_prev
        (ALL, (20, 3), (3, 20)),  # W @ x
    ]
    assert shapes_of(floor.backward) == [
        (EVERY, (5, 20), (20, 2)),  # U.T @ d_a
        (ALL, (3, 20), (20, 20)),  # W.T @ d_a
        (ALL, (20, 20), (20, 3)),  # d_W
        (ALL, (20, 20), (20, 5)),  # d_U
    ]
    forward = 2 * 10 * 2 * 20 * (3 + 5)
    assert sum(each.operations(SIZES) for each in floor.forward) == forward
    assert sum(each.operations(SIZES) for each in floor.backward) == 2 * forward


def test_the_floor_of_an_rnn() -> None:
    floor = floor_of("rnn")
    assert shapes_of(floor.forward) == [(EVERY, (5, 5), (5, 2)), (ALL, (5, 3), (3, 20))]
    assert len(floor.backward) == 4


def test_the_floor_of_a_gru_knows_where_its_reset_gate_stands() -> None:
    after, before = floor_of("gru"), floor_of("gru", reset="before")
    assert shapes_of(after.forward) == [(EVERY, (15, 5), (5, 2)), (ALL, (15, 3), (3, 20))]
    assert shapes_of(before.forward) == [(EVERY, (5, 5), (5, 2)), (EVERY, (10, 5), (5, 2)), (ALL, (15, 3), (3, 20))]
    assert [each for each in shapes_of(after.backward) if each[0] == EVERY] == [(EVERY, (5, 15), (15, 2))]
    looped = [each for each in shapes_of(before.backward) if each[0] == EVERY]
    assert looped == [(EVERY, (5, 5), (5, 2)), (EVERY, (5, 10), (10, 2))]


def test_a_matrix_memory_meets_its_query_in_every_row() -> None:
    floor = floor_of("mlstm")
    (read,) = [each for each in floor.forward if each.when is EVERY]
    assert (read.left, read.right) == (("C",), ("q",))
    assert read.shapes(SIZES | {"value": 5, "key": 4}) == ((2, 5, 4), (2, 4, 1))
    (projection,) = [each for each in floor.forward if each.when is ALL]
    assert set(spell(projection.rows).split(" + ")) == {"2", "2 value", "2 key"}


def test_what_no_later_step_needs_waits_for_the_end_of_the_loop() -> None:
    """The readout of an SCRN is one product over all steps, of both its states side by side."""
    floor = floor_of("scrn")
    readout = next(each for each in floor.forward if "U" in each.left)
    assert (readout.when, set(readout.right)) == (ALL, {"h", "s"})
    assert spell(readout.inner) in ("hidden + context", "context + hidden")


def test_elementwise_recurrence_is_no_product() -> None:
    assert all(each.when is ALL for cell in ("indrnn", "sru") for each in floor_of(cell).forward)


@pytest.mark.parametrize("plugin", plugins.available("cells"), ids=lambda plugin: plugin.name)
def test_every_built_in_cell_has_a_floor_that_reads_each_of_its_matrices(plugin: plugins.Plugin) -> None:
    gradient = pipeline.derive_gradient(find_cell(plugin.name), {})
    floor = derive_floor(gradient)
    read = {name for each in floor.forward for name in (*each.left, *each.right)}
    matrices = [each.value for each in gradient.declaration.parameters if len(each.value.dims) >= 2]
    # A matrix that is part of another one is read through that.
    made_of = {each.name for equation in gradient.primal.equations for each in equation.expression.free_symbols}
    assert all(matrix.name in read or matrix.name in made_of for matrix in matrices)
    assert floor.forward and len(floor.backward) >= len(floor.forward)


def test_the_products_run_with_arrays_that_values_share() -> None:
    subject = prepare(find_cell("lstm"), {}).subject
    implementation = products.build(subject, draw(subject, TINY, "float64"))
    assert tuple(implementation) == MEASURES
    assert all(timed.call() is None and timed.arrays is None for timed in implementation.values())


# -- calls of NumPy ---------------------------------------------------------------------------------------------------


def test_calls_are_counted_in_innermost_loops_whatever_their_names() -> None:
    source = """
import numpy as np
half = np.float32(0.5)
def _forward(x, _tanh=np.tanh):
    _dot, _add = np.dot, np.add
    np.zeros(3)
    for _t in range(3):
        np.multiply(x, x, out=x)
        _dot(x, _add(x, x))
        _tanh(x)
        other(x)
        half(x) if x else x.sum()
def _infer(x):
    return np.tanh(x)
def _backward(x):
    for chunk in chunks:
        np.add(x, x)
        for _t in chunk:
            np.add.reduce(x)
        while x:
            np.add(x, x)
def helper(x):
    for _ in x:
        np.add(x, x)
"""
    assert calls_per_step(source) == {"forward": 4, "infer": 0, "backward": 2}


def test_generated_kernels_call_numpy_at_every_step() -> None:
    calls = calls_per_step(pipeline.compile_cell(find_cell("lstm"), plugins.load("backends", "numpy"), {}).source)
    assert calls["forward"] >= 5 and calls["backward"] >= 5


# -- what is right, and what is refused -------------------------------------------------------------------------------


def test_deviations_are_relative_and_anything_odd_is_infinitely_far() -> None:
    expected = {name: np.array([1.0, -4.0]) for name in ("good", "short", "wild", "gone")}
    expected |= {"zero": np.zeros(2), "d_small": np.array([1e-9, 0]), "d_large": np.array([1.0, 0])}
    found = {"good": np.array([1.0, -4.4]), "short": np.zeros(1), "wild": np.array([np.nan, 0]), "zero": np.zeros(2)}
    errors = deviations(found | {"d_small": np.array([2e-9, 0]), "d_large": np.array([1.0, 0])}, expected)
    assert errors.pop("good") == pytest.approx(0.1)
    assert errors.pop("d_small") == pytest.approx(1e-6)  # of a thousandth of the largest gradient
    assert errors == {"short": np.inf, "wild": np.inf, "gone": np.inf, "zero": 0.0, "d_large": 0.0}


@pytest.mark.parametrize("cell", ["lstm", "gru", "mlstm", "lstm_projected", "lmu", "scrn"])
def test_kernels_agree_with_the_equations(cell: str) -> None:
    hold_against_equations(prepare(find_cell(cell), {}))


MANY = """
from lstmgen.api import cell, exp, sigmoid, tanh

@cell("many")
def many(eq):
    x, u, h_prev, s_prev = eq.input("x"), eq.input("u", "others"), eq.state("h"), eq.state("s", "slow")
    t = eq.step_index("t")
    s = eq.next("s", s_prev * exp(-0.1 * t) + tanh(eq.affine("s", V=u, R=h_prev, to="slow")))
    h = eq.next("h", sigmoid(eq.affine("h", W=x, U=h_prev, S=s)))
    eq.output(h)
    eq.output(eq.let("y", tanh(eq.affine("y", Q=s, to="others"))))
"""


def test_a_cell_of_ones_own_with_several_of_everything_is_measured(folder: Path, here: Setting) -> None:
    (folder / "many.py").write_text(MANY, encoding="utf-8")
    prepared = prepare(find_cell("./many.py"), {}, chosen={"others": 2, "slow": 3})
    hold_against_equations(prepared)
    rows = contenders(prepared.subject, ["nobody"], "float32")
    found = measure(Plan(prepared.subject, rows, here, HURRIED, "float32", {}), TINY, lambda text: None)
    assert found.times.ms[TRAINING].keys() >= {OURS, "no workspace", FLOOR}
    assert found.wrong == found.failed == {} and found.sizes["slow"] == 3


def sabotaged(prepared: Prepared) -> Prepared:
    """With kernels in which something is a thousandth too large."""
    source = prepared.subject.source
    at = source.index("def _backward(")
    wrong = source[:at] + source[at:].replace("return _d_inputs,", "_gradients.flat *= 1.001\n    return _d_inputs,", 1)
    assert wrong != source
    return replace(prepared, subject=replace(prepared.subject, source=wrong))


def test_kernels_that_disagree_with_the_equations_are_not_measured() -> None:
    with pytest.raises(ProofError, match=r"lstm_numpy does not compute the equations: d_\w+ by 1.0e-03"):
        hold_against_equations(sabotaged(prepare(find_cell("lstm"), {})))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """One thread, and workers that can import what stands beside this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    return setting(1)


def test_a_wrong_implementation_is_not_timed_and_the_others_are(here: Setting) -> None:
    prepared = prepare(find_cell("rnn"), {})
    wrong = sabotaged(prepared).subject.source
    rows = (
        Contender(OURS, "ours", partial(generated.build, source=wrong)),
        Contender("torch", "another", generated.build),
        Contender("half", "half of it", without_gradients),
        Contender("broken", "one that fails", failing),
        Contender(FLOOR, "floor", products.build),
    )
    found = measure(Plan(prepared.subject, rows, here, HURRIED, "float32", {}), TINY, lambda text: None)
    assert found.times.ms[TRAINING].keys() == {"torch", FLOOR}
    assert found.wrong.keys() == {OURS, "half"} and found.failed == {"broken": "RuntimeError: no such device"}
    assert set(found.wrong[OURS]) == {"d_W_h", "d_U_h", "d_b_h"}
    assert found.wrong["half"]["d_x"] == np.inf
    assert found.memory["torch"].peak is not None or sys.platform != "linux"
    results = Results(HEADER, tuple(Row(each.key, each.title) for each in rows), (found,))
    text = report.at_shape(results, found)
    assert "WRONG        ours is off, so not timed: d_" in text
    assert "FAILED       one that fails: RuntimeError: no such device" in text
    assert report.failures(results) == ["6,2,3,4: lstmgen is wrong", "6,2,3,4: half is wrong"]


def test_a_shape_that_does_not_fit_into_memory_is_left_out(here: Setting) -> None:
    if memory.available() is None:
        pytest.skip("the system does not tell how much memory there is")
    prepared = prepare(find_cell("rnn"), {})
    plan = Plan(prepared.subject, (), here, HURRIED, "float32", {})
    found = measure(plan, Shape(10**6, 10**6, 1, 100), lambda text: None)
    assert found.skipped.startswith("it takes about ") and not found.times.ms
    assert "left out: it takes" in report.at_shape(Results(HEADER, (), (found,)), found)


def test_the_reference_allows_for_what_rounding_does_to_the_cell() -> None:
    subject = prepare(find_cell("lstm"), {}).subject
    expected, limit = Reference(subject, TINY, "float32").results()
    assert expected["output h"].dtype == np.float64
    assert limit == 2e-5
    assert Reference(subject, TINY, "float64").results()[1] == 1e-10


CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "lstm": ("lstm", {}),
    "peephole": ("lstm", {"peephole": True}),
    "projected": ("lstm_projected", {}),
    "gru": ("gru", {}),
    "gru, reset before": ("gru", {"reset": "before"}),
    "rnn": ("rnn", {}),
    "relu": ("rnn", {"activation": "relu"}),
}
OFFERED = {
    "torch": {"lstm", "projected", "gru", "rnn", "relu"},
    "onnxruntime": set(CELLS) - {"projected"},
    "jax": {"lstm", "gru", "rnn", "relu"},
    "tutorial": {"lstm"},
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # PyTorch says that it takes its slower way
@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: peer.key)
def test_peers_compute_the_same(peer: peers.Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in peer.needs:
        pytest.importorskip(module)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    offered = set()
    for name, (cell, options) in CELLS.items():
        subject = prepare(find_cell(cell), options).subject
        if peer.title(subject):
            offered.add(name)
            expected, limit = Reference(subject, TINY, "float32").results()
            implementation = peer.build(subject, draw(subject, TINY, "float32"))
            errors = of_implementation(implementation, expected)
            assert max(errors.values()) <= limit, (name, errors)
            assert INFERENCE in implementation
    assert offered == OFFERED[peer.key]


OTHER_LSTM = """
from lstmgen.api import cell, tanh

@cell("lstm")
def lstm(eq):
    x, h_prev = eq.input("x"), eq.state("h")
    eq.output(eq.next("h", tanh(eq.affine("h", W=x, U=h_prev))))
"""


def test_a_users_cell_of_the_same_name_is_another_cell(folder: Path) -> None:
    (folder / "mine.py").write_text(OTHER_LSTM, encoding="utf-8")
    mine, built_in = (prepare(find_cell(origin), {}).subject for origin in ("mine.py", "lstm"))
    assert built_in.published and not mine.published
    theirs = [row for row in contenders(mine, (), "float32") if row.key in OFFERED]
    assert len(theirs) == 4 and all(row.build is None and row.why == "has no lstm" for row in theirs)


def test_a_subject_travels_without_symbols() -> None:
    assert b"sympy" not in pickle.dumps(prepare(find_cell("mlstm"), {}).subject)


# -- sizes, schedules, memory -----------------------------------------------------------------------------------------


def test_every_dimension_gets_a_size() -> None:
    dimensions = Dimensions(("features", "heads", "value", "key"), (("memory", 6),), (("hidden", ("heads", "value")),))
    sizes = dimensions.sizes(Shape(1, 1, 3, 40), {"value": 7})
    assert sizes == {"features": 3, "heads": 4, "value": 7, "key": 10, "memory": 6, "hidden": 28}


@dataclass(frozen=True)
class Few:
    """A target with few decisions, not all of which it takes."""

    name: str = "few"
    stacks_products: bool = True
    merges_calls: bool = False
    batch_last: bool = True
    folds: tuple[str, ...] = ("sigmoid",)
    chunk_rows: int = 512


def test_ablation_changes_one_decision_at_a_time_and_only_those_that_exist() -> None:
    target: Any = Few()
    made: dict[str, Any] = dict(ablation.variants(target))
    assert made.pop("none of these decisions") == Few("few", False, False, True, (), ablation.WITHOUT_END)
    assert list(made) == [
        "without products that share an operand as one",
        "with equal work on neighbours as one call",
        "without the batch as the last axis",
        "without scales folded into the weights",
        "chunks of 128 rows",
        "chunks of 2048 rows",
        "all steps as one chunk",
    ]
    for name, each in made.items():
        changed = [field.name for field in fields(target) if getattr(each, field.name) != getattr(target, field.name)]
        assert len(changed) == 1, name


def test_variants_are_modules_that_differ() -> None:
    variants = prepare(find_cell("lstm"), {}, ablate=True).variants
    assert "without products that share an operand as one" in variants
    assert len(set(variants.values())) == len(variants)


@pytest.mark.skipif(sys.platform != "linux", reason="what other systems tell is coarser")
def test_the_peak_is_what_one_call_adds(here: Setting) -> None:
    subject = prepare(find_cell("rnn"), {}).subject
    arguments = (allocating, subject, TINY, "float32")
    with Worker(here, memory.Peak, *arguments, extra=memory.ALLOCATOR) as worker:
        grown = worker.call("growth")
    assert 62 << 20 < grown < 72 << 20
    with Worker(here, memory.Saved, subject, TINY, "float32") as worker:
        assert worker.call("bytes", generated.SAVE) > 6 * 2 * 4 * 4


# -- processes and turns ----------------------------------------------------------------------------------------------


def test_a_worker_answers_fails_and_dies(here: Setting) -> None:
    with Worker(setting(1, core_type="Haswell"), Echo, "hear") as worker:
        assert worker.call("say", "this") == "hear this Haswell"
        if here.cores:
            assert worker.call("cores") == list(here.cores)
        with pytest.raises(WorkerError, match=r"^ValueError: not today$") as caught:
            worker.call("fail")
        assert "in fail" in caught.value.details
        with pytest.raises(WorkerError, match=r"^the process was ended with 3$") as caught:
            worker.call("die")
        assert "last words" in caught.value.details
    with pytest.raises(WorkerError, match="TypeError"):
        Worker(here, Echo)


def test_the_kernels_are_the_cpus_own_unless_asked_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "512")
    plain, kept, chosen = setting(2), setting(2, keep_blas=True), setting(2, core_type="Haswell")
    assert "OPENBLAS_CORETYPE" not in plain.environment and "OPENBLAS_L2_SIZE" not in plain.environment
    assert kept.environment["OPENBLAS_CORETYPE"] == "Nehalem"
    assert chosen.environment["OPENBLAS_CORETYPE"] == "Haswell" and "OPENBLAS_L2_SIZE" not in chosen.environment
    assert {name: plain.environment[f"{name}_NUM_THREADS"] for name in ("OPENBLAS", "OMP", "MKL")} == dict.fromkeys(
        ("OPENBLAS", "OMP", "MKL"), "2"
    )
    assert os.environ["OPENBLAS_CORETYPE"] == "Nehalem"


def test_a_worker_gets_its_cores_before_anything_that_starts_threads(shell: Shell) -> None:
    code = "import sys, lstmgen.bench.worker; print({'numpy', 'sympy', 'click', 'lstmgen.cli'} & set(sys.modules))"
    assert shell("-c", code).stdout == "set()\n"


class Scripted:
    """Stands in for a worker: notes its turns, and takes a little longer each time."""

    def __init__(self, name: str, log: list[str], ms: float) -> None:
        self.name, self.log, self.ms = name, log, ms

    def call(self, method: str, measure: str, least: float) -> Turn:
        self.log.append(self.name)
        self.ms *= 2
        return Turn(self.ms, 1.0, 0.25)


def test_the_order_turns_round_and_ratios_are_those_of_rounds() -> None:
    log: list[str] = []
    workers: Any = {name: Scripted(name, log, ms) for name, ms in (("a", 2.0), ("b", 1.0), ("c", 1.0))}
    offers = {"a": [FORWARD], "b": [FORWARD], "c": []}
    times = take_turns(workers, offers, (FORWARD,), Pace(rounds=3, least=0.1))
    assert log == ["a", "b", "b", "a", "a", "b"]
    assert times.ms == {FORWARD: {"a": [4.0, 8.0, 16.0], "b": [2.0, 4.0, 8.0]}}
    assert (times.median(FORWARD, "a"), times.ratio(FORWARD, "a", "b"), times.others) == (8.0, 2.0, 0.25)
    assert times.median(FORWARD, "c") is times.ratio(FORWARD, "a", "c") is times.median(TRAINING, "a") is None


# -- what is printed, drawn and written -------------------------------------------------------------------------------

HEADER = Header(
    cell="lstm",
    options={"peephole": True},
    digest="0123456789abcdef",
    version="0.1.0",
    dtype="float32",
    threads=1,
    cores=(1,),
    rounds=2,
    processor="A processor",
    count=2,
    blas="openblas 0.3, SkylakeX kernels",
    environment={"OMP_NUM_THREADS": "1"},
    versions={"python": "3.11", "numpy": "2.0"},
    floor=("forward:", "  [U] @ [h]"),
    calls={"forward": 10, "infer": 8, "backward": 15},
)
ROWS = (
    Row(OURS, "ours"),
    Row("torch", "torch.nn.LSTM"),
    Row("jax", "jax", "jax not installed"),
    Row(FLOOR, "products"),
)


def results(**changes: Any) -> Results:
    """Two shapes: one measured, one left out."""
    ms = {
        FORWARD: {OURS: [2.0, 3.0], "torch": [4.0, 4.0], FLOOR: [1.0, 1.0]},
        INFERENCE: {OURS: [1.0, 1.0], FLOOR: [2.0, 2.0]},
        TRAINING: {OURS: [30.0, 50.0], "torch": [20.0, 20.0], FLOOR: [10.0, 10.0]},
    }
    found = AtShape(
        Shape(100, 2, 3, 5),
        {"steps": 100, "batch": 2, "features": 3, "hidden": 5, "key": 4},
        Times(ms, 0.25),
        {OURS: 1e-6, "torch": 2e-6},
        2e-5,
        operations={TRAINING: 10**9},
        memory={OURS: Memory(64 << 20, 3 << 20), "torch": Memory(20 << 10)},
        ablation=Times({TRAINING: {OURS: [30.0, 30.0], "without stacks": [33.0, 36.0]}}, None),
    )
    skipped = AtShape(Shape(500, 2, 3, 5), {"steps": 500, "batch": 2, "features": 3}, skipped="it is too large")
    return replace(Results(HEADER, ROWS, (found, skipped)), **changes)


def test_the_report_says_everything_in_columns() -> None:
    text = report.whole(results())
    lines = text.splitlines()
    assert max(map(len, lines)) <= 125
    assert lines[0] == "cell          lstm --set peephole=true, float32; digest 0123456789abcdef, lstmgen 0.1.0"
    assert "threads       1, pinned to 1" in lines and "  jax: jax not installed" in lines
    assert "100 steps, batch 2, features 3, hidden 5, key 4" in lines
    (ours,) = (line.split() for line in lines if line.startswith("ours "))
    assert ours == ["ours", "2.50", "2.50", "0.62", "1.00", "0.50", "—", "40.0", "4.00", "2.00", "64", "3.0"]
    (jax,) = (line.split() for line in lines if line.startswith("jax  "))
    assert jax == ["jax", *["—"] * 11]
    assert any(line.startswith("torch.nn.LSTM ") and line.endswith("<0.1      —") for line in lines)
    assert "  floor        100 GFLOP/s in forward+backward" in lines
    assert "  DISTURBED    other programs took 25% of the cores' time: do not quote this" in lines
    assert "  without stacks                       34.5  +15 %" in lines
    assert "  left out: it is too large" in lines
    (last,) = (line.split() for line in lines if line.startswith("100,2,3,5"))
    assert last[-3:] == ["2500", "1250", "16000"]


def test_a_limit_is_kept_or_exceeded() -> None:
    kept, exceeded = results(limit=4.0), results(limit=3.9)
    assert report.summary(kept).endswith("forward+backward within 4.00 times the floor: kept")
    assert report.summary(exceeded).endswith("within 3.90 times the floor: exceeded at 100,2,3,5")
    assert report.failures(kept) == [] and report.failures(exceeded) == ["100,2,3,5: limit exceeded"]


def test_the_record_holds_every_round_and_no_number_that_json_lacks() -> None:
    found = results()
    wrong = replace(found.shapes[0], wrong={"jax": {"d_x": float("inf")}})
    data = json.loads(record.as_json(replace(found, shapes=(wrong,))))
    (shape,) = data["shapes"]
    assert data["format"] == record.FORMAT and data["header"]["cores"] == [1]
    assert shape["times"]["ms"][TRAINING][OURS] == [30.0, 50.0]
    assert shape["median_ms"][TRAINING][OURS] == 40.0 and shape["ratio_to_torch"][FORWARD]["jax"] is None
    assert shape["memory"][OURS] == {"peak": 64 << 20, "saved": 3 << 20}
    assert shape["wrong"] == {"jax": {"d_x": "inf"}}


@pytest.mark.parametrize("suffix", chart.SUFFIXES)
def test_the_plot_is_drawn_and_names_everybody(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    place = tmp_path / f"new/plot{suffix}"
    chart.draw(results(), place)
    assert place.stat().st_size > 1000
    if suffix == ".svg":
        text = place.read_text(encoding="utf-8")
        assert all(name in text for name in ("torch.nn.LSTM", "ours", "inference", "floor 10 ms", "SkylakeX"))
        chart.draw(results(), tmp_path / "again.svg")
        assert (tmp_path / "again.svg").read_text(encoding="utf-8") == text


# -- the command ------------------------------------------------------------------------------------------------------

SMALL = ("--quick", "--rounds", "1", "--shape", "5,2,2,3", "--against", "nobody")


def test_the_command_measures_and_writes_what_was_asked_for(run: Run, folder: Path) -> None:
    result = run("bench", "rnn", *SMALL, "--json", "deep/all.json", "--out", "results")
    assert result.exit_code == 0, result.output
    assert "5 steps, batch 2, features 2, hidden 3" in result.output
    assert "torch" not in result.output.partition("lstmgen, with a workspace")[2].replace("/torch", "")
    data = json.loads((folder / "deep/all.json").read_text(encoding="utf-8"))
    times = data["shapes"][0]["times"]["ms"]
    assert all(len(times[measure][key]) == 1 for measure in MEASURES for key in (OURS, "no workspace", FLOOR))
    written = {"rnn_numpy.txt"} | ({"rnn_numpy.svg"} if chart.possible() else set())
    assert {each.name for each in (folder / "results").iterdir()} == written
    assert (folder / "results/rnn_numpy.txt").read_text(encoding="utf-8").splitlines()[0] in result.output


def test_a_limit_that_is_exceeded_ends_with_1_when_all_is_written(run: Run) -> None:
    result = run("bench", "rnn", *SMALL, "--limit", "0.001", "--ablation", "--out")
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, "error: 5,2,2,3: limit exceeded")
    assert "wrote benchmarks/results/rnn_numpy.json" in result.output


def test_without_measuring_it_explains(run: Run, folder: Path) -> None:
    result = run("bench", "--explain", "--shape", "7,2,2,3")
    assert result.exit_code == 0
    assert "  [U_f, U_i, U_g, U_o] @ [h_prev]: (4 hidden, hidden) @ (hidden, batch), at every step" in result.output
    assert "7,2,2,3" in result.output and "NumPy as in tutorials" in result.output


MISTAKES = {
    "too few sizes": ("bench rnn --shape 1,2,3", "LG601", "--shape cannot be '1,2,3'"),
    "no numbers": ("bench rnn --shape a,b,c,d", "LG601", "--shape cannot be 'a,b,c,d'"),
    "nothing of something": ("bench rnn --shape 1,2,0,4", "LG601", "--shape cannot be '1,2,0,4'"),
    "a size without a name": ("bench rnn --size 64", "LG601", "--size cannot be '64'"),
    "an unknown peer": ("bench rnn --against tensorflow", "LG602", "there are: torch, onnxruntime, jax, tutorial"),
    "a misspelt peer": ("bench rnn --against onnxruntim", "LG602", "did you mean 'onnxruntime'?"),
    "a dimension that is not there": ("bench rnn --size key=3", "LG603", "no dimension 'key'"),
    "a dimension made of others": ("bench mlstm --set heads=true --size hidden=8", "LG603", "choose heads and value"),
    "a dimension that a constant fixes": ("bench lmu --size memory=3", "LG603", "by a constant"),
    "two masters": ("bench rnn --keep-blas-env --coretype Haswell", "LG604", "give one of them"),
    "a plot in no format": ("bench rnn --plot rnn.bmp", "LG605", "its name ends in .svg, .png, .pdf"),
    "an unknown cell": ("bench lstn", "LG201", "did you mean 'lstm'?"),
    "an unknown option": ("bench lstm --set peephol=true", "LG113", "did you mean 'peephole'?"),
    "no threads": ("bench rnn --threads 0", "--threads", "is not in the range"),
}


@pytest.mark.parametrize(("arguments", "code", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_users_mistake_is_told_before_anything_is_measured(
    arguments: str, code: str, words: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing may start a worker
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert code in result.output and words in result.output and "Traceback" not in result.output


def test_a_plot_without_matplotlib_is_a_mistake(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chart, "possible", lambda: False)
    result = run("bench", "rnn", "--plot", "rnn.svg")
    assert result.exit_code == 2
    assert "LG605" in result.output and "lstmgen[bench]" in result.output


def test_kernels_that_are_wrong_end_the_command_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from lstmgen.bench import command

    monkeypatch.setattr(command, "prepare", lambda *args, **more: sabotaged(prepare(*args, **more)))
    result = run("bench", "rnn", *SMALL)
    assert result.exit_code == 1
    assert result.output.startswith("error: rnn_numpy does not compute the equations: d_")


def arrays_of(timed: Timed) -> Arrays:
    assert timed.arrays is not None
    return timed.arrays(timed.call())


def test_generated_kernels_give_the_same_whatever_the_measure() -> None:
    subject = prepare(find_cell("scrn"), {}).subject
    implementation = generated.build(subject, draw(subject, TINY, "float64"))
    found = {measure: arrays_of(timed) for measure, timed in implementation.items()}
    assert found[FORWARD].keys() == found[INFERENCE].keys() < found[TRAINING].keys()
    for name, array in found[INFERENCE].items():
        np.testing.assert_allclose(array, found[FORWARD][name], atol=1e-12)
        np.testing.assert_allclose(array, found[TRAINING][name], atol=1e-12)
