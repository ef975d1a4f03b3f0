"""Curves over a logarithmic axis as a drawing: panels side by side, each curve named at its end, beside its colour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import ceil, floor, log10

from lstmgen.derivation.drawing import CURVES, Anchor, Disc, Drawing, Label, Line, Role, Shape
from lstmgen.derivation.formula import Formula, Number, Power
from lstmgen.derivation.picture.heights import isotonic

PANEL, LABELS, HEIGHT, LEFT, TOP, BOTTOM = 228.0, 92.0, 210.0, 66.0, 28.0, 40.0
LETTERS, ROW, DOT = 12.0, 16.0, 3.0  # the height of letters, and how far labels stand apart, and their dots' radius
_BASE = 4.0  # from the middle of letters to their base line
LEAST = 1e-40


@dataclass(frozen=True)
class Series:
    """Values, with the name that stands at the end of their curve."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """Curves in one frame, and others that they are compared with."""

    title: str
    series: tuple[Series, ...]
    references: tuple[Series, ...] = ()

    @property
    def curves(self) -> tuple[tuple[Series, Role], ...]:
        """All series with their roles."""
        told_apart = zip(self.series, cycle(CURVES), strict=False)
        return (*told_apart, *((series, Role.REFERENCE) for series in self.references))


@dataclass(frozen=True)
class _Frame:
    """Where values stand: powers of ten from ``low`` at the bottom to ``high``, and the steps ``at`` side by side."""

    left: float
    low: int
    high: int
    at: Sequence[int]

    def x(self, step: int) -> float:
        return self.left + PANEL * (step - self.at[0]) / max(self.at[-1] - self.at[0], 1)

    def y(self, value: float) -> float:
        return TOP + HEIGHT * (self.high - log10(max(value, LEAST))) / (self.high - self.low)


def plot(panels: Sequence[Panel], across: str, up: str, at: Sequence[int]) -> Drawing:
    """The panels over one logarithmic axis; ``at`` are the places of the values."""
    values = [max(v, LEAST) for panel in panels for series, _ in panel.curves for v in series.values]
    low, high = floor(log10(min(values)) / 5) * 5, ceil(max(log10(max(values)), 0.1) / 5) * 5
    frames = [_Frame(LEFT + index * (PANEL + LABELS), low, high, at) for index in range(len(panels))]
    shapes: list[Shape] = [Label(up, (14, TOP + HEIGHT / 2), Role.AXIS, rising=True), *_powers(frames[0])]
    for panel, frame in zip(panels, frames, strict=True):
        shapes += _panel(panel, frame, across)
    return Drawing(LEFT + len(panels) * (PANEL + LABELS), TOP + HEIGHT + BOTTOM, LETTERS, tuple(shapes))


def _ticks(frame: _Frame) -> range:
    """The powers of ten that have a line."""
    every = 5 if frame.high - frame.low <= 30 else 10
    return range(ceil(frame.low / every) * every, frame.high + 1, every)


def _powers(frame: _Frame) -> Iterator[Shape]:
    for power in _ticks(frame):
        content: Formula = Power(Number("10"), Number(str(power))) if power else Number("1")
        yield Label(content, (frame.left - 6, frame.y(10.0**power) + _BASE), Role.AXIS, Anchor.END)


def _panel(panel: Panel, frame: _Frame, across: str) -> Iterator[Shape]:
    right, bottom = frame.left + PANEL, TOP + HEIGHT
    yield Label(panel.title, (frame.left, 14), Role.TITLE, Anchor.START)
    for power in _ticks(frame):
        y = frame.y(10.0**power)
        yield Line(((frame.left, y), (right, y)), Role.GRID)
    for step in (frame.at[0], *(each for each in frame.at if each % 25 == 0)):
        yield Label(str(step), (frame.x(step), bottom + 16), Role.AXIS)
    yield Label(across, (frame.left + PANEL / 2, bottom + 33), Role.AXIS)
    for series, role in panel.curves:
        places = zip(frame.at, series.values, strict=True)
        yield Line(tuple((frame.x(step), frame.y(value)) for step, value in places), role)
    ends = sorted((frame.y(series.values[-1]), series.label, role) for series, role in panel.curves)
    wanted = [end - ROW * index for index, (end, _, _) in enumerate(ends)]
    for index, ((_, label, role), y) in enumerate(zip(ends, isotonic(wanted, [1.0] * len(ends)), strict=True)):
        yield Disc((right + 9, y + ROW * index), DOT, role)
        yield Label(label, (right + 16, y + ROW * index + _BASE), role, Anchor.START)
