"""Drawings in TikZ, for LaTeX: formulas are set as mathematics."""

from __future__ import annotations

from collections.abc import Mapping

from lstmgen.derivation.drawing import CURVES, Anchor, Box, Disc, Drawing, Label, Line, Point, Polygon, Role, Shape
from lstmgen.derivation.formats.colours import COLOURS
from lstmgen.derivation.formats.tex import LATEX, Tex, text

UNIT = 6.0  # points for the height of letters in the drawing; TeX's own look smaller than they are, and are larger
# Letters are made smaller, not taken from a smaller font: that has subscripts nearly as large as itself.
_NODES = r"inner sep=0pt, outer sep=0pt, font=\fontsize{10}{12}\selectfont, scale=.66"
STYLES: Mapping[Role, str] = {
    Role.WIRE: "line width=.5pt",
    Role.HEAD: "fill",
    Role.FORK: "fill",
    **{role: f"draw, line width=.4pt, fill=lg-{role}" for role in (Role.GATE, Role.OPERATION, Role.END)},
    Role.SIGN: "",
    Role.NAME: "scale=.9",
    Role.MARK: "scale=.8",
    Role.LEGEND: "scale=.7",
    Role.GRID: f"color=lg-{Role.GRID}, line width=.3pt, opacity=.35",
    Role.TITLE: r"font=\fontsize{10}{12}\bfseries",
    Role.AXIS: "",
    **{role: f"color=lg-{role}, line width=.7pt, line join=round" for role in CURVES},
    Role.REFERENCE: f"color=lg-{Role.REFERENCE}, line width=.6pt, line join=round, dashed",
}
_COLOURED = {*CURVES, Role.REFERENCE}
_ANCHORS = {Anchor.START: "base west", Anchor.MIDDLE: "base", Anchor.END: "base east"}
_RUNNING = Tex(LATEX, inline=True)


def tikz(drawing: Drawing) -> str:
    """The drawing as a ``tikzpicture``. Its styles are its own: nothing need be defined before it."""
    unit = UNIT / drawing.letters
    roles = dict.fromkeys(shape.role for shape in drawing.shapes)
    colours = {role: COLOURS[role].removeprefix("#").upper() for role in roles if role in COLOURS}
    defined = [rf"\definecolor{{lg-{role}}}{{HTML}}{{{colour}}}%" for role, colour in colours.items()]
    styles = [f"  lg-{role}/.style={{{STYLES[role]}}}," for role in roles]
    options = f"x={number(unit)}pt, y=-{number(unit)}pt, every node/.style={{{_NODES}}},"
    return "\n".join(
        [
            *defined,
            rf"\begin{{tikzpicture}}[{options}",
            *styles,
            "]",
            *(_shape(shape, unit) for shape in drawing.shapes),
            r"\end{tikzpicture}",
        ]
    )


def _shape(shape: Shape, unit: float) -> str:
    match shape:
        case Line():
            return rf"\draw[lg-{shape.role}] {_path(shape)};"
        case Disc(centre, radius, role):
            filled = f", fill=lg-{role}" if role in _COLOURED else ""
            return rf"\path[lg-{role}{filled}] {_point(centre)} circle[radius={number(radius * unit)}pt];"
        case Box((x, y), width, height, role, corner):
            corners = f"{_point((x - width / 2, y - height / 2))} rectangle {_point((x + width / 2, y + height / 2))}"
            return rf"\path[lg-{role}, rounded corners={number(corner * unit)}pt] {corners};"
        case Polygon(points, role):
            return rf"\path[lg-{role}] {' -- '.join(map(_point, points))} -- cycle;"
        case Label(content, at, role, anchor, rising):
            turned = ", rotate=90" if rising else ""
            turned += ", text=black" if role in _COLOURED else ""  # letters are thinner than curves: they need contrast
            inner = text(content) if isinstance(content, str) else f"${_RUNNING(content)}$"
            return rf"\node[lg-{role}, anchor={_ANCHORS[anchor]}{turned}] at {_point(at)} {{{inner}}};"


def _path(line: Line) -> str:
    if not line.radius:
        return " -- ".join(map(_point, line.points))
    bends = [f"{_point(b.start)} .. controls {_point(b.corner)} .. {_point(b.end)}" for b in line.bends]
    return " -- ".join([_point(line.points[0]), *bends, _point(line.points[-1])])


def _point(point: Point) -> str:
    return f"({number(point[0])},{number(point[1])})"


def number(value: float) -> str:
    """A number of at most two decimals, the same on every machine."""
    rounded = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if rounded == "-0" else rounded
