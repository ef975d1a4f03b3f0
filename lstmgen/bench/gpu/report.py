"""Results as text: what was measured on, constants, cells, and a table for each case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lstmgen.bench.gpu.plan import OURS, TORCH
from lstmgen.bench.gpu.results import AtCase, Checked, Measured, Results, Spread
from lstmgen.bench.implementation import FORWARD, TRAINING

NOTHING = "—"
MEASURES = (FORWARD, TRAINING)
LSTM = "lstm"

LEGEND = """\
Times are microseconds per step: a call's by the number of its steps; median, and from the tenth to the ninetieth
percentile in brackets. `no input` is without the product of the inputs, which was measured by itself and taken off;
where a library was not asked for it, there is a dash. `host` is how long a call keeps the processor, per step. `error`
is the worst deviation from float64, of gradients by their largest entry, of all else likewise."""


def whole(results: Results) -> str:
    """The report from its first line to its last."""
    parts = [_facts(results), _constants(results), checks(results.checked)]
    parts += [LEGEND] if results.cases else []
    parts += [at_case(each) for each in results.cases]
    parts += [beside_lstm(results), left_out(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(results: Results) -> str:
    width = max(map(len, results.facts), default=0)
    return "\n".join(f"{name:<{width}}  {text}" for name, text in results.facts.items() if text)


def _constants(results: Results) -> str:
    if not results.constants:
        return ""
    width = max(map(len, results.constants))
    lines = [f"  {name:<{width}}  {number:8.3f} {unit}" for name, (number, unit) in results.constants.items()]
    return "\n".join(["Constants:", *lines])


def checks(checked: Sequence[Checked]) -> str:
    """Every cell: how far it is from its equations."""
    if not checked:
        return ""
    wrong = [each for each in checked if not each.passed]
    verdict = f"{len(wrong)} FAILED" if wrong else "all passed"
    cells: dict[str, dict[str, Checked]] = {}
    for each in checked:
        cells.setdefault(each.cell, {})[each.dtype] = each
    rows = [["cell", "float32", "limit", "float64", "limit"]]
    for cell, by_dtype in cells.items():
        row = [cell]
        for dtype in ("float32", "float64"):
            found = by_dtype.get(dtype)
            row += [_error(found), f"{found.limit:.0e}"] if found else [NOTHING, NOTHING]
        rows.append(row)
    lines = [f"Cells against their equations, {len(checked)} checks: {verdict}", *columns(rows)]
    return "\n".join([*lines, *(f"  {each.cell}, {each.dtype}: {each.failed}" for each in wrong if each.failed)])


def _error(found: Checked) -> str:
    return "failed" if found.failed else f"{found.error:.1e}" + ("" if found.passed else " WRONG")


def at_case(found: AtCase) -> str:
    """One case: a line for each contender."""
    steps = found.case.shape.steps
    rows = [["", *(name for each in MEASURES for name in (each, "", "no input", "host", "/ lstmgen")), "error"]]
    for row in found.rows:
        cells = [cell for measure in MEASURES for cell in _cells(found, row, measure, steps)]
        rows.append([row.title, *cells, f"{row.error:.0e}" if row.error is not None else NOTHING])
    lines = [str(found.case), *columns(rows)]
    lines += [f"  {row.title}: {row.why}" for row in found.rows if row.why]
    notes = [f"{row.title} {row.note}" for row in found.rows if row.note and row.times]
    lines += [f"  cuDNN's algorithm, by PyTorch's rule: {', '.join(notes)}"] if notes else []
    lines += [f"  the runtime warns: {each}" for each in found.told]
    return "\n".join([*lines, *([f"  clocks afterwards: {found.clocks}"] if found.clocks else [])])


def _cells(found: AtCase, row: Measured, measure: str, steps: int) -> list[str]:
    times = row.times.get(measure)
    if times is None:
        return [NOTHING] * 5
    without = row.without_input(measure)
    spread = f"({number(times.p10 / steps)}–{number(times.p90 / steps)})"
    return [
        number(times.median / steps),
        spread,
        NOTHING if without is None else number(without / steps),
        number(times.host / steps),
        _ratio(times, found.row(OURS), measure),
    ]


def _ratio(times: Spread, ours: Measured | None, measure: str) -> str:
    other = ours.times.get(measure) if ours else None
    return number(times.median / other.median) if other else NOTHING


def beside_lstm(results: Results) -> str:
    """Cells that cuDNN lacks: our time by that of our LSTM, and of PyTorch's, of the same size."""
    lstm = {each.case.shape: each for each in results.cases if each.case.title == LSTM}
    rows = [["cell", "batch", "hidden", *(f"{measure} / {who}" for measure in MEASURES for who in (LSTM, "torch.nn"))]]
    for each in results.cases:
        row, other = each.row(OURS), lstm.get(each.case.shape)
        if row is None or other is None or each.row(TORCH) is not None:
            continue
        cells = []
        for measure in MEASURES:
            for key in (OURS, TORCH):
                beside = other.row(key)
                times = beside.times.get(measure) if beside else None
                mine = row.times.get(measure)
                cells.append(number(mine.median / times.median) if mine and times else NOTHING)
        rows.append([each.case.title, str(each.case.shape.batch), str(each.case.shape.hidden), *cells])
    if len(rows) == 1:
        return ""
    title = "Cells that cuDNN lacks, by the time of an LSTM of the same size, lstmgen's and torch.nn's in float32"
    return "\n".join([title, *columns(rows)])


def left_out(results: Results) -> str:
    """What there was no time for, and what was not there."""
    lines = [f"  {each}" for each in results.left_out]
    return "\n".join(["Left out:", *lines] if lines else ["Nothing was left out."])


def number(value: float) -> str:
    """Three digits that count."""
    size = abs(value)
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Aligned: the first column to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        cells = [
            f"{row[0]:<{widths[0]}}",
            *(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        yield "  " + "  ".join(cells).rstrip()
