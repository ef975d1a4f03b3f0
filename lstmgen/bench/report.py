"""Results as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lstmgen.bench.contenders import FLOOR, OURS, RECOMPUTING, TORCH
from lstmgen.bench.implementation import FORWARD, INFERENCE, MEASURES, TRAINING
from lstmgen.bench.measuring import REFERENCE
from lstmgen.bench.memory import Memory
from lstmgen.bench.results import AtShape, Header, Results, Row

NOTHING = "—"
GAP = "     "
DISTURBED = 0.02
"""The part of the cores' time that other programs may have before a shape is called disturbed."""


def header(found: Header, rows: Sequence[Row]) -> str:
    """What is measured, on what, the products of the floor, and who is not measured."""
    options = "".join(f" --set {name}={_word(value)}" for name, value in found.options.items())
    pinned = f"pinned to {', '.join(map(str, found.cores))}" if found.cores else "not pinned"
    facts = {
        "cell": f"{found.cell}{options}, {found.dtype}; digest {found.digest}, lstmgen {found.version}",
        "processor": f"{found.processor}; {found.count} cores",
        "threads": f"{found.threads}, {pinned}",
        "BLAS": found.blas,
        "versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "calls a step": ", ".join(f"{name} {calls}" for name, calls in found.calls.items()),
    }
    if found.environment:
        facts["environment"] = ", ".join(f"{name}={value}" for name, value in found.environment.items())
    width = max(map(len, facts))
    lines = [f"{name:<{width}}  {text}" for name, text in facts.items() if text]
    lines += ["", "The matrix products that no implementation can do without:", *_indented(found.floor)]
    absent = [f"{row.title}: {row.why}" for row in rows if row.why]
    return "\n".join([*lines, *(["", "Not measured:", *_indented(absent)] if absent else [])])


def at_shape(results: Results, found: AtShape) -> str:
    """One shape: its times, what else was found, and what is wrong."""
    sizes = dict(found.sizes)
    title = f"{sizes.pop('steps')} steps, batch {sizes.pop('batch')}"
    lines = [", ".join([title, *(f"{name} {size}" for name, size in sizes.items())])]
    if found.skipped:
        return f"{lines[0]}\n  left out: {found.skipped}"
    lines += ["", *_times(results.rows, found), ""]
    lines += _indented([*_notes(found), *_complaints(results.rows, found)])
    if found.ablation.ms:
        lines += ["", *_ablation(found)]
    return "\n".join(lines)


def summary(results: Results) -> str:
    """Our kernels with a workspace at every shape, and what the limit says of them."""
    rows = [
        (str(found.shape), _by_measure(found, OURS), [_nanoseconds(results, found, measure) for measure in MEASURES])
        for found in results.shapes
    ]
    lines = [
        "lstmgen, with a workspace",
        "",
        *_grouped("shape", rows, "ns for a call of NumPy", (FORWARD, INFERENCE, "both")),
    ]
    if results.limit is not None:
        over = beyond_limit(results)
        verdict = f"exceeded at {'; '.join(over)}" if over else "kept"
        lines += ["", f"forward+backward within {results.limit:.2f} times the floor: {verdict}"]
    return "\n".join(lines)


def whole(results: Results) -> str:
    """The report from its first line to its last, as a file holds it."""
    shapes = [at_shape(results, each) for each in results.shapes]
    return "\n\n".join([header(results.header, results.rows), *shapes, summary(results)]) + "\n"


def beyond_limit(results: Results) -> list[str]:
    """The shapes at which our kernels take longer than the limit allows."""
    ratios = {str(each.shape): each.times.ratio(TRAINING, OURS, FLOOR) for each in results.shapes}
    return [shape for shape, ratio in ratios.items() if results.limit and ratio and ratio > results.limit]


def failures(results: Results) -> list[str]:
    """What must not be: implementations that are wrong, our own that failed, a limit that is exceeded."""
    found = []
    for each in results.shapes:
        found += [f"{each.shape}: {key} is wrong" for key in each.wrong]
        found += [f"{each.shape}: {key} failed" for key in each.failed if key in (OURS, REFERENCE)]
    return found + [f"{shape}: limit exceeded" for shape in beyond_limit(results)]


# -- parts of a shape -------------------------------------------------------------------------------------------------


def _times(rows: Sequence[Row], found: AtShape) -> list[str]:
    """A line for each contender, with the memory that it takes."""
    nothing = Memory(None)
    memory = {row.key: found.memory.get(row.key, nothing) for row in rows}
    lines = [
        (row.title, _by_measure(found, row.key), [_mib(memory[row.key].peak), _mib(memory[row.key].saved)])
        for row in rows
    ]
    return _grouped("", lines, "memory, MiB", ("peak", "saved"))


def _by_measure(found: AtShape, key: str) -> list[str]:
    """The ms of every measure, and how they compare."""
    cells = []
    for measure in MEASURES:
        cells.append(_ms(found.times.median(measure, key)))
        cells += [_ratio(found.times.ratio(measure, key, to)) for to in (FLOOR, TORCH)]
    return cells


def _grouped(
    first: str, lines: Sequence[tuple[str, list[str], list[str]]], last: str, columns: Sequence[str]
) -> list[str]:
    """A table of three columns for every measure, whose name stands over them, and of more under the name ``last``."""
    heads = [(measure, ("ms", "/floor", "/torch")) for measure in MEASURES] + [(last, tuple(columns))]
    table = [[first, *(name for _, names in heads for name in names)]]
    table += [[title, *times, *more] for title, times, more in lines]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    over, at, apart = " " * widths[0], 1, []
    for title, names in heads:
        apart.append(at)
        over += GAP + title.rjust(sum(widths[at : at + len(names)]) + 2 * (len(names) - 1))
        at += len(names)
    return [over, *_aligned(table, apart)]


def _notes(found: AtShape) -> Iterator[str]:
    """What explains the times: the floor's speed, what recomputation costs, accuracy."""
    floor = found.times.median(TRAINING, FLOOR)
    if floor:
        yield f"floor        {found.operations[TRAINING] / floor / 1e6:.0f} GFLOP/s in forward+backward"
    slower = found.times.ratio(TRAINING, RECOMPUTING, OURS)
    if slower:
        yield f"recomputing  takes {slower:.2f} times as long as saving, forward+backward"
    worst = max(found.deviations.values(), default=0.0)
    yield f"accuracy     off by {worst:.0e} of a tensor's largest entry at worst (limit {found.limit:.0e})"


def _complaints(rows: Sequence[Row], found: AtShape) -> Iterator[str]:
    titles = {row.key: row.title for row in rows}
    for key, wrong in found.wrong.items():
        worst = sorted(wrong.items(), key=lambda each: -each[1])[:4]
        errors = ", ".join(f"{tensor} by {error:.1e}" for tensor, error in worst)
        yield f"WRONG        {titles.get(key, key)} is off, so not timed: {errors} (limit {found.limit:.0e})"
    for key, why in found.failed.items():
        yield f"FAILED       {titles.get(key, key)}: {why}"
    if (found.times.others or 0.0) > DISTURBED:
        yield f"DISTURBED    other programs took {found.times.others:.0%} of the cores' time: do not quote this"


def _ablation(found: AtShape) -> Iterator[str]:
    """What forward+backward costs more, schedule by schedule."""
    table: list[Sequence[str]] = [("forward+backward of other schedules", "ms", "costs")]
    for key in found.ablation.ms[TRAINING]:
        ratio = found.ablation.ratio(TRAINING, key, OURS)
        costs = NOTHING if key == OURS or ratio is None else f"{100 * (ratio - 1):+.0f} %"
        table.append(("as generated" if key == OURS else key, _ms(found.ablation.median(TRAINING, key)), costs))
    yield from _indented(_aligned(table))


def _nanoseconds(results: Results, found: AtShape, measure: str) -> str:
    """What one call of NumPy takes on average: the whole pass by the calls of all steps."""
    counts = results.header.calls
    # Modules whose inference is forward with nothing kept have no kernel of its own for it.
    infer = "infer" if "infer" in counts else "forward"
    names = {FORWARD: ("forward",), INFERENCE: (infer,), TRAINING: ("forward", "backward")}[measure]
    calls = sum(counts.get(name, 0) for name in names) * found.shape.steps
    ms = found.times.median(measure, OURS)
    return f"{1e6 * ms / calls:.0f}" if ms and calls else NOTHING


# -- words and columns ------------------------------------------------------------------------------------------------


def _aligned(rows: Sequence[Sequence[str]], apart: Sequence[int] = ()) -> list[str]:
    """Columns of equal width, all but the first flush right; those in ``apart`` stand further from what is before."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        line = f"{row[0]:<{widths[0]}}"
        for column in range(1, len(row)):
            line += (GAP if column in apart else "  ") + f"{row[column]:>{widths[column]}}"
        lines.append(line.rstrip())
    return lines


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" if line else "" for line in lines]


def _ms(ms: float | None) -> str:
    """Three digits that count."""
    if ms is None:
        return NOTHING
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.2f}" if ms >= 1 else f"{ms:.3f}"


def _ratio(ratio: float | None) -> str:
    return NOTHING if ratio is None else f"{ratio:.2f}" if ratio < 9.995 else f"{ratio:.1f}"


def _mib(size: int | None) -> str:
    if size is None:
        return NOTHING
    mib = size / 2**20
    return f"{mib:.0f}" if mib >= 10 else f"{mib:.1f}" if mib >= 0.05 else "<0.1"


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
