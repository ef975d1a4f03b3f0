"""`benchmarks/gpu.py` without a GPU: plan, a run at tiny sizes, budget, and what is printed and written."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstmgen import finding, pipeline
from lstmgen.backends.cupy import backend, host
from lstmgen.backends.cupy.module import has_device
from lstmgen.bench import generated
from lstmgen.bench.floor import When
from lstmgen.bench.gpu import accuracy, command, measuring, ours, plan, report, torch_peers
from lstmgen.bench.gpu.crew import NO_TIME, Budget, Crew, TooLong
from lstmgen.bench.gpu.places import WallClock
from lstmgen.bench.gpu.plan import OURS, PLAIN, Case, cudnn_algorithm
from lstmgen.bench.gpu.results import AtCase, Checked, Measured, Results, Spread, as_json, spread
from lstmgen.bench.gpu.station import Pace, Station, in_dtype, timed
from lstmgen.bench.implementation import FORWARD, TRAINING, Timed
from lstmgen.bench.pool import WorkerError
from lstmgen.bench.preparation import prepare
from lstmgen.bench.problem import draw
from lstmgen.bench.shapes import Shape

on_host = pytest.mark.skipif(not host.available(), reason="no C++ compiler that makes kernels for this host")
SHAPE = Shape(steps=6, batch=2, features=4, hidden=4)
SMALL = Shape(steps=5, batch=3, features=4, hidden=6)


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(has_device(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "no GPU" in said.err and "Nothing was measured" in said.err
    assert not said.out and not list(tmp_path.iterdir())


def test_the_plan_needs_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--plan"]) == 0
    said = capsys.readouterr().out
    for batch, hidden in ((1, 512), (16, 512), (16, 768), (32, 1024), (64, 1024), (64, 512), (128, 2048)):
        for cell in ("lstm", "gru"):
            assert f"  {cell}: 512 steps, batch {batch}, features {hidden}, hidden {hidden}\n" in said
    for cell in ("lstm_layernorm", "lstm (peephole=True)", "sru", "indrnn", "mlstm"):
        assert f"  {cell}: 512 steps" in said
    for each in plan.CONTENDERS:
        (line,) = [line for line in said.splitlines() if line.startswith(f"  {each.key} ") and each.title in line]
        assert ("not installed: a dash" in line) == each.missing


def test_every_cell_without_cudnn_stands_beside_an_lstm_of_its_size() -> None:
    cases = plan.cases()
    assert len(set(map(str, cases))) == len(cases)
    sizes = {case.shape for case in cases if case.title == "lstm"}
    assert all(case.shape in sizes for case in cases)
    assert {each.key for each in plan.contenders(Case("sru", SHAPE))} == {OURS, PLAIN}


@on_host
def test_the_program_runs_on_the_host(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["--host", "--cell", "lstm"]) == 0
    said = capsys.readouterr().out
    assert "no GPU took part" in said
    assert "a kernel in a graph" in said
    assert "2 checks: all passed" in said
    assert "lstm: 6 steps, batch 2, features 4, hidden 4" in said
    if find_spec("torch") is None:
        assert "torch.nn, float32: torch is not installed" in said
    assert not list(tmp_path.iterdir())


@on_host
def test_what_there_is_no_time_for_is_said() -> None:
    said: list[str] = []
    began = time.monotonic()  # CuPy's process cannot even say what there is
    with pytest.raises(TooLong, match=NO_TIME):
        command.run(command.Request(seconds=-1.0, host=True, out=None, cells=("lstm",)), said.append, lambda text: None)
    assert time.monotonic() - began < 30
    with Crew(Budget(60.0), host=True) as crew:
        budget = Budget(5.0)
        bench = measuring.Bench(crew, budget, True, Pace(1, 0.0, 1, 1), lambda text: None)
        found = list(measuring.check(bench, ("lstm", "gru"), SHAPE, until=0.0))
        assert found == ["lstm", "gru"]
        results = command._with_cases(
            replace(bench, budget=Budget(-1.0)), command.Request(host=True), Results({}), said.append
        )
    assert [each.endswith(f": {NO_TIME}") for each in results.left_out] == [True] * len(plan.tiny_cases())
    assert f"lstm: 6 steps, batch 2, features 4, hidden 4: {NO_TIME}" in report.left_out(results)


# -- processes ---------------------------------------------------------------------------------------------------------


@on_host
def test_a_process_that_takes_too_long_is_ended_and_another_started() -> None:
    with Crew(Budget(60.0), host=True) as crew:
        assert "stand-in" in crew.ask("cupy", "cupy", 30.0, "facts")["kernels"]
        with pytest.raises(TooLong, match="not done within 0 s"):
            crew.ask("cupy", "cupy", 0.0, "constants")
        assert "stand-in" in crew.ask("cupy", "cupy", 30.0, "facts")["kernels"]
        with pytest.raises(WorkerError, match="was ended since"):
            crew.ask("cupy", "cupy", 30.0, "turn", "lstm", FORWARD, Pace())
        assert crew.ask("cupy", "cupy", 30.0, "told") == ()
        crew.drop("cupy", "nothing of this name")
        crew.retire("cupy")


@on_host
def test_who_is_wrong_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = tuple(replace(each, limit=0.0) if each.key == PLAIN else each for each in plan.CONTENDERS[:2])
    monkeypatch.setattr(plan, "CONTENDERS", strict)
    with Crew(Budget(120.0), host=True) as crew:
        bench = measuring.Bench(crew, Budget(120.0), True, Pace(2, 0.0, 1, 2), lambda text: None)
        found = measuring.measure(bench, Case("indrnn", SHAPE))
    good, bad = found.rows
    assert not good.why and not good.wrong and set(good.times) >= {FORWARD, TRAINING, ours.INPUT_FORWARD}
    assert good.error is not None and good.error < 1e-5
    assert bad.wrong and not bad.times and bad.why.startswith("wrong, so not timed: ")
    (failure,) = Results({}, cases=(found,)).failures()
    assert "lstmgen, without" in failure and "wrong" in failure


@on_host
def test_a_module_of_ours_that_fails_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "tiny_cases", lambda: (Case("indrnn", SHAPE), Case("rnn", replace(SHAPE, steps=-1))))
    with Crew(Budget(60.0), host=True) as crew:
        bench = measuring.Bench(crew, Budget(60.0), True, Pace(1, 0.0, 1, 1), lambda text: None)
        found = command._with_cases(bench, command.Request(host=True), Results({}), lambda text: None)
    good, bad = found.cases
    assert set(good.rows[0].times) >= {FORWARD, TRAINING}
    (failure,) = found.failures()
    assert failure.startswith(f"{bad.case}: lstmgen, in float64: ValueError")


# -- times -------------------------------------------------------------------------------------------------------------


class Steps(WallClock):
    """Each mark is one later."""

    def __init__(self) -> None:
        self.marks = self.waits = 0

    def mark(self) -> float:
        self.marks += 1
        return 1e-6 * self.marks

    def wait(self) -> None:
        self.waits += 1


def test_calls_are_timed_in_one_row() -> None:
    calls, clock = [], Steps()
    turn = timed(clock, lambda: calls.append(clock.marks), Pace(seconds=0.0, least=4, most=9))
    assert len(turn.device) == len(turn.host) == 4
    np.testing.assert_allclose(turn.device, 1.0)
    assert clock.waits == 3  # to know how many to make, and at the end
    assert calls == [0] * 4 + [1, 2, 3, 4]


def test_what_the_runtime_warns_of_is_kept() -> None:
    station = Station("cupy", host=True)
    logging.getLogger("lstmgen.cupy").warning("steps run %s", "one by one")
    assert station.told() == ("steps run one by one",)
    assert station.told() == ()
    logging.getLogger("lstmgen.cupy").handlers.pop()
    found = replace(results().cases[0], told=("steps run one by one",))
    assert "the runtime warns: steps run one by one" in report.at_case(found)


def test_a_turn_takes_about_as_long_as_it_should() -> None:
    turn = timed(WallClock(), lambda: time.sleep(0.002), Pace(seconds=0.02, least=1, most=100))
    assert 3 <= len(turn.device) <= 10
    assert min(turn.device) >= 2000


def test_quantiles() -> None:
    found = spread([float(each) for each in range(11)], [1.0, 3.0])
    assert (found.median, found.p10, found.p90, found.host, found.calls) == (5.0, 1.0, 9.0, 2.0, 11)
    assert spread([2.0], [1.0]).p90 == 2.0


@pytest.mark.parametrize(
    ("cell", "batch", "hidden", "dtype", "expected"),
    [
        ("lstm", 16, 512, "float16", "PERSIST_STATIC"),
        ("lstm", 16, 512, "float32", "STANDARD"),
        ("lstm", 1, 512, "float16", "STANDARD"),
        ("lstm", 128, 2048, "float16", "STANDARD"),
        ("gru", 16, 512, "float16", "STANDARD"),
        ("gru", 16, 128, "float32", "PERSIST_STATIC_SMALL_H"),
    ],
)
def test_the_rule_by_which_pytorch_chooses(cell: str, batch: int, hidden: int, dtype: str, expected: str) -> None:
    assert cudnn_algorithm(Case(cell, Shape(512, batch, hidden, hidden)), dtype) == expected


# -- deviations --------------------------------------------------------------------------------------------------------


def test_deviations_are_by_the_largest_entry_of_their_kind() -> None:
    expected = {"output h": np.array([0.0, 2.0]), "d_W": np.array([10.0]), "d_b": np.array([1.0])}
    found = {name: array + 0.1 for name, array in expected.items()}
    error, tensor = accuracy.worst(found, expected)
    assert (tensor, error) == ("output h", pytest.approx(0.05))
    found["d_b"] = np.array([2.0])
    assert accuracy.worst(found, expected) == (pytest.approx(0.1), "d_b")
    for wrong in ({"d_b": np.array([np.nan])}, {"d_b": np.zeros((1, 1))}):
        assert accuracy.worst(found | wrong, expected) == (math.inf, "d_b")
    del found["d_W"]
    assert accuracy.worst(found, expected) == (math.inf, "d_W")


@on_host
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["gru", "sru"])
def test_modules_on_the_host_agree_with_the_equations(name: str, dtype: str) -> None:
    cell = finding.find_cell(name)
    prepared = prepare(cell, {})
    wanted = accuracy.wanted(prepared, SMALL)
    source = pipeline.compile_cell(cell, backend, {}).source
    for reuse in (True, False):
        built = ours.build(prepared.subject, in_dtype(wanted.problem, dtype), source=source, host=True, reuse=reuse)
        for run in accuracy.results(built):
            assert accuracy.worst(run, wanted.arrays)[0] <= wanted.limits[dtype]
        for measure in ours.INPUT_PRODUCT.values():
            built[measure].call()


def test_the_product_of_the_inputs_is_that_of_the_floor() -> None:
    subject = prepare(finding.find_cell("lstm"), {}).subject
    problem = draw(subject, SMALL, "float32")
    called: list[tuple[tuple[int, ...], ...]] = []
    found = ours.input_products(
        subject, problem, lambda *shape: np.zeros(shape), lambda a, b, c: called.append((a.shape, b.shape, c.shape))
    )
    rows = SMALL.steps * SMALL.batch
    found[ours.INPUT_FORWARD].call()
    assert called == [((rows, 4), (4, 24), (rows, 24))]
    called.clear()
    found[ours.INPUT_TRAINING].call()
    assert called == [
        ((rows, 4), (4, 24), (rows, 24)),
        ((rows, 24), (24, 4), (rows, 4)),
        ((24, rows), (rows, 4), (24, 4)),
    ]
    assert sum(each.when is When.ALL_STEPS for each in subject.floor.forward) == 1


# -- PyTorch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lstm", "gru", "lstm_layernorm"])
def test_loops_in_pytorch_compute_the_equations(name: str) -> None:
    pytest.importorskip("torch")
    prepared = prepare(finding.find_cell(name), {})
    wanted = accuracy.wanted(prepared, SMALL)
    built = torch_peers.loop(prepared.subject, wanted.problem, host=True, way=torch_peers.EAGER)
    for run in accuracy.results(built):
        assert accuracy.worst(run, wanted.arrays)[0] < 1e-10
    assert built[FORWARD].arrays is not None
    assert set(built[FORWARD].arrays(built[FORWARD].call())) == {k for k in wanted.arrays if not k.startswith("d_")}


@pytest.mark.parametrize(("dtype", "limit"), [("", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_modules_of_pytorch_compute_the_equations(
    name: str, dtype: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    prepared = prepare(finding.find_cell(name), {})
    wanted = accuracy.wanted(prepared, SMALL)
    built = torch_peers.cudnn(prepared.subject, wanted.problem, host=True, dtype=dtype)
    for run in accuracy.results(built):
        assert accuracy.worst(run, wanted.arrays)[0] < limit
    for measure in ours.INPUT_PRODUCT.values():
        built[measure].call()


# -- what is printed and written ---------------------------------------------------------------------------------------


def results() -> Results:
    """Made up."""
    times = {FORWARD: Spread(60.0, 54.0, 66.0, 6.0, 9), TRAINING: Spread(180.0, 174.0, 240.0, 18.0, 9)}
    products = {
        ours.INPUT_FORWARD: Spread(12.0, 12.0, 12.0, 1.0, 9),
        ours.INPUT_TRAINING: Spread(36.0, 36.0, 36.0, 3.0, 9),
    }
    slower = {measure: replace(each, median=2 * each.median) for measure, each in times.items()}
    rows = (
        Measured(OURS, "lstmgen, with a workspace", times | products, 1e-7),
        Measured("torch", "torch.nn, float32", slower, 2e-7, note="STANDARD"),
        Measured("jax", "jax.lax.scan, jit", why="jax is not installed"),
    )
    faster = {measure: replace(each, median=each.median / 4) for measure, each in times.items()}
    others = (Measured(OURS, "lstmgen, with a workspace", faster, 1e-7),)
    return Results(
        {"GPU": "made up", "CuPy": "0"},
        {"a kernel in a graph": (1.25, "us")},
        (Checked("lstm", "float32", 1e-7, "d_W", 1e-5), Checked("lstm", "float64", 1e-3, "d_b", 1e-10)),
        (AtCase(Case("lstm", SHAPE), rows, "SM 1980 MHz"), AtCase(Case("sru", SHAPE), others)),
        ("gru: no time",),
        12.0,
    )


def test_the_report() -> None:
    text = report.whole(results())
    lines = {line.strip().split("  ")[0]: line for line in text.splitlines()}
    assert "1.250 us" in lines["a kernel in a graph"]
    assert "2 checks: 1 FAILED" in text and "1.0e-03 WRONG" in lines["lstm"]
    mine = lines["torch.nn, float32"]
    assert "20.0" in mine and "(9.00–11.0)" in mine and "2.00" in mine and "2e-07" in mine
    assert "jax.lax.scan, jit: jax is not installed" in text
    assert "torch.nn, float32 STANDARD" in text and "SM 1980 MHz" in text
    (at,) = [number for number, line in enumerate(text.splitlines()) if line.startswith("lstm: 6 steps")]
    table = text.splitlines()[at + 1 : at + 5]
    assert table[1].split() == [
        *("lstmgen,", "with", "a", "workspace"),
        *("10.0", "(9.00–11.0)", "8.00", "1.00", "1.00"),
        *("30.0", "(29.0–40.0)", "24.0", "3.00", "1.00", "1e-07"),
    ]  # fmt: skip
    assert table[3].count(report.NOTHING) == 11
    assert lines["sru"].split()[3:] == ["0.25", "0.12", "0.25", "0.12"]
    assert text.endswith("Left out:\n  gru: no time\n")
    assert results().failures() == ["lstm in float64: d_b is off by 1.0e-03"]


def test_json_holds_everything() -> None:
    data = json.loads(as_json(replace(results(), constants={"endless": (math.inf, "us")})))
    assert data["format"] == 1
    assert data["constants"] == {"endless": ["inf", "us"]}
    row = data["cases"][0]["rows"][0]
    assert row["times"][TRAINING] == {"median": 180.0, "p10": 174.0, "p90": 240.0, "host": 18.0, "calls": 9}
    assert data["cases"][0]["case"]["shape"]["hidden"] == 4


def test_the_plot_is_always_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    first, second = (command.write(results(), tmp_path / name) for name in ("first", "second"))
    assert [each.name for each in first] == ["gpu.json", "gpu.txt", "gpu.svg"]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    text = first[-1].read_text(encoding="utf-8")
    assert "torch.nn, float32" in text and "lstm, forward" in text and "made up" in text
    command.write(Results({}), tmp_path / "nothing")


def test_generated_modules_are_loaded_as_asked() -> None:
    subject = prepare(finding.find_cell("rnn"), {}).subject
    loaded: list[str] = []

    def load(source: str) -> Any:
        loaded.append(source)
        return generated.load(source)

    make: Callable[..., dict[str, Timed]] = partial(generated.build, loaded=load)  # type: ignore[arg-type]
    make(subject, draw(subject, SMALL, "float32"))[FORWARD].call()
    assert loaded == [subject.source]
