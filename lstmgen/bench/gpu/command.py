"""The measurements on a GPU in order: constants, every cell against its equations, then times, as time allows."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lstmgen import files
from lstmgen.backends.cupy import host as stand_in
from lstmgen.backends.cupy.module import has_device
from lstmgen.bench import chart as cpu_chart
from lstmgen.bench.gpu import accuracy, chart, plan, report
from lstmgen.bench.gpu.crew import NO_TIME, Budget, Crew
from lstmgen.bench.gpu.measuring import Bench, built_in_cells, check, clocks, first_line, measure
from lstmgen.bench.gpu.results import AtCase, Checked, Measured, Results, as_json
from lstmgen.bench.gpu.station import Pace
from lstmgen.bench.machine import processor
from lstmgen.bench.pool import WorkerError
from lstmgen.bench.shapes import Shape
from lstmgen.version import VERSION

Tell = Callable[[str], None]

SECONDS = 450.0
"""Less than eight minutes, whatever happens."""

FOR_CHECKS = 0.35
"""The part of the time after which no further cell is checked."""

FIRST_ROW = 2.0
"""How many seconds a contender is thought to take in a case before any was measured."""

RESULTS = Path("benchmarks/results/cupy")


@dataclass(frozen=True)
class Request:
    """What was asked for. ``out`` is None where nothing is to be written."""

    seconds: float = SECONDS
    host: bool = False
    out: Path | None = RESULTS
    cells: tuple[str, ...] = ()


def run(request: Request, say: Tell, tell: Tell) -> Results:
    """Measures, and says each part of the report as soon as it is there; ``tell`` hears what is going on meanwhile."""
    budget = Budget(request.seconds)
    pace = Pace(rounds=1, seconds=0.0, least=2, most=2) if request.host else Pace()
    with Crew(budget, host=request.host) as crew:
        bench = Bench(crew, budget, request.host, pace, tell)
        results = Results(_facts(bench))
        try:
            results = replace(results, constants=bench.ask_ours("constants"))
        except WorkerError as failure:  # times are worth having without them
            results = replace(results, left_out=(f"constants: {first_line(failure)}",))
            crew.retire("cupy")
        say(report.whole(replace(results, left_out=("see below",))).removesuffix("\n\nLeft out:\n  see below\n"))
        results = _with_checks(bench, request, results)
        say("\n" + report.checks(results.checked) + f"\n\n{report.LEGEND}")
        results = _with_cases(bench, request, results, say)
    left_out = (*results.left_out, *_not_installed(request.host))
    facts = {**results.facts, "clocks at the end": clocks(request.host)}
    results = replace(results, facts=facts, left_out=left_out, seconds=budget.spent)
    say("\n".join(["", *filter(None, [report.beside_lstm(results), report.left_out(results)])]))
    return results


def _facts(bench: Bench) -> dict[str, str]:
    found = {"lstmgen": VERSION, "processor": f"{processor()}; {os.cpu_count()} cores"}
    found["clocks at the beginning"] = clocks(bench.host)
    for library in ("cupy", "torch", "jax"):
        bench.tell(f"starting {library}")
        if library != "cupy" and not _installed(library):
            continue
        try:
            found |= bench.crew.ask(library, library, 90.0, "facts")
        except WorkerError as failure:
            if library == "cupy":
                raise
            found[library] = f"does not start: {failure}"
    return found


def _with_checks(bench: Bench, request: Request, results: Results) -> Results:
    shape = Shape(4, 2, 3, 3) if request.host else accuracy.SHAPE
    cells = request.cells or (("lstm", "indrnn") if request.host else built_in_cells())
    found = list(check(bench, cells, shape, FOR_CHECKS * request.seconds))
    skipped = [each for each in found if isinstance(each, str)]
    left_out = (f"checks of {', '.join(skipped)}: {NO_TIME}",) if skipped else ()
    return replace(
        results,
        checked=tuple(each for each in found if isinstance(each, Checked)),
        left_out=(*results.left_out, *left_out),
    )


def _with_cases(bench: Bench, request: Request, results: Results, say: Tell) -> Results:
    """Case after case. One is left out where there is no time for it, by what a contender took at most before."""
    slowest = 0.0 if request.host else FIRST_ROW
    for case in plan.tiny_cases() if request.host else plan.cases():
        if request.cells and case.cell not in request.cells:
            continue
        if bench.budget.left < slowest * len(plan.contenders(case)):
            results = replace(results, left_out=(*results.left_out, f"{case}: {NO_TIME}"))
            continue
        try:
            found = measure(bench, case)
        except WorkerError as failure:  # of our own module in float64, which says what results should be
            found = AtCase(case, (Measured(plan.OURS, "lstmgen, in float64", why=first_line(failure)),))
            bench.crew.retire("cupy")
        slowest = max(slowest, found.seconds / len(found.rows))
        results = replace(results, cases=(*results.cases, found))
        say("\n" + report.at_case(found))
    return results


def _not_installed(host: bool) -> list[str]:
    libraries = ("torch", "jax")
    return [f"{each}: not installed, so all that needs it is a dash" for each in libraries if not _installed(each)]


def _installed(library: str) -> bool:
    return not next(each for each in plan.CONTENDERS if each.library == library).missing


def write(results: Results, folder: Path) -> list[Path]:
    """JSON, the table and, with matplotlib, the plot."""
    files.write_files(folder, {"gpu.json": as_json(results), "gpu.txt": report.whole(results)})
    if not cpu_chart.possible():
        return [folder / "gpu.json", folder / "gpu.txt"]
    chart.draw(results, folder / "gpu.svg")
    return [folder / name for name in ("gpu.json", "gpu.txt", "gpu.svg")]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status: 0, 1 where a check failed, 2 where nothing can be measured."""
    parser = argparse.ArgumentParser(description="Measures CuPy modules on a GPU.")
    parser.add_argument("--plan", action="store_true", help="print what would be measured, and stop; needs no GPU")
    parser.add_argument(
        "--host", action="store_true", help="try the program at tiny sizes without a GPU; writes nothing"
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="the time there is (default %(default)s)")
    parser.add_argument("--cell", action="append", default=[], help="only this cell; repeatable")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default %(default)s)")
    given = parser.parse_args(arguments)
    if given.plan:
        print(plan.text())
        return 0
    if given.host and not stand_in.available():
        print("--host needs a C++ compiler (g++, or another one named in CXX)", file=sys.stderr)
        return 2
    if not given.host and not has_device():
        print("no GPU: CuPy is not installed, or finds none (`lstmgen doctor` says more).", file=sys.stderr)
        print("Nothing was measured. --plan prints what would be; --host tries the program without.", file=sys.stderr)
        return 2
    request = Request(given.seconds, given.host, None if given.host else given.out, tuple(given.cell))
    on_terminal = sys.stderr.isatty()

    def tell(text: str) -> None:
        if on_terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    def say(text: str) -> None:
        tell("")
        print(text, flush=True)

    try:
        results = run(request, say, tell)
    except WorkerError as failure:
        say(f"CuPy's process failed: {failure}\n{failure.details}")
        return 1
    for place in write(results, request.out) if request.out else ():
        say(f"wrote {place}")
    failures = results.failures()
    for each in failures:
        say(f"FAILED: {each}")
    return 1 if failures else 0
