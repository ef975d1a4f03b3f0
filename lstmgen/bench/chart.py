"""Results as a picture: every contender's time by that of the matrix products alone, a panel for each measure.

Needs matplotlib. Colours are those of Okabe & Ito, which the colour-blind can tell apart; bars stand in the order of
the names above them, and each carries its number.
"""

from __future__ import annotations

import textwrap
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lstmgen.bench.contenders import FLOOR, OURS, RECOMPUTING, WITHOUT
from lstmgen.bench.implementation import MEASURES
from lstmgen.bench.results import AtShape, Results, Row
from lstmgen.bench.shapes import Shape
from lstmgen.errors import UserError

SUFFIXES = (".svg", ".png", ".pdf")

COLOURS = {
    OURS: "#0072B2",
    WITHOUT: "#56B4E9",
    RECOMPUTING: "#009E73",
    "torch": "#D55E00",
    "onnxruntime": "#E69F00",
    "jax": "#CC79A7",
    "tutorial": "#999999",
}
OTHER = "#000000"
INK, PALE = "#222222", "#DDDDDD"
TICKS = (0.5, 1, 2, 5, 10, 20, 50, 100)


def possible() -> bool:
    """Whether a picture can be drawn here."""
    return find_spec("matplotlib") is not None


def check(place: Path) -> None:
    """Raises :class:`UserError` (LG605) where no picture can be drawn, or not in this format."""
    if place.suffix.lower() not in SUFFIXES:
        raise UserError(
            f"a plot cannot be written to {place.name!r}", code="LG605", hint=f"its name ends in {', '.join(SUFFIXES)}"
        )
    if not possible():
        raise UserError(
            "a plot needs matplotlib, which is not installed", code="LG605", hint='pip install "lstmgen[bench]"'
        )


def draw(results: Results, place: Path) -> None:
    """Writes the picture in the format that the name of the file ends in."""
    matplotlib: Any = import_module("matplotlib")
    figures: Any = import_module("matplotlib.figure")
    canvas: Any = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    shapes = [each for each in results.shapes if each.times.ms]
    rows = [row for row in results.rows if row.key != FLOOR and any(_ratios(shapes, row, each) for each in MEASURES)]
    place.parent.mkdir(parents=True, exist_ok=True)
    # Text stays text, and equal results give equal files.
    style = {"svg.fonttype": "none", "svg.hashsalt": "lstmgen", "font.size": 8, "axes.edgecolor": INK}
    with matplotlib.rc_context(style):
        figure = figures.Figure(figsize=(max(6.5, 1.6 * len(shapes) + 1), 8.4))
        canvas(figure)  # measures text, whatever the format
        panels = figure.subplots(len(MEASURES), 1, sharex=True)
        for axes, measure in zip(panels, MEASURES, strict=True):
            _panel(axes, measure, shapes, rows)
        panels[-1].set_xticks(range(len(shapes)), [_shape_label(each.shape) for each in shapes])
        panels[-1].tick_params(axis="x", pad=12)
        _names(figure, results, rows)
        figure.subplots_adjust(left=0.075, right=0.99, top=0.875, bottom=0.115, hspace=0.3)
        metadata = {"Date": None} if place.suffix.lower() == ".svg" else None
        figure.savefig(place, dpi=150, metadata=metadata)


def _ratios(shapes: list[AtShape], row: Row, measure: str) -> dict[int, float]:
    """By position of the shape: the contender's time by the floor's."""
    found = {at: each.times.ratio(measure, row.key, FLOOR) for at, each in enumerate(shapes)}
    return {at: ratio for at, ratio in found.items() if ratio is not None}


def _panel(axes: Any, measure: str, shapes: list[AtShape], rows: list[Row]) -> None:
    """Bars from 1, the floor, up or down to each ratio. A contender that cannot do this leaves its place empty."""
    width = 0.86 / max(len(rows), 1)
    every = [1.0]
    for number, row in enumerate(rows):
        shift = (number - (len(rows) - 1) / 2) * width
        for at, ratio in _ratios(shapes, row, measure).items():
            every.append(ratio)
            axes.bar(at + shift, ratio - 1, 0.92 * width, bottom=1, color=COLOURS.get(row.key, OTHER))
            axes.annotate(
                f"{ratio:.1f}" if ratio >= 9.95 else f"{ratio:.2f}",
                (at + shift, ratio),
                xytext=(0, 1.5 if ratio >= 1 else -1.5),
                textcoords="offset points",
                ha="center",
                va="bottom" if ratio >= 1 else "top",
                fontsize=5.5,
                color=INK,
            )
    for at, each in enumerate(shapes):
        floor = each.times.median(measure, FLOOR)
        if floor:
            below = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "top", "fontsize": 6.5}
            axes.text(at, -0.03, f"floor {floor:.3g} ms", color=INK, **below)
    axes.set_yscale("log")
    axes.set_ylim(0.78 * min(every), 1.35 * max(every))
    ticks = [tick for tick in TICKS if 0.78 * min(every) <= tick <= 1.35 * max(every)]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.axhline(1, color=INK, linewidth=0.9)
    axes.set_title(measure, loc="left", fontsize=9, fontweight="bold", color=INK, pad=4)
    axes.set_xlim(-0.5, len(shapes) - 0.5)
    axes.tick_params(axis="x", length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _names(figure: Any, results: Results, rows: list[Row]) -> None:
    """The title, the names in the colours and the order of their bars, and what was measured on."""
    header = results.header
    threads = f"{header.threads} thread{'s' if header.threads > 1 else ''}"
    options = "".join(f", {name}={value}" for name, value in header.options.items())
    title = f"{header.cell}{options}, {header.dtype}, {threads}: time by that of the matrix products alone"
    figure.text(0.075, 0.972, title, fontsize=11, fontweight="bold", color=INK)
    figure.text(0.075, 0.951, "the line at 1 is the floor; lower is faster; logarithmic", fontsize=8, color=INK)
    renderer = figure.canvas.get_renderer()
    x, y = 0.075, 0.925
    for row in rows:
        name = figure.text(x, y, row.title, fontsize=8, fontweight="bold", color=COLOURS.get(row.key, OTHER))
        wide = name.get_window_extent(renderer).width / figure.bbox.width
        if x + wide > 0.99 and x > 0.075:
            x, y = 0.075, y - 0.018
            name.set_position((x, y))
        x += wide + 0.02
    made_on = f"{header.processor}; {header.blas}; " + ", ".join(f"{k} {v}" for k, v in header.versions.items())
    lines = textwrap.wrap(made_on, int(20 * figure.get_figwidth()))
    figure.text(0.075, 0.01, "\n".join(lines), fontsize=6, color=INK)


def _shape_label(shape: Shape) -> str:
    return f"{shape.steps} steps, batch {shape.batch}\nfeatures {shape.features}, hidden {shape.hidden}"
