"""Curves over a logarithmic axis as self-contained SVG: panels side by side, each line named at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from lstmgen.derivation.picture.heights import isotonic
from lstmgen.derivation.picture.svg import number

PANEL, LABELS, HEIGHT, LEFT, TOP, BOTTOM = 228.0, 84.0, 300.0, 58.0, 34.0, 44.0
LEAST = 1e-40
STYLE = """
.lg-plot { --l0: #9e2a2b; --l1: #c8741a; --l2: #2a7f62; --l3: #1f5fa8; --other: #6c6f75; --grid: #d9dbe0;
  color: inherit; font: 12px system-ui, sans-serif }
.lg-plot text { fill: currentColor } .lg-plot .grid { stroke: var(--grid); stroke-width: 1 }
.lg-plot .title { font-weight: 600 } .lg-plot .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.lg-plot .l0 { stroke: var(--l0) } .lg-plot .l1 { stroke: var(--l1) } .lg-plot .l2 { stroke: var(--l2) }
.lg-plot .l3 { stroke: var(--l3) } .lg-plot .other { stroke: var(--other); stroke-dasharray: 5 3 }
.lg-plot text.t0 { fill: var(--l0) } .lg-plot text.t1 { fill: var(--l1) } .lg-plot text.t2 { fill: var(--l2) }
.lg-plot text.t3 { fill: var(--l3) } .lg-plot text.tother { fill: var(--other) }
@media (prefers-color-scheme: dark) { .lg-plot { --l0: #ef8b8c; --l1: #f0b36b; --l2: #6fd0ad; --l3: #8bbcf5;
  --other: #a9adb5; --grid: #3a3d44 } }
"""


@dataclass(frozen=True)
class Line:
    """A curve with the name at its end; ``colour`` is its place in the row of colours, None for what is beside it."""

    label: str
    values: tuple[float, ...]
    colour: int | None = None


@dataclass(frozen=True)
class Panel:
    """Curves in one frame."""

    title: str
    lines: tuple[Line, ...]


def plot(panels: Sequence[Panel], across: str, up: str, at: Sequence[int]) -> str:
    """The panels over one logarithmic axis; ``at`` are the places of the values."""
    values = [max(v, LEAST) for panel in panels for line in panel.lines for v in line.values]
    low, high = floor(log10(min(values)) / 5) * 5, ceil(max(log10(max(values)), 0.1) / 5) * 5
    width = LEFT + len(panels) * (PANEL + LABELS)
    total = TOP + HEIGHT + BOTTOM
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lg-plot" viewBox="0 0 {number(width)} {number(total)}" '
        f'width="{number(width)}" height="{number(total)}" style="max-width: 100%; height: auto" role="img" '
        f'aria-label="{escape(up)}">',
        f"<style>{STYLE}</style>",
        f'<text transform="translate(14 {number(TOP + HEIGHT / 2)}) rotate(-90)" text-anchor="middle">'
        f"{escape(up)}</text>",
    ]
    for index, panel in enumerate(panels):
        lines += _panel(panel, LEFT + index * (PANEL + LABELS), (low, high), at, across, named=index == 0)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(
    panel: Panel, left: float, span: tuple[int, int], at: Sequence[int], across: str, *, named: bool
) -> list[str]:
    low, high = span
    right, bottom = left + PANEL, TOP + HEIGHT

    def height(value: float) -> float:
        return TOP + HEIGHT * (high - log10(max(value, LEAST))) / (high - low)

    def place(step: int) -> float:
        return left + PANEL * (step - at[0]) / max(at[-1] - at[0], 1)

    every = 5 if high - low <= 30 else 10
    lines = [f'<text class="title" x="{number(left)}" y="18">{escape(panel.title)}</text>']
    for power in range(ceil(low / every) * every, high + 1, every):
        y = number(height(10.0**power))
        lines.append(f'<line class="grid" x1="{number(left)}" x2="{number(right)}" y1="{y}" y2="{y}"/>')
        if named:
            exponent = f'<tspan dy="-4" font-size="9">{str(power).replace("-", "−")}</tspan>'
            text = f"10{exponent}" if power else "1"
            lines.append(
                f'<text x="{number(left - 6)}" y="{number(height(10.0**power) + 4)}" text-anchor="end">{text}</text>'
            )
    for step in (at[0], *(each for each in at if each % 25 == 0)):
        x = number(place(step))
        lines.append(f'<text x="{x}" y="{number(bottom + 16)}" text-anchor="middle">{step}</text>')
    lines.append(
        f'<text x="{number(left + PANEL / 2)}" y="{number(bottom + 34)}" text-anchor="middle">{escape(across)}</text>'
    )
    for line in panel.lines:
        points = " ".join(f"{number(place(s))},{number(height(v))}" for s, v in zip(at, line.values, strict=True))
        lines.append(f'<polyline class="line {_colour(line, "l")}" points="{points}"/>')
    ends = sorted(panel.lines, key=lambda line: height(line.values[-1]))
    wanted = [height(line.values[-1]) - 14 * index for index, line in enumerate(ends)]
    for index, (line, end) in enumerate(zip(ends, isotonic(wanted, [1.0] * len(ends)), strict=True)):
        text = f'<text class="{_colour(line, "t")}" x="{number(right + 5)}" y="{number(end + 14 * index + 4)}">'
        lines.append(f"{text}{escape(line.label)}</text>")
    return lines


def _colour(line: Line, prefix: str) -> str:
    other = "tother" if prefix == "t" else "other"
    return other if line.colour is None else f"{prefix}{line.colour % 4}"
