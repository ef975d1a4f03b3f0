"""What a run found, in plain data: what is printed, drawn and written is made of this."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lstmgen.bench.gpu.constants import Constants
from lstmgen.bench.gpu.crew import NO_TIME
from lstmgen.bench.gpu.ours import INPUT_PRODUCT
from lstmgen.bench.gpu.plan import OURS, PLAIN, Case

FORMAT = 1
"""Goes up when a reader of older files would be misled."""


@dataclass(frozen=True)
class Spread:
    """Microseconds of a call on the device: median, tenth and ninetieth percentile; ``host`` is the median time until
    the call returned."""

    median: float
    p10: float
    p90: float
    host: float
    calls: int


def spread(device: Sequence[float], host: Sequence[float]) -> Spread:
    """What many calls took."""
    middle = _quantile(device, 0.5), _quantile(device, 0.1), _quantile(device, 0.9)
    return Spread(*middle, _quantile(host, 0.5), len(device))


def _quantile(values: Sequence[float], part: float) -> float:
    """Between the two nearest values."""
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


@dataclass(frozen=True)
class Checked:
    """A cell against its equations in a dtype: the worst deviation, where it is, and the limit."""

    cell: str
    dtype: str
    error: float
    tensor: str
    limit: float
    failed: str = ""

    @property
    def passed(self) -> bool:
        return not self.failed and self.error <= self.limit


@dataclass(frozen=True)
class Measured:
    """One contender in one case: times by measure, how far it is from float64, and why it has no times, if so."""

    key: str
    title: str
    times: Mapping[str, Spread] = field(default_factory=dict)
    error: float | None = None
    why: str = ""
    note: str = ""
    wrong: bool = False

    def without_input(self, measure: str) -> float | None:
        """The median less that of the product of the inputs alone, where both are known."""
        whole, part = self.times.get(measure), self.times.get(INPUT_PRODUCT[measure])
        return whole.median - part.median if whole and part else None


@dataclass(frozen=True)
class AtCase:
    """One case: its contenders in order, the clocks after it, and what our runtime warned of."""

    case: Case
    rows: tuple[Measured, ...]
    clocks: str = ""
    seconds: float = 0.0
    told: tuple[str, ...] = ()

    def row(self, key: str) -> Measured | None:
        """A contender, if it takes part."""
        return next((each for each in self.rows if each.key == key), None)


@dataclass(frozen=True)
class Results:
    """A whole run. ``left_out`` says what there was no time for, and what is not installed."""

    facts: Mapping[str, str]
    constants: Constants = field(default_factory=dict)
    checked: tuple[Checked, ...] = ()
    cases: tuple[AtCase, ...] = ()
    left_out: tuple[str, ...] = ()
    seconds: float = 0.0

    def failures(self) -> list[str]:
        """What must not be: cells that are wrong, our own modules that fail or are wrong."""
        found = [
            f"{each.cell} in {each.dtype}: {each.failed or f'{each.tensor} is off by {each.error:.1e}'}"
            for each in self.checked
            if not each.passed
        ]
        ours = [(at.case, row) for at in self.cases for row in at.rows if row.key in (OURS, PLAIN)]
        return found + [f"{case}: {row.title}: {row.why}" for case, row in ours if row.why not in ("", NO_TIME)]


def as_json(results: Results) -> str:
    """The text of a file; the same results give the same text."""
    data = {"format": FORMAT} | asdict(results)
    return json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Infinities and what is no number as text, which JSON has no numbers for."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
