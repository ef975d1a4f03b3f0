"""`lstmgen bench` in order: prepare the cell, measure shape by shape, tell what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lstmgen import files
from lstmgen.bench import chart, record, report
from lstmgen.bench.calls import calls_per_step
from lstmgen.bench.contenders import Contender, check_names, contenders
from lstmgen.bench.floor import text
from lstmgen.bench.machine import Facts, processor, versions
from lstmgen.bench.measuring import Plan, measure
from lstmgen.bench.pool import Setting, Worker, setting
from lstmgen.bench.preparation import Prepared, hold_against_equations, prepare
from lstmgen.bench.results import Header, Results, Row
from lstmgen.bench.shapes import QUICK_SHAPES, SHAPES, Shape
from lstmgen.bench.turns import Pace
from lstmgen.declare.cell import Cell
from lstmgen.errors import UserError
from lstmgen.version import VERSION

Tell = Callable[[str], None]

IDLE_SECONDS = 0.1
"""Of quiet before each turn on several threads."""


@dataclass(frozen=True)
class Request:
    """What was asked for. ``shapes`` and ``sizes`` are texts as typed; without ``against`` all peers take part."""

    cell: Cell
    options: Mapping[str, Any]
    shapes: Sequence[str] = ()
    sizes: Sequence[str] = ()
    threads: int = 1
    rounds: int | None = None
    dtype: str = "float32"
    against: Sequence[str] = ()
    keep_blas: bool = False
    core_type: str = ""
    json: Path | None = None
    plot: Path | None = None
    out: Path | None = None
    ablation: bool = False
    quick: bool = False
    limit: float | None = None


def explain(request: Request) -> str:
    """What would be measured, without measuring it."""
    shapes, prepared, rows = _prepared(request)
    lines = [f"{prepared.subject.title}: the matrix products that no implementation can do without", ""]
    lines += [*text(prepared.subject.floor), "", "shapes (steps, batch, features, hidden):"]
    lines += [f"  {shape}" for shape in shapes] + ["", "measured:"]
    lines += [f"  {row.key:<14}{row.title}" + (f": not measured, {row.why}" if row.why else "") for row in rows]
    lines += [f"  {'ablation':<14}{name}" for name in prepared.variants]
    return "\n".join(lines)


def run(request: Request, say: Tell, tell: Tell) -> list[str]:
    """Measures, and says each part of the report as soon as it is there; ``tell`` hears what is going on meanwhile.
    Returns what must not be, such as implementations that are wrong. An empty text for ``tell`` takes back the last.

    Raises :class:`UserError` for what was wrongly asked (before anything is measured), and :class:`ProofError` where
    the kernels do not compute the cell's equations.
    """
    shapes, prepared, rows = _prepared(request)
    places = _places(request, prepared.subject.module)
    tell("holding kernels against the equations")
    hold_against_equations(prepared)
    workers = setting(request.threads, keep_blas=request.keep_blas, core_type=request.core_type)
    pace = _pace(request)
    header = _header(request, prepared, workers, pace)
    plan = Plan(prepared.subject, rows, workers, pace, request.dtype, prepared.variants)
    results = Results(header, tuple(Row(each.key, each.title, each.why) for each in rows), (), request.limit)

    def show(text: str) -> None:
        tell("")
        say(text)

    show(report.header(header, results.rows))
    for number, shape in enumerate(shapes, 1):
        found = measure(plan, shape, _beginning(tell, f"shape {shape} ({number} of {len(shapes)})"))
        results = replace(results, shapes=(*results.shapes, found))
        show("\n" + report.at_shape(results, found))
    show("\n" + report.summary(results))
    for place in _written(results, places):
        show(f"wrote {place}")
    return report.failures(results)


def _beginning(tell: Tell, prefix: str) -> Tell:
    """``tell`` with the same words before everything."""
    return lambda what: tell(f"{prefix}: {what}")


def _prepared(request: Request) -> tuple[Sequence[Shape], Prepared, tuple[Contender, ...]]:
    """Everything that a user can be wrong about, before anything takes long."""
    shapes = [_shape(each) for each in request.shapes] or (QUICK_SHAPES if request.quick else SHAPES)
    check_names(request.against)
    if request.keep_blas and request.core_type:
        raise UserError(
            "--keep-blas-env leaves the choice of kernels to the environment, --coretype takes it",
            code="LG604",
            hint="give one of them",
        )
    if request.plot is not None:
        chart.check(request.plot)
    prepared = prepare(request.cell, request.options, chosen=_sizes(request.sizes), ablate=request.ablation)
    return shapes, prepared, contenders(prepared.subject, request.against, request.dtype)


def _shape(given: str) -> Shape:
    parts = given.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UserError(
            f"--shape cannot be {given!r}",
            code="LG601",
            hint="four whole numbers, none of them 0: steps, batch, features, hidden, as in 100,32,128,256",
        )
    return Shape(*map(int, parts))


def _sizes(given: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each in given:
        name, equals, size = each.partition("=")
        if not equals or not size.isdecimal() or not int(size):
            raise UserError(f"--size cannot be {each!r}", code="LG601", hint="NAME=SIZE, as in key=64")
        found[name] = int(size)
    return found


def _pace(request: Request) -> Pace:
    idle = IDLE_SECONDS if request.threads > 1 else 0.0
    if request.quick:
        return Pace(request.rounds or 3, 0.03, idle)
    return Pace(request.rounds or 7, 0.1, idle)


def _header(request: Request, prepared: Prepared, workers: Setting, pace: Pace) -> Header:
    subject = prepared.subject
    with Worker(workers, Facts) as worker:
        blas, environment = worker.call("blas"), worker.call("environment")
    return Header(
        subject.cell,
        dict(subject.options),
        subject.digest,
        VERSION,
        request.dtype,
        workers.threads,
        workers.cores,
        pace.rounds,
        processor(),
        os.cpu_count() or 0,
        blas,
        environment,
        versions(),
        tuple(text(subject.floor)),
        calls_per_step(subject.source),
    )


def _places(request: Request, module: str) -> dict[str, Path]:
    """Where to write what: by kind, json, text and plot."""
    found: dict[str, Path] = {}
    if request.out is not None:
        found = {"json": request.out / f"{module}.json", "text": request.out / f"{module}.txt"}
        if chart.possible():
            found["plot"] = request.out / f"{module}.svg"
    found |= {"json": request.json} if request.json else {}
    return found | ({"plot": request.plot} if request.plot else {})


def _written(results: Results, places: Mapping[str, Path]) -> list[Path]:
    """Writes what was asked for; the places of it."""
    makers: dict[str, Callable[[Results], str]] = {"json": record.as_json, "text": report.whole}
    for kind, place in places.items():
        if kind == "plot":
            chart.draw(results, place)
        else:
            files.write_files(place.parent, {place.name: makers[kind](results)})
    return list(places.values())
