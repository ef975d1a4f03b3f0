"""Results as a picture: microseconds per step of each contender, a panel for each cell and measure.

Needs matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from lstmgen.bench.chart import INK, PALE
from lstmgen.bench.gpu.plan import CONTENDERS
from lstmgen.bench.gpu.report import MEASURES, number
from lstmgen.bench.gpu.results import AtCase, Results

PANELS = ("lstm", "gru")
"""The cells that libraries have too; all others share a panel."""
OTHERS = "other cells"

COLOURS = {
    "lstmgen": "#0072B2",
    "without workspace": "#56B4E9",
    "torch": "#D55E00",
    "torch tf32": "#E69F00",
    "torch fp16": "#F0E442",
    "jax": "#CC79A7",
    "compiled step": "#009E73",
    "compiled loop": "#44AA99",
    "eager": "#999999",
}


def draw(results: Results, place: Path) -> None:
    """Writes the picture in the format that the name of the file ends in. Draws nothing where nothing was timed."""
    matplotlib: Any = import_module("matplotlib")
    figures: Any = import_module("matplotlib.figure")
    canvas: Any = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    panels = [(cell, cases) for cell in (*PANELS, OTHERS) if (cases := _cases(results, cell))]
    if not panels:
        return
    keys = [each for each in CONTENDERS if any(_times(at, each.key) for _, cases in panels for at in cases)]
    place.parent.mkdir(parents=True, exist_ok=True)
    # Text stays text, and equal results give equal files.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "lstmgen", "font.size": 8}):
        figure = figures.Figure(figsize=(max(8.0, 1.5 * max(len(c) for _, c in panels)), 2.6 * 2 * len(panels) + 1.2))
        canvas(figure)
        grid = figure.subplots(len(panels) * len(MEASURES), 1, squeeze=False)[:, 0]
        for at, (cell, cases) in enumerate(panels):
            for which, measure in enumerate(MEASURES):
                _panel(grid[at * len(MEASURES) + which], f"{cell}, {measure}", cases, keys, measure)
        figure.legend(
            handles=[_handle(each.title, COLOURS[each.key]) for each in keys],
            loc="upper center",
            ncols=min(len(keys), 4),
            frameon=False,
        )
        made_on = ", ".join(f"{name} {text}" for name, text in results.facts.items() if name in _SHOWN)
        figure.text(
            0.01, 0.005, f"microseconds per step, logarithmic, lower is faster; {made_on}", fontsize=6, color=INK
        )
        height = figure.get_figheight()
        figure.subplots_adjust(left=0.07, right=0.99, top=1 - 0.85 / height, bottom=0.6 / height, hspace=0.55)
        figure.savefig(place, dpi=150, metadata={"Date": None} if place.suffix == ".svg" else None)


_SHOWN = ("GPU", "kernels", "CUDA driver", "CuPy", "PyTorch", "cuDNN", "JAX")


def _cases(results: Results, cell: str) -> list[AtCase]:
    found = [
        each
        for each in results.cases
        if (each.case.title == cell or (cell == OTHERS and each.case.title not in PANELS))
        and any(row.times for row in each.rows)
    ]
    return sorted(found, key=lambda each: (each.case.shape.hidden, each.case.shape.batch, each.case.title))


def _times(found: AtCase, key: str) -> bool:
    row = found.row(key)
    return bool(row and row.times)


def _handle(title: str, colour: str) -> Any:
    patches: Any = import_module("matplotlib.patches")
    return patches.Patch(color=colour, label=title)


def _panel(axes: Any, title: str, cases: list[AtCase], keys: list[Any], measure: str) -> None:
    """Bars side by side, each with its number and a line from the tenth to the ninetieth percentile."""
    width = 0.86 / max(len(keys), 1)
    for place, found in enumerate(cases):
        for order, each in enumerate(keys):
            row = found.row(each.key)
            times = row.times.get(measure) if row else None
            if times is None:
                continue
            steps = found.case.shape.steps
            x, us = place + (order - (len(keys) - 1) / 2) * width, times.median / steps
            axes.bar(x, us, 0.92 * width, color=COLOURS[each.key])
            axes.plot([x, x], [times.p10 / steps, times.p90 / steps], color=INK, linewidth=0.6)
            axes.annotate(
                number(us), (x, us), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=5.5, color=INK
            )
    labels = [
        f"{each.case.title}\n({each.case.shape.batch}, {each.case.shape.hidden})"
        if each.case.title not in PANELS
        else f"batch {each.case.shape.batch}\nhidden {each.case.shape.hidden}"
        for each in cases
    ]
    axes.set_xticks(range(len(cases)), labels)
    axes.set_yscale("log")
    axes.margins(y=0.15)
    axes.grid(axis="y", color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(title, loc="left", fontsize=9, fontweight="bold", color=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
