"""Checks every cell, and measures one case after another, as long as there is time."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lstmgen import finding, pipeline, plugins
from lstmgen.bench.gpu import accuracy, ours
from lstmgen.bench.gpu.crew import NO_TIME, Budget, Crew, TooLong
from lstmgen.bench.gpu.plan import Case, Contender, contenders, cudnn_algorithm
from lstmgen.bench.gpu.results import AtCase, Checked, Measured, Spread, spread
from lstmgen.bench.gpu.station import Build, Pace, Turn
from lstmgen.bench.implementation import Arrays
from lstmgen.bench.pool import WorkerError
from lstmgen.bench.preparation import Prepared, prepare
from lstmgen.bench.shapes import Shape

Tell = Callable[[str], None]

SMALL = 1 << 20
"""Tensors with more entries are not compared at a case: all of them are where cells are checked."""

REFERENCE = "reference"
"""Our module in float64, which says what results should be at a case."""


@dataclass(frozen=True)
class Bench:
    """What all measurements share. ``prepared`` keeps cells that were compiled before, ``given_up`` the contenders that
    took too long to be built."""

    crew: Crew
    budget: Budget
    host: bool
    pace: Pace
    tell: Tell
    prepared: dict[tuple[str, str], tuple[Prepared, str]] = field(default_factory=dict)
    given_up: set[str] = field(default_factory=set)

    def cell(self, name: str, options: Mapping[str, object]) -> tuple[Prepared, str]:
        """A cell, compiled, and the source of its CuPy module."""
        key = name, repr(options)
        if key not in self.prepared:
            cell = finding.find_cell(name)
            source = pipeline.compile_cell(cell, finding.find_backend("cupy"), options).source
            self.prepared[key] = prepare(cell, options), source
        return self.prepared[key]

    def ask_ours(self, method: str, *arguments: object) -> Any:
        """Asks CuPy's process."""
        return self.crew.ask("cupy", "cupy", 120.0, method, *arguments)


# -- every cell against its equations ----------------------------------------------------------------------------------


def built_in_cells() -> tuple[str, ...]:
    """The names of all cells that lstmgen has."""
    return tuple(each.name for each in plugins.available("cells") if each.target.startswith("lstmgen.cells."))


def check(bench: Bench, cells: Iterable[str], shape: Shape, until: float) -> Iterator[Checked | str]:
    """Every cell in both dtypes, or the name of one that there was no time for; ``until`` is of the seconds spent."""
    for name in cells:
        if bench.budget.spent > until:
            yield name
            continue
        bench.tell(f"checking {name}")
        prepared, source = bench.cell(name, {})
        wanted = accuracy.wanted(prepared, shape)
        build = partial(ours.build, source=source, host=bench.host)
        for dtype, limit in wanted.limits.items():
            try:
                bench.ask_ours("build", name, build, prepared.subject, shape, dtype)
                error, tensor = bench.ask_ours("deviation", name, wanted.arrays)
                yield Checked(name, dtype, error, tensor, limit)
            except WorkerError as failure:
                yield Checked(name, dtype, float("inf"), "", limit, first_line(failure))
                bench.crew.retire("cupy")
            bench.crew.drop("cupy", name)


# -- one case ----------------------------------------------------------------------------------------------------------


def measure(bench: Bench, case: Case) -> AtCase:
    """Every contender of a case: built, held against float64, and timed in turns with the others."""
    began = time.monotonic()
    prepared, source = bench.cell(case.cell, case.options)
    expected = _expected(bench, case, prepared, source)
    rows: dict[str, Measured] = {}
    measures: dict[str, tuple[str, ...]] = {}
    taking_part = contenders(case)
    for each in taking_part:
        rows[each.key] = Measured(each.key, each.title, note="" if bench.host else _note(case, each))
        if each.missing and not (bench.host and each.library == "cupy"):
            rows[each.key] = replace(rows[each.key], why=f"{each.library} is not installed")
            continue
        if each.key in bench.given_up:
            rows[each.key] = replace(rows[each.key], why="took too long to be built before")
            continue
        bench.tell(f"{case}: building {each.key}")
        try:
            build = _build(each, source, bench.host)
            ask = partial(bench.crew.ask, each.process, each.library, each.seconds)
            offered = ask("build", each.key, build, prepared.subject, case.shape, "float32")
            error, tensor = ask("deviation", each.key, expected)
        except WorkerError as failure:
            rows[each.key] = replace(rows[each.key], why=first_line(failure))
            if isinstance(failure, TooLong):
                bench.given_up.add(each.key)
            continue
        wrong = not error <= each.limit
        why = f"wrong, so not timed: {tensor} is off by {error:.1e}" if wrong else ""
        rows[each.key] = replace(rows[each.key], error=error, why=why, wrong=wrong)
        if not wrong:
            measures[each.key] = offered
    for key, (times, why) in _times(bench, case, taking_part, measures).items():
        rows[key] = replace(rows[key], times=times, why=why)
    told: tuple[str, ...] = ()
    with suppress(WorkerError):
        told = bench.ask_ours("told")
    for each in taking_part:
        bench.crew.drop(each.process, each.key)
    failed = {each.process for each in taking_part if rows[each.key].why and not rows[each.key].wrong}
    for process in sorted(failed):
        bench.crew.retire(process)
    return AtCase(case, tuple(rows.values()), clocks(bench.host), time.monotonic() - began, told)


def _expected(bench: Bench, case: Case, prepared: Prepared, source: str) -> Arrays:
    """What results should be: small tensors, by our module in float64."""
    bench.tell(f"{case}: computing in float64")
    build = partial(ours.build, source=source, host=bench.host)
    bench.ask_ours("build", REFERENCE, build, prepared.subject, case.shape, "float64")
    found: Arrays = bench.ask_ours("results", REFERENCE, SMALL)
    bench.crew.drop("cupy", REFERENCE)
    return found


def _build(contender: Contender, source: str, host: bool) -> Build:
    if contender.process == "cupy":
        return partial(contender.build, source=source, host=host)
    return partial(contender.build, host=host)


def _note(case: Case, contender: Contender) -> str:
    """What PyTorch asks cuDNN for."""
    if not contender.key.startswith("torch"):
        return ""
    return cudnn_algorithm(case, "float16" if contender.key.endswith("fp16") else "float32")


def _times(
    bench: Bench, case: Case, taking_part: Iterable[Contender], measures: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[dict[str, Spread], str]]:
    """Times by contender, or why there are none. In every other round the order is turned round."""
    by_key = {each.key: each for each in taking_part if each.key in measures}
    turns = [(key, measure) for key in by_key for measure in measures[key]]
    samples: dict[str, dict[str, list[Turn]]] = {key: {measure: [] for measure in measures[key]} for key in by_key}
    failed: dict[str, str] = {}
    for number in range(bench.pace.rounds):
        bench.tell(f"{case}: round {number + 1} of {bench.pace.rounds}")
        for key, measure in turns[:: -1 if number % 2 else 1]:
            if key in failed or bench.budget.left < 1.0:
                continue
            each = by_key[key]
            try:
                turn = bench.crew.ask(each.process, each.library, each.seconds, "turn", key, measure, bench.pace)
                samples[key][measure].append(turn)
            except WorkerError as failure:
                failed[key] = first_line(failure)
    found = {}
    for key, by_measure in samples.items():
        times = {measure: _spread(taken) for measure, taken in by_measure.items() if taken and key not in failed}
        found[key] = times, failed.get(key, "" if times else NO_TIME)
    return found


def _spread(turns: Iterable[Turn]) -> Spread:
    calls = [call for turn in turns for call in zip(turn.device, turn.host, strict=True)]
    return spread([device for device, _ in calls], [host for _, host in calls])


def first_line(failure: WorkerError) -> str:
    """What failed, without its traceback."""
    return next(iter(str(failure).splitlines()), "it failed")


def clocks(host: bool) -> str:
    """Clocks, temperature and power as the driver tells them; empty where it does not."""
    if host:
        return ""
    wanted = "clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw"
    try:
        done = subprocess.run(
            ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    names = ("SM", "SM at most", "memory", "temperature", "power")
    values = [each.strip() for each in done.stdout.splitlines()[0].split(",")] if done.stdout.strip() else []
    return ", ".join(f"{name} {value}" for name, value in zip(names, values, strict=False))
